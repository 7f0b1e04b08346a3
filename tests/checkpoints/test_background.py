"""Writes beside the training: one thread has them all, and what one raises is raised once."""

from threading import get_ident

import pytest

from cl.checkpoints.background import Background


def test_what_a_write_has_raised_is_raised_once_and_the_next_one_is_written() -> None:
    background, seen = Background(), []

    def fail() -> None:
        raise MemoryError("no room")

    background.start(fail)
    with pytest.raises(MemoryError, match="no room"):
        background.wait()
    background.wait()
    for _ in range(3):
        background.start(lambda: seen.append(get_ident()))
        background.wait()
    assert len(seen) == 3
    assert len({*seen}) == 1  # one thread has them all
    assert seen[0] != get_ident()
