"""Features are those of a frozen encoder, and a cache answers only for what it was made of."""

import copy
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from cl.checkpoints import fingerprint
from cl.data.module import PlainLoader
from cl.data.recipe import Recipe
from cl.eval.features import Features, extract, key_of, store, stored
from tests.data.made import in_files, in_memory

ENCODERS = {"norm": lambda: nn.BatchNorm2d(4), "dropout": lambda: nn.Dropout(0.5)}
MODES = {"train": (True, True), "eval": (False, False), "part": (True, False)}
IMAGES = in_memory(11, 16)


def made(kind: str = "norm", mode: str = "train") -> nn.Module:
    """An encoder that training mode changes: all of it in one mode, or its second layer apart."""
    torch.manual_seed(0)
    pool = [nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    encoder = nn.Sequential(nn.Conv2d(3, 4, 3), ENCODERS[kind](), *pool)
    whole, inner = MODES[mode]
    encoder.train(whole)[1].train(inner)
    return encoder


def taken(encoder: nn.Module, batch_size: int = 4) -> Features:
    loader = PlainLoader(IMAGES, Recipe(size=16), batch_size)
    return extract(encoder, loader, accelerator="cpu", devices=1)


@pytest.mark.parametrize("kind", ENCODERS)
@pytest.mark.parametrize("mode", MODES)
def test_the_encoder_stands_still(kind: str, mode: str) -> None:
    """In evaluation mode while it is looked at; afterwards its bits and its mode are as before."""
    encoder, seen = made(kind, mode), []
    encoder.register_forward_hook(lambda *_: seen.append([m.training for m in encoder.modules()]))
    before, modes = fingerprint(encoder), [m.training for m in encoder.modules()]
    taken(encoder)
    assert seen == [[False] * 6] * 3
    assert fingerprint(encoder) == before
    assert [m.training for m in encoder.modules()] == modes


@pytest.mark.parametrize("kind", ENCODERS)
@pytest.mark.parametrize("batch_size", [1, 4, 11, 50])
def test_features_do_not_depend_on_the_batch(kind: str, batch_size: int) -> None:
    h, labels = taken(made(kind), batch_size)
    frozen = copy.deepcopy(made(kind)).eval()
    with torch.no_grad():
        one_by_one = [frozen(b.views[0][0])[0] for b in PlainLoader(IMAGES, Recipe(size=16), 1)]
    torch.testing.assert_close(h, torch.stack(one_by_one), rtol=1e-5, atol=1e-6)
    assert labels.tolist() == IMAGES.labels.tolist()
    assert not h.requires_grad


def test_an_encoder_that_changes_is_refused() -> None:
    class Counting(nn.BatchNorm2d):
        def forward(self, x: Tensor) -> Tensor:
            self.num_batches_tracked += 1
            return super().forward(x)

    encoder = made()
    encoder[1] = Counting(4)
    with pytest.raises(RuntimeError, match="the frozen encoder changed"):
        taken(encoder)


def altered(what: str) -> str:
    """The key after a change of one thing, as small as it can be."""
    encoder, images, transform = made(), copy.deepcopy(IMAGES), "plain 16"
    if what == "weight":
        encoder[0].weight.data.view(-1)[5] += 1e-6
    elif what == "buffer":
        encoder[1].running_var[3] += 1e-6
    elif what == "pixel":
        images.pixels[7, 3, 5, 1] ^= 1
    elif what == "label":
        images.labels[4] += 1
    elif what == "order":
        images = images.subset(np.arange(11)[::-1])
    return key_of(encoder, images, transform if what != "transform" else "plain 17")


def test_the_key_is_of_what_features_depend_on() -> None:
    kinds = ("nothing", "weight", "buffer", "pixel", "label", "order", "transform")
    assert len({altered(what) for what in kinds}) == 7
    assert altered("nothing") == key_of(made(mode="eval"), IMAGES, "plain 16")


def test_the_key_notices_a_changed_file(tmp_path: Path) -> None:
    images, encoder = in_files(tmp_path, IMAGES), made()
    before = key_of(encoder, images, "")
    assert key_of(encoder, images, "") == before
    os.utime(tmp_path / "7.png", ns=(1, 1))
    assert key_of(encoder, images, "") != before


def test_what_is_stored_comes_back(tmp_path: Path) -> None:
    file, (h, labels) = tmp_path / "features" / "0123.npy", (torch.randn(9, 4), torch.arange(9))
    assert stored(file) is None
    store(file, (h, labels), 9)
    assert {p.name for p in file.parent.iterdir()} == {"0123.npy", "0123.labels.npy"}
    found = stored(file)
    assert torch.equal(found[0], h)
    assert torch.equal(found[1], labels)


@pytest.mark.parametrize("name", ["0.npy", "0.labels.npy"])
def test_one_file_without_the_other_is_not_taken(name: str, tmp_path: Path) -> None:
    store(tmp_path / "0.npy", (torch.randn(99, 4), torch.arange(99)), 99)
    (tmp_path / name).unlink()
    assert stored(tmp_path / "0.npy") is None


@pytest.mark.parametrize("name", ["0.npy", "0.labels.npy"])
@pytest.mark.parametrize("share", [0, 0.2, 0.99])
def test_half_a_file_is_not_taken(name: str, share: float, tmp_path: Path) -> None:
    store(tmp_path / "0.npy", (torch.randn(99, 4), torch.arange(99)), 99)
    data = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(data[: int(share * len(data))])
    assert stored(tmp_path / "0.npy") is None
