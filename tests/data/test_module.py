"""The data module: plain images, and which backend is taken."""

import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from torchvision.transforms.v2 import functional as F

from cl.data.augment.recipe import Recipe
from cl.data.loaders.memory import MemoryLoader
from cl.data.loaders.workers import FileLoader
from cl.data.module import ContrastiveData, PlainLoader, choose
from cl.data.sets import Images, Source
from tests.data.made import in_files, in_memory, picture


@pytest.mark.parametrize("world", [1, 2, 3])
@pytest.mark.parametrize("workers", [0, 3])
def test_every_sample_once(world: int, workers: int) -> None:
    images, recipe = in_memory(13), Recipe(size=16)
    seen = []
    for rank in range(world):
        loader = PlainLoader(images, recipe, 4, workers, rank, world)
        batches = list(loader)
        assert len(batches) == len(loader)
        for batch in batches:
            assert tuple(batch.views[0].shape) == (1, len(batch.index), 3, 16, 16)
            assert batch.labels.tolist() == [int(i) % 3 for i in batch.index]
            seen += batch.index.tolist()
    assert seen == list(range(13))


def expected(image: np.ndarray, recipe: Recipe, side: int) -> torch.Tensor:
    x = torch.from_numpy(image).permute(2, 0, 1).float() / 255
    height, width = x.shape[1:]
    top, left, size = (height - side) // 2, (width - side) // 2, [recipe.size] * 2
    x = F.resized_crop(x, top, left, side, side, size, antialias=True)
    return F.normalize(x, list(recipe.mean), list(recipe.std))


@pytest.mark.parametrize("channels", [3, 1, 4])
@pytest.mark.parametrize(("size", "side"), [(64, 96), (65, 84), (96, 96)])
def test_large_images_lose_their_border(size: int, side: int, channels: int) -> None:
    image, recipe = picture(96, 120), Recipe(size=size)
    if channels != 3:
        image = np.concatenate([image, image], axis=2)[..., :channels]
        recipe = recipe.of_channels((0.4,) * channels, (0.2,) * channels)
    (batch,) = PlainLoader(Images(np.zeros(1, np.int64), image[None]), recipe, 8)
    torch.testing.assert_close(
        batch.views[0][0, 0], expected(image, recipe, side), rtol=1e-4, atol=1e-4
    )


def test_a_loaders_threads_are_the_same_in_each_epoch_and_end_with_it() -> None:
    """Also where an epoch is left early."""
    before, threads = {*threading.enumerate()}, list[set[threading.Thread]]()
    loader = PlainLoader(in_memory(), Recipe(size=16), 4, 2)
    for _ in range(3):
        next(iter(loader))
        threads.append({*threading.enumerate()} - before)
    assert len(threads[0]) == 2
    assert threads[0] == threads[1] == threads[2]
    del loader
    for thread in threads[0]:
        thread.join(10)
        assert not thread.is_alive()


def test_shared_memory_is_what_the_workers_hold(tmp_path: Path) -> None:
    """Each of the tensors of the batches that a worker may have ready, and one in its step."""
    images = in_files(tmp_path, in_memory())
    recipes = [Recipe(size=16), Recipe(size=8, views=3)]
    how = {"batch_size": 4, "workers": 3}
    data = ContrastiveData(Source("mine", ["a"], images, images), recipes, **how)
    loader = data.make_loader()
    assert isinstance(loader, FileLoader)
    views, _ = next(iter(loader.loader))
    held = sum(x.untyped_storage().nbytes() for x in views)
    assert held == 4 * 3 * (2 * 16**2 + 3 * 8**2)  # bytes
    assert all(x.is_shared() for x in views)
    assert loader.loader.prefetch_factor == 2
    assert data.shared_memory == (3 * 2 + 1) * held
    data.workers = 0
    assert data.shared_memory == 0
    held_in_memory = ContrastiveData(Source("mine", ["a"], *[in_memory()] * 2), recipes, **how)
    assert held_in_memory.shared_memory == 0


def test_choice(tmp_path: Path) -> None:
    held = in_memory()
    files = in_files(tmp_path, held)
    assert choose("auto", held) == ("memory", "the pixels are in memory")
    assert choose("auto", files) == ("torch", "images are in files")
    assert choose("torch", held) == ("torch", "as asked for")
    with pytest.raises(ValueError, match=r"--backend memory cannot be used: .* in files"):
        choose("memory", files)


def test_module(tmp_path: Path) -> None:
    held = in_memory()
    files = in_files(tmp_path, held)
    for images, kind in ((held, MemoryLoader), (files, FileLoader)):
        source = Source("made", ["a", "b", "c"], images, images)
        data = ContrastiveData(source, [Recipe(size=16)], batch_size=5, fill_last=True)
        train = data.train_dataloader()
        assert isinstance(train, kind)
        assert [len(b.index) for b in train] == [5, 5, 5]
        assert [len(b.index) for b in data.val_dataloader()] == [12]
        assert data.backend in data.describe()
    source = Source("made", ["a", "b", "c"], held, held)
    data = ContrastiveData(source, [Recipe(size=16)], batch_size=5, size=20)
    assert next(iter(data.val_dataloader())).views[0].shape == (1, 12, 3, 20, 20)
    with pytest.raises(ValueError, match="--batch_size 13"):
        ContrastiveData(source, [Recipe(size=16)], batch_size=13).train_dataloader()


@pytest.mark.dali
def test_module_with_dali() -> None:
    pytest.importorskip("nvidia.dali")
    held = in_memory()
    source = Source("made", ["a", "b", "c"], held, held)
    data = ContrastiveData(source, [Recipe(size=16)], batch_size=6, backend="dali", workers=1)
    assert [b.views[0].shape for b in data.train_dataloader()] == [(2, 6, 3, 16, 16)] * 2
