"""Features are those of a frozen encoder, and a cache answers only for what it was made of."""

import copy
import os
import shutil
from functools import partial
from pathlib import Path
from threading import Event, Thread
from types import SimpleNamespace
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from cl import locking
from cl.checkpoints import fingerprint
from cl.data.augment.recipe import Recipe
from cl.data.loaders.texts import TextLoader
from cl.data.module import PlainLoader
from cl.data.sets import in_files as in_files_of
from cl.data.sets._sums import data_checksum
from cl.data.tokens import joined
from cl.eval import _cache
from cl.eval._cache import (
    cache_key,
    gather_features,
    load_features,
    map_new_file,
    save_features,
    shortage,
    unfinished_file,
    written_alone,
)
from cl.eval._features import extract_features
from cl.eval._result import Features
from cl.locking import is_writable, lock_file
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


def features_of(encoder: nn.Module, batch_size: int = 4) -> Features:
    loader = PlainLoader(IMAGES, Recipe(size=16), batch_size)
    return extract_features(encoder, loader, accelerator="cpu", devices=1)


@pytest.mark.parametrize("kind", ENCODERS)
@pytest.mark.parametrize("mode", MODES)
def test_the_encoder_stands_still(kind: str, mode: str) -> None:
    """In evaluation mode while it is looked at; afterwards its bits and its mode are as before."""
    encoder, seen = made(kind, mode), []
    encoder.register_forward_hook(lambda *_: seen.append([m.training for m in encoder.modules()]))
    before, modes = fingerprint(encoder), [m.training for m in encoder.modules()]
    features_of(encoder)
    assert seen == [[False] * 6] * 3
    assert fingerprint(encoder) == before
    assert [m.training for m in encoder.modules()] == modes


@pytest.mark.parametrize("kind", ENCODERS)
@pytest.mark.parametrize("batch_size", [1, 4, 11, 50])
def test_features_do_not_depend_on_the_batch(kind: str, batch_size: int) -> None:
    h, labels = features_of(made(kind), batch_size)
    frozen = copy.deepcopy(made(kind)).eval()
    with torch.no_grad():
        one_by_one = [frozen(b.views[0][0])[0] for b in PlainLoader(IMAGES, Recipe(size=16), 1)]
    torch.testing.assert_close(h, torch.stack(one_by_one), rtol=1e-5, atol=1e-6)
    assert labels.tolist() == IMAGES.labels.tolist()
    assert not h.requires_grad


@pytest.mark.parametrize("channels_last", [True, False])
def test_the_layout_is_as_asked_for(channels_last: bool) -> None:
    encoder, seen = made(), []
    layout = torch.channels_last if channels_last else torch.contiguous_format
    encoder.register_forward_pre_hook(
        lambda _, args: seen.append(args[0].is_contiguous(memory_format=layout))
    )
    loader = PlainLoader(IMAGES, Recipe(size=16), 4)
    extract_features(encoder, loader, channels_last=channels_last, accelerator="cpu", devices=1)
    assert seen == [True] * 3


