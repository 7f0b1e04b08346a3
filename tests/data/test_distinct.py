"""Equal texts are encoded once, and stand at all their places again."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import cl
from cl.checkpoints import save_encoder
from cl.data.distinct import distinct
from cl.embedding import embed_command
from cl.nets.texts import Bag, encoder_of

WORDS = "tree river cat book song bridge star dog".split()
TEXTS = [WORDS[at] for at in np.random.default_rng(0).integers(8, size=40)]


class Noisy(nn.Module):
    """An encoder whose features of a text are others in each batch, as by rounding."""

    num_features = 8

    def __init__(self) -> None:
        super().__init__()
        self.bag, self.ngrams, self.seen = Bag(8), True, 0

    def forward(self, x: Tensor) -> Tensor:
        self.seen += len(x)
        return self.bag(x) * (1 + self.seen * 1e-3)


def test_each_text_stands_once_and_all_its_places_are_known() -> None:
    each = distinct(TEXTS)
    assert each.texts == [*dict.fromkeys(TEXTS)]
    assert [each.texts[i] for i in each.numbers] == TEXTS
    assert [TEXTS.index(text) for text in each.texts] == each.first.tolist()
    assert each.repeated
    assert not distinct(each.texts).repeated
    asked = np.array([3, 0])
    places, which = each.places(asked)
    expected = [(i, k) for k, a in enumerate(asked) for i, t in enumerate(TEXTS) if t == once(a)]
    assert [*zip(places.tolist(), which.tolist(), strict=True)] == expected
    assert [x.tolist() for x in each.places(asked[:0])] == [[], []]


def once(number: int) -> str:
    return [*dict.fromkeys(TEXTS)][number]


def equal_where(texts: Sequence[str], h: Tensor) -> bool:
    """Whether the features are equal, bit by bit, exactly where the texts are."""
    same = (h[:, None] == h[None]).all(dim=2)
    return same.tolist() == [[a == b for b in texts] for a in texts]


def test_features_of_equal_texts_are_equal_in_their_order() -> None:
    torch.manual_seed(0)
    encoder = Noisy()
    h, labels = cl.embed(encoder, [(text, i) for i, text in enumerate(TEXTS)], batch_size=3)
    assert encoder.seen == 8
    assert equal_where(TEXTS, h)
    assert labels.tolist() == [*range(40)]
    alone, _ = cl.embed(encoder.bag, TEXTS)
    torch.testing.assert_close(h / h.norm(dim=1)[:, None], alone / alone.norm(dim=1)[:, None])


def test_a_file_of_features_has_all_lines(tmp_path: Path) -> None:
    file, out = tmp_path / "encoder.safetensors", tmp_path / "h.npy"
    save_encoder(encoder_of("bag_w8"), file, {"encoder": "bag_w8", "max_length": [99, 99]})
    (tmp_path / "texts.txt").write_text("".join(f"{text}\n" for text in TEXTS))
    words = [str(file), str(tmp_path / "texts.txt"), "--out", str(out), "--batch_size", "3"]
    assert embed_command(words) == 0
    assert (tmp_path / "h.txt").read_text().split() == TEXTS
    expected, _ = cl.embed(file, TEXTS, batch_size=3)
    assert np.array_equal(np.load(out), expected.numpy())


def test_the_place_of_features_that_are_not_finite_is_said() -> None:
    class Broken(Noisy):
        def forward(self, x: Tensor) -> Tensor:
            h = super().forward(x)
            return torch.where((x >= 0).sum(dim=1)[:, None] > 20, torch.nan, h)

    texts = [*TEXTS, "a long text of many words that is here and again", "cat"]
    with pytest.raises(ValueError, match="the features of image 40 are not finite"):
        cl.embed(Broken(), texts)


@pytest.fixture
def short(tmp_path: Path) -> dict[str, Any]:
    return {"output": str(tmp_path), "wandb": "off", "report": False, "precision": "32"}


def test_an_evaluation_ranks_equal_texts_alike(
    short: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    """Pairs of equal sentences have one cosine; what is kept of them is read the next time."""
    torch.manual_seed(0)
    file = tmp_path / "encoder.safetensors"
    save_encoder(encoder_of("bag_w8"), file, {"encoder": "bag_w8", "max_length": [99, 99]})
    pairs = [(a, b, float(i % 5)) for i, (a, b) in enumerate(zip(TEXTS, TEXTS[::-1], strict=True))]
    numbers = [cl.evaluate(file, pairs, "sts", **short)["sts"].numbers for _ in range(2)]
    said = capsys.readouterr().out
    assert numbers[0] == numbers[1]
    assert said.count("features of 8 different sentences: one pass") == 1  # of 80
    (kept,) = (tmp_path / "features").glob("*[0-9a-f].npy")
    h = np.load(kept)
    assert h.shape == (80, 8)
    assert equal_where([*TEXTS, *TEXTS[::-1]], torch.from_numpy(h))
