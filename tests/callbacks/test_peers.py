"""Who of several processes is silent, by a clock of the test's."""

import os
import threading
from collections.abc import Callable

import pytest

from cl.callbacks import peers
from cl.callbacks.peers import BEAT, GONE, LATE, Peers


class EndedError(Exception):
    pass


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [100.0]
    monkeypatch.setattr(peers.time, "monotonic", lambda: now[0])
    return now


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch, clock: list[float]) -> Callable[..., Peers]:
    def end(code: int) -> None:
        raise EndedError(code)

    def make(on_gpu: bool, steps: list[float]) -> Peers:
        """One whose clock goes on by these steps, and which then has come to its end."""
        own = Peers(10)
        own.on_gpu, own.hosts, own.heard = on_gpu, ["here", "there"], {1: clock[0]}
        own.looks = threading.current_thread()  # alive
        left = iter(steps)

        def wait(_: float) -> bool:
            step = next(left, None)
            clock[0] += step or 0
            return step is None

        monkeypatch.setattr(own.over, "wait", wait)
        return own

    monkeypatch.setattr(os, "_exit", end)
    return make


@pytest.mark.parametrize(("on_gpu", "limit"), [(True, GONE), (False, 600 + LATE)])
def test_silence_ends_a_process(
    on_gpu: bool, limit: float, made: Callable[..., Peers], capsys: pytest.CaptureFixture[str]
) -> None:
    made(on_gpu, [BEAT] * int(limit)).watch()
    with pytest.raises(EndedError):
        made(on_gpu, [BEAT] * int(limit + 1)).watch()
    assert "process 1 of 2 on there has given no sign of life" in capsys.readouterr().err


def test_a_job_that_was_stopped_goes_on(made: Callable[..., Peers]) -> None:
    """Its processes have all been silent meanwhile."""
    made(True, [BEAT, 3600.0, BEAT, BEAT]).watch()


def test_a_checkpoint_is_written_to_its_end(
    made: Callable[..., Peers], capsys: pytest.CaptureFixture[str]
) -> None:
    own, left = made(True, [BEAT] * 200), [True] * 10
    own.failure = "process 0 of 2 on here has failed: KeyError: 'a name'"
    own.heard = {}
    own.writes = lambda: bool(left) and left.pop()
    with pytest.raises(EndedError):
        own.watch()
    assert not left
    assert own.failure in capsys.readouterr().err
