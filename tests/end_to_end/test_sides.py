"""Sides and prompts from Python that an encoder does not have."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jaxtyping
import numpy as np
import pytest

import cl
from cl.checkpoints import TOWERS
from tests.nets.made_texts import tiny

Run = Callable[..., Path]
NO_TEXT: Any = 3
TEXTS = [f"what is {a}{b}" for a in "abcdef" for b in "uvwxyz"]


@pytest.fixture(autouse=True)
def unchecked() -> Iterator[None]:
    """A user's call, whose types nothing checks but the functions themselves."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.fixture
def of_texts(tmp_path: Path) -> list[Any]:
    (tmp_path / "t.txt").write_text("\n".join(TEXTS))
    return ["--data_folder", tmp_path, "--batch_size", 8, "--max_steps", 1]


@pytest.mark.parametrize("side", ["foo", 0, ""])
def test_a_side_that_an_encoder_of_images_does_not_have(
    side: Any, pretrain: Run, digits: list[str], tmp_path: Path
) -> None:
    run = pretrain(*digits, "--max_steps", 1)
    alone = f"side must be None, of an encoder of images alone, not {side!r}"
    with pytest.raises(ValueError, match=alone):
        cl.load_encoder(run, side=side)
    with pytest.raises(ValueError, match=alone):
        cl.embed(run, np.zeros((2, 8, 8, 3), np.uint8), side=side)
    (run / TOWERS).touch()  # as a run on images and texts has
    with pytest.raises(ValueError, match=f"side must be image or text, not {side!r}"):
        cl.load_encoder(run, side=side)


def test_what_an_encoder_of_texts_does_not_have(pretrain: Run, of_texts: list[Any]) -> None:
    run = pretrain("texts:t.txt", "bag_w16", *of_texts)
    wrong: list[Any] = ["foo", 0]
    for side in wrong:
        said = f"side must be query or document of an encoder of texts, not {side!r}"
        with pytest.raises(ValueError, match=said):
            cl.load_encoder(run, side=side)
    with pytest.raises(
        ValueError, match=r"^prompt 'x' needs a transformer; the texts that bag_w16"
    ):
        cl.embed(run, TEXTS, prompt="x")
    with pytest.raises(ValueError, match="prompt must be a text, not 3"):
        cl.embed(run, TEXTS, prompt=NO_TEXT)


def test_a_prompt_that_is_no_text(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="prompt must be a text, not 3"):
        cl.embed(f"hf:{tiny(tmp_path / 'tiny')}", TEXTS, prompt=NO_TEXT)
