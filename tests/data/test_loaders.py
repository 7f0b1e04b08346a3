"""What every backend promises, and how far DALI is from the kernel."""

import gc
import multiprocessing
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
import torch
from PIL import Image

from cl.data import sets
from cl.data.augment import torchvision as by_torchvision
from cl.data.augment.recipe import Recipe
from cl.data.batch import Batch
from cl.data.loaders.base import Loader
from cl.data.loaders.device import DeviceLoader
from cl.data.loaders.memory import MemoryLoader
from cl.data.loaders.sampler import Sampler
from cl.data.loaders.workers import FileLoader, received
from cl.data.sets import Images, Paths
from tests.data.made import are_rounded, in_files, in_memory, picture

RECIPES = [Recipe(size=16, solarize=0.2), Recipe(size=8, views=3)]
PLAIN = {"jitter": 0.0, "grayscale": 0.0, "mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0)}
BACKENDS = [
    "memory",
    "torch",
    "torch with workers",
    "torchvision",
    "device",
    pytest.param("dali", marks=pytest.mark.dali),
    pytest.param("dali with files", marks=pytest.mark.dali),
]
Make = Callable[..., Loader]


def make_loader(
    backend: str, images: Images, recipes: Sequence[Recipe], sampler: Sampler, workers: int = 2
) -> Loader:
    if backend == "memory":
        return MemoryLoader(images, recipes, sampler, workers)
    if backend == "torchvision":
        return FileLoader(images, recipes, sampler, 0, by_torchvision.views)
    if backend == "device":
        return DeviceLoader(images, recipes, sampler, torch.device("cpu"))
    if backend.startswith("torch"):
        return FileLoader(images, recipes, sampler, workers if "workers" in backend else 0)
    pytest.importorskip("nvidia.dali")
    from cl.data.loaders.dali import DaliLoader

    return DaliLoader(images, recipes, sampler, workers)


@pytest.fixture(params=BACKENDS)
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Make:
    images = in_memory()
    if "files" in request.param:
        images = in_files(tmp_path, images)

    def made(batch_size: int = 4, workers: int = 2, fill: bool = False) -> Loader:
        sampler = Sampler(len(images), batch_size, 5, fill=fill)
        return make_loader(request.param, images, RECIPES, sampler, workers)

    return made


def epoch(loader: Loader, number: int = 0) -> list[Batch]:
    loader.sampler.set_epoch(number)
    return list(loader)


def by_sample(batches: list[Batch]) -> dict[int, list[torch.Tensor]]:
    return {
        int(at): [views[:, i].cpu() for views in batch.views]
        for batch in batches
        for i, at in enumerate(batch.index)
    }


def same(a: Sequence[torch.Tensor], b: Sequence[torch.Tensor]) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


def test_batches_are_whole(make: Make) -> None:
    loader = make()
    batches = epoch(loader)
    assert len(batches) == len(loader) == 3
    for batch in batches:
        assert [tuple(v.shape) for v in batch.views] == [(2, 4, 3, 16, 16), (3, 4, 3, 8, 8)]
        assert all(v.dtype == torch.float32 and v.is_contiguous() for v in batch.views)
        assert batch.labels.dtype == batch.index.dtype == torch.int64
        assert batch.labels.tolist() == [int(i) % 3 for i in batch.index]
    assert sorted(i for b in batches for i in b.index.tolist()) == list(range(12))


def test_epochs_differ_and_repeat(make: Make) -> None:
    loader = make()
    first, second, again = epoch(loader, 0), epoch(loader, 1), epoch(loader, 0)
    assert [b.index.tolist() for b in first] != [b.index.tolist() for b in second]
    assert all(same(a.views, b.views) for a, b in zip(first, again, strict=True))
    one, other = by_sample(first), by_sample(second)
    assert not any(torch.equal(one[i][0], other[i][0]) for i in range(12))


def test_the_generators_of_the_training_are_left_alone(make: Make) -> None:
    """What a network draws, as for dropout, is the same in a run that was resumed."""
    before = torch.get_rng_state()
    assert len([*make()]) > 1
    assert torch.equal(torch.get_rng_state(), before)


def test_views_of_a_sample_differ(make: Make) -> None:
    for sizes in by_sample(epoch(make())).values():
        for views in sizes:
            assert len({v.numpy().tobytes() for v in views}) == len(views)


def test_a_sample_has_its_views_whatever_the_batch_and_the_workers(make: Make) -> None:
    expected = by_sample(epoch(make()))
    for batch_size, workers in ((6, 1), (3, 2), (5, 2)):
        for at, views in by_sample(epoch(make(batch_size, workers, fill=True))).items():
            assert same(views, expected[at])


@pytest.mark.parametrize("taken", [0, 1, 2, 3])
def test_an_interrupted_epoch_goes_on(make: Make, taken: int) -> None:
    whole, loader = [*epoch(make()), *epoch(make(), 1)], make()
    iterator = iter(loader)
    for expected in whole[:taken]:
        assert same(next(iterator).views, expected.views)
    state = loader.state_dict()
    iterator.close()  # pyright: ignore[reportAttributeAccessIssue]
    other = make()
    other.load_state_dict(state)
    done = 1 if taken == 3 else 0  # a whole epoch was taken: the next one follows
    rest = [*epoch(other, done), *(epoch(other, 1) if not done else [])]
    assert [b.index.tolist() for b in rest] == [b.index.tolist() for b in whole[taken:]]
    assert all(same(a.views, b.views) for a, b in zip(rest, whole[taken:], strict=True))


def test_leaving_early_leaves_nothing(make: Make) -> None:
    threads, children = threading.active_count(), len(multiprocessing.active_children())
    loader = make()
    expected = epoch(make())
    for batch in loader:
        assert same(batch.views, expected[0].views)
        break
    rest = list(loader)  # the same epoch goes on
    assert all(same(a.views, b.views) for a, b in zip(rest, expected[1:], strict=True))
    for _ in loader:
        break
    del loader, batch
    gc.collect()
    deadline = time.monotonic() + 10  # workers are told to end, and take their moment
    while threading.active_count() > threads and time.monotonic() < deadline:
        time.sleep(0.1)
    assert threading.active_count() == threads
    assert len(multiprocessing.active_children()) == children


def test_views_of_files_are_those_of_memory_rounded_to_bytes(tmp_path: Path) -> None:
    """Wherever the workers are, to the bit; a quarter of a float's memory is shared."""
    images = in_memory()
    files = in_files(tmp_path, images)

    def views(backend: str, of: Images) -> dict[int, list[torch.Tensor]]:
        return by_sample(epoch(make_loader(backend, of, RECIPES, Sampler(12, 4, 5))))

    expected = views("memory", images)
    once = views("torch", images)
    for backend, of in (("torch", files), ("torch with workers", files)):
        found = views(backend, of)
        assert all(same(found[i], once[i]) for i in range(12))
    for i in range(12):
        for found, exact, recipe in zip(once[i], expected[i], RECIPES, strict=True):
            assert not torch.equal(found, exact)
            assert are_rounded(found, exact, recipe)


def test_ranks_share_a_batch() -> None:
    images = in_memory()
    whole = epoch(MemoryLoader(images, RECIPES, Sampler(12, 6, 5), 2))
    parts = [epoch(MemoryLoader(images, RECIPES, Sampler(12, 3, 5, r, 2), 2)) for r in range(2)]
    for batch, *shares in zip(whole, *parts, strict=True):
        assert torch.equal(batch.views[0], torch.cat([s.views[0] for s in shares], dim=1))


def difference(images: Images, **changes: float) -> float:
    """Mean distance of DALI's views from the kernel's, of 255."""
    recipe = Recipe(size=32).changed({**PLAIN, **changes})
    other = "memory" if images.pixels is not None else "torch"
    found, expected = (
        by_sample(epoch(make_loader(backend, images, [recipe], Sampler(len(images), 4, 5))))
        for backend in ("dali", other)
    )
    pairs = [(found[i][0], expected[i][0]) for i in found]
    return 255 * float(torch.stack([(a - b).abs().mean() for a, b in pairs]).mean())


CUBIC = Recipe(size=16, crop_interpolation="bicubic").changed(PLAIN)


@pytest.mark.parametrize(
    ("backend", "levels"),
    [
        ("torch", 0.26),  # rounded to bytes
        ("torch with workers", 0.26),
        ("torchvision", 0.26),
        ("device", 1e-3),
        pytest.param("dali", 0.2, marks=pytest.mark.dali),  # at edges of a crop that is enlarged
        pytest.param("dali with files", 0.2, marks=pytest.mark.dali),
    ],
)
def test_bicubic_crops_are_the_memory_loaders(backend: str, levels: float, tmp_path: Path) -> None:
    """Of both sizes of a multi-crop; mean distance in gray levels."""
    images = in_memory()
    read = in_files(tmp_path, images) if "files" in backend else images
    recipes = [CUBIC, CUBIC.changed({"size": 8, "crop_scale": (0.05, 0.14)})]
    found, expected, bilinear = (
        by_sample(epoch(make_loader(name, each, how, Sampler(len(images), 4, 5))))
        for name, each, how in (
            (backend, read, recipes),
            ("memory", images, recipes),
            ("memory", images, [r.changed({"crop_interpolation": "bilinear"}) for r in recipes]),
        )
    )
    for size in range(2):
        ours, theirs, other = (
            torch.stack([views[at][size] for at in range(12)])
            for views in (found, expected, bilinear)
        )
        assert 255 * float((ours - theirs).abs().mean()) <= levels
        assert 255 * float((ours - other).abs().mean()) > 1


@pytest.mark.dali
def test_dali_is_close_to_the_kernel(tmp_path: Path) -> None:
    images = in_memory(side=48)
    assert difference(images, solarize=0.3) < 0.1
    rounding = 0.25  # of the views that workers hand over
    assert difference(in_files(tmp_path, images), solarize=0.3) < 0.1 + rounding
    assert difference(images, grayscale=1.0) < 0.5
    alone = {"jitter": 1.0, "brightness": 0.0, "contrast": 0.0, "saturation": 0.0, "hue": 0.0}
    assert difference(images, **{**alone, "brightness": 0.8}) < 0.1
    assert difference(images, **{**alone, "saturation": 0.8}) < 0.5
    assert difference(images, **{**alone, "contrast": 0.8}) < 10  # around one half, not the mean
    assert difference(images, **{**alone, "hue": 0.2}) < 25  # in YIQ; 42 in the wrong direction


@pytest.mark.dali
def test_dali_reads_jpegs_of_any_size(tmp_path: Path) -> None:
    paths = [tmp_path / f"{i}.jpg" for i in range(8)]
    for i, path in enumerate(paths):
        Image.fromarray(picture(40 + 9 * i, 90 - 7 * i, i)).save(path, quality=90)
    images = sets.in_files(paths)
    assert difference(images) < 3
    exif = Image.Exif()
    exif[0x0112] = 6  # lies on its side: no backend turns it
    Image.fromarray(picture(40, 90)).save(paths[0], exif=exif)
    assert difference(images) < 3


@pytest.mark.parametrize("backend", BACKENDS[1:4])
@pytest.mark.parametrize("content", [b"no image", None])
def test_a_bad_file_is_named(tmp_path: Path, backend: str, content: bytes | None) -> None:
    images = in_files(tmp_path, in_memory())
    assert isinstance(images.files, Paths)
    bad = images.files.paths[7]
    Image.fromarray(picture(64, 64)).save(bad, "JPEG")
    bad.write_bytes(content or bad.read_bytes()[:1000])
    loader = make_loader(backend, images, RECIPES, Sampler(12, 4, 5), 1)
    with pytest.raises(ValueError, match=r"7\.png cannot be read as an image"):
        list(loader)


def test_dali_missing_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    from cl.data.loaders.dali import DaliLoader

    monkeypatch.setitem(sys.modules, "nvidia.dali", None)
    with pytest.raises(ValueError, match="--backend dali: needs nvidia-dali; pip install"):
        DaliLoader(in_memory(), RECIPES, Sampler(12, 4, 5), 1)


@pytest.mark.parametrize("error", [ConnectionResetError(104, "reset by peer"), EOFError()])
def test_a_worker_that_ended_while_it_sent_is_said_to_have_ended(error: Exception) -> None:
    """How its pipe breaks is a matter of time; what a worker hands on is its own."""

    def batches() -> Iterator[int]:
        yield 1
        raise error

    got = received(batches())
    assert next(got) == 1
    with pytest.raises(RuntimeError, match="a worker process exited unexpectedly"):
        next(got)
    own = ConnectionResetError("Caught it.\nOriginal Traceback (most recent call last):\n  ...")
    with pytest.raises(ConnectionResetError):
        next(received(iter_of(own)))


def iter_of(error: Exception) -> Iterator[int]:
    raise error
    yield 0