@pytest.mark.parametrize(("rank", "world"), [(0, 1), (0, 2), (1, 2)])
def test_texts_come_by_their_lengths_and_features_in_their_order(rank: int, world: int) -> None:
    g = np.random.default_rng(0)
    texts = [g.integers(1, 9, length).astype(np.int32) for length in g.permutation(20) + 1]
    loader = TextLoader([joined(texts, 0)], 4, rank, world, by_length=True)
    widths = [batch.views[0].shape[2] for batch in loader]
    assert widths == sorted(widths, reverse=True)
    assert len(set(widths)) > 1

    class Sum(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.clamp(min=0).sum(dim=1, keepdim=True).float()

    h, labels = extract_features(Sum(), loader, accelerator="cpu", devices=1)
    own = texts[20 * rank // world : 20 * (rank + 1) // world]
    assert h[:, 0].tolist() == [float(text.sum()) for text in own]
    assert labels.tolist() == [-1] * len(own)


def test_an_encoder_that_changes_is_refused() -> None:
    class Counting(nn.BatchNorm2d):
        def forward(self, x: Tensor) -> Tensor:
            self.num_batches_tracked += 1
            return super().forward(x)

    encoder = made()
    encoder[1] = Counting(4)
    with pytest.raises(RuntimeError, match="the frozen encoder changed"):
        features_of(encoder)


def altered(what: str) -> str:
    """The key after a change of one thing, as small as it can be."""
    encoder, images, transform = made(), copy.deepcopy(IMAGES), "plain 16"
    built = {"norm": "batch", "padding": 2 if what == "padding" else None}
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
    return cache_key(encoder, images, transform if what != "transform" else "plain 17", built)


def test_the_key_is_of_what_features_depend_on() -> None:
    kinds = ("nothing", "weight", "buffer", "padding", "pixel", "label", "order", "transform")
    assert len({altered(what) for what in kinds}) == 8
    built = {"padding": None, "norm": "batch"}
    assert altered("nothing") == cache_key(made(mode="eval"), IMAGES, "plain 16", built)


def test_the_key_is_of_the_configuration_of_a_model_and_of_what_computes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of these weights gelu and relu make other features, and no tensor tells which."""

    class Model(nn.Linear):
        def __init__(self, activation: str) -> None:
            super().__init__(1, 1)
            nn.init.zeros_(self.weight)
            nn.init.zeros_(self.bias)
            self.config = Mock(to_json_string=lambda: activation)

    def keys() -> list[str]:
        return [cache_key(Model(name), IMAGES, "") for name in ("gelu", "relu")]

    before = keys()
    monkeypatch.setattr("cl.versions.version", lambda name: f"another {name}")
    assert len({*before, *keys()}) == 4


def test_the_key_notices_a_changed_file(tmp_path: Path) -> None:
    images, encoder = in_files(tmp_path, IMAGES), made()
    before = cache_key(encoder, images, "")
    assert cache_key(encoder, images, "") == before
    os.utime(tmp_path / "7.png", ns=(1, 1))
    assert cache_key(encoder, images, "") != before


def test_the_sum_of_files_is_of_their_names_and_sizes(tmp_path: Path) -> None:
    """Wherever they lie and whenever they were written."""
    (tmp_path / "a" / "set").mkdir(parents=True)
    images = in_files(tmp_path / "a" / "set", IMAGES)
    before = data_checksum(images)
    moved = shutil.copytree(tmp_path / "a", tmp_path / "b")
    paths = [moved / "set" / f"{i}.png" for i in range(11)]
    there = in_files_of(paths, IMAGES.labels.tolist())
    os.utime(paths[0], ns=(1, 1))
    assert data_checksum(there) == before
    assert data_checksum(in_files_of(paths, [0] * 11)) != before
    assert data_checksum(in_files_of(paths[::-1], IMAGES.labels.tolist())) != before
    paths[7].write_bytes(paths[7].read_bytes() + b"0")
    assert data_checksum(there) != before


def test_what_is_stored_comes_back(tmp_path: Path) -> None:
    file, (h, labels) = tmp_path / "features" / "0123.npy", (torch.randn(9, 4), torch.arange(9))
    assert load_features(file, 9) is None
    file.parent.mkdir()
    (file.parent / "0123.other.new").touch()  # of an evaluation that does the same now
    (file.parent / "0123.new").touch()
    save_features(file, (h, labels), 9, "me")
    (file.parent / "0123.new").unlink()  # still there: no name that another would take
    arrays = {"0123.npy", "0123.labels.npy"}
    sums = {f"{name}.sha256" for name in arrays}
    assert {p.name for p in file.parent.iterdir()} == arrays | sums | {"0123.other.new"}
    assert (file.parent / "0123.other.new").stat().st_size == 0
    found = load_features(file, 9)
    assert torch.equal(found[0], h)
    assert torch.equal(found[1], labels)
    assert load_features(file, 10) is None


def test_a_pass_writes_into_a_mapped_file(tmp_path: Path) -> None:
    """The same bits as by way of the memory; what is written in place is not written again."""
    file = tmp_path / "0123.npy"
    new = unfinished_file(file, "me")
    loader = PlainLoader(IMAGES, Recipe(size=16), 4)
    own = extract_features(
        made(), loader, allocate=partial(map_new_file, new), accelerator="cpu", devices=1
    )
    assert new.stat().st_size == 128 + 4 * own[0].numel()
    save_features(file, own, 11, "me", mapped=True)
    assert not new.exists()
    for found, expected in zip(load_features(file, 11), features_of(made()), strict=True):
        assert torch.equal(found, expected)


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    assert is_writable(tmp_path / "new" / "features")
    assert not [*(tmp_path / "new" / "features").iterdir()]
    (tmp_path / "file").touch()
    assert not is_writable(tmp_path / "file")
    assert not is_writable(tmp_path / "file" / "features")


FILES = ["0.npy", "0.labels.npy"]


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    """The file of 99 features."""
    save_features(tmp_path / "0.npy", (torch.randn(99, 4), torch.arange(99)), 99, "me")
    return tmp_path / "0.npy"


@pytest.mark.parametrize("name", [*FILES, *(f"{name}.sha256" for name in FILES)])
def test_one_file_without_the_others_is_not_taken(name: str, kept: Path) -> None:
    assert load_features(kept, 99) is not None
    kept.with_name(name).unlink()
    assert load_features(kept, 99) is None


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("share", [0, 0.2, 0.99])
def test_half_a_file_is_not_taken(name: str, share: float, kept: Path) -> None:
    data = kept.with_name(name).read_bytes()
    kept.with_name(name).write_bytes(data[: int(share * len(data))])
    assert load_features(kept, 99) is None


@pytest.mark.parametrize("name", FILES)
def test_a_hole_is_not_taken(name: str, kept: Path) -> None:
    """A header and zeros, as a disk leaves a file whose content it lost."""
    data = kept.with_name(name).read_bytes()
    kept.with_name(name).write_bytes(data[:128] + bytes(len(data) - 128))
    assert len(np.load(kept.with_name(name))) == 99
    assert load_features(kept, 99) is None


def test_features_can_be_learned_from() -> None:
    """They come out of inference mode as plain tensors, the labels beside them."""
    h, labels = features_of(made())
    assert not h.is_inference()
    weight = torch.zeros(4, 3, requires_grad=True)
    torch.nn.functional.cross_entropy(h @ weight, labels).backward()
    assert weight.grad is not None


def test_two_evaluations_do_not_write_the_same_features(tmp_path: Path) -> None:
    """The second one waits, says so once, and comes in when the first one has left."""
    file, waits, inside = tmp_path / "features" / "0.npy", Event(), Event()

    def second() -> None:
        with written_alone(file, waits.set):
            inside.set()

    thread = Thread(target=second)
    with written_alone(file, lambda: pytest.fail("nobody else is there")):
        thread.start()
        assert waits.wait(20)
        assert not inside.is_set()
        with pytest.raises(BlockingIOError):
            lock_file(file.with_suffix(".lock"))
    thread.join(20)
    assert inside.is_set()
    assert not list(file.parent.iterdir())


def test_a_cache_that_cannot_be_written_or_locked_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    assert lock_file(tmp_path / "file" / "0.lock") is None

    def no_locks(*_: object) -> None:
        raise OSError("no locks available")

    monkeypatch.setattr(locking.fcntl, "flock", no_locks)
    assert lock_file(tmp_path / "0.lock") is None


def test_features_without_room_on_the_disk_stay_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "features"
    assert shortage(folder, 1_000_000, 2048) == ""
    usage = SimpleNamespace(free=8_199_000_000)
    monkeypatch.setattr(_cache.shutil, "disk_usage", lambda _: usage)
    assert "they take 8.2 GB, 8.2 GB are free" in shortage(folder, 1_000_000, 2048)
    usage.free = 8_200_000_001
    assert shortage(folder, 1_000_000, 2048) == ""
    own = torch.randn(5, 3), torch.arange(5)
    for a, b in zip(gather_features(own), own, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0)
