"""The batched operations against the kernel, with the same numbers; here on the CPU."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch._ops import OpOverload
from torch.utils._python_dispatch import TorchDispatchMode

from cl.data.augment.cpu import JITTER, VIEW, draw_many
from cl.data.augment.cpu import render as by_kernel
from cl.data.augment.gpu import halves, product, render
from cl.data.augment.recipe import Recipe, full_size, preset
from cl.data.batch import Batch
from cl.data.loaders import device as device_module
from cl.data.loaders.device import DeviceLoader
from cl.data.loaders.memory import MemoryLoader
from cl.data.loaders.sampler import Sampler
from tests.data.made import in_memory, picture

TOLERANCE = 1e-3 / 255
DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]
SAMPLES = np.arange(24)


def pixels(height: int, width: int) -> np.ndarray:
    return np.stack([picture(height, width, int(i)) for i in SAMPLES])


def errors(recipe: Recipe, p: np.ndarray, images: np.ndarray, device: str) -> np.ndarray:
    """Mean absolute difference of each sample, in parts of full brightness."""
    ours = render(torch.from_numpy(images).to(device), p, recipe).cpu()
    out = np.empty((len(images), 3, recipe.size, recipe.size), np.float32)
    for image, of_one, to in zip(images, p, out, strict=True):
        by_kernel(image, of_one, recipe.record, to)
    return (ours - torch.from_numpy(out)).abs().mean(dim=(1, 2, 3)).numpy() * np.mean(recipe.std)


def drawn(recipe: Recipe, height: int, width: int) -> np.ndarray:
    p = np.empty((1, len(SAMPLES)), VIEW)
    draw_many(recipe.record, 0, 1, SAMPLES, 0, height, width, p)
    return p[0]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("how", ["bilinear", "bicubic"])
@pytest.mark.parametrize(("height", "width", "size"), [(40, 60, 40), (40, 60, 16), (30, 24, 48)])
def test_crop_resize_and_flip(height: int, width: int, size: int, how: Any, device: str) -> None:
    recipe = Recipe(size=size, jitter=0, grayscale=0, blur=0, crop_interpolation=how)
    p = drawn(recipe, height, width)
    assert errors(recipe, p, pixels(height, width), device).max() < TOLERANCE


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("name", [*JITTER, "gray", "sigma"])
def test_one_operation(name: str, device: str) -> None:
    """Its own number is drawn, those of the others leave the image as it is."""
    recipe = Recipe(size=32, crop_scale=(1, 1), crop_ratio=(1, 1), flip=0)
    whole = drawn(recipe, 32, 32)
    p = whole.copy()
    for other, nothing in zip((*JITTER, "gray", "sigma"), (1, 1, 1, 0, 0, 0), strict=True):
        p[other] = nothing
    p[name], p["jitter"], p["order"] = whole[name], True, range(4)
    assert errors(recipe, p, pixels(32, 32), device).max() < TOLERANCE
    unchanged = whole.copy()
    unchanged["jitter"], unchanged["gray"], unchanged["sigma"] = False, False, 0
    images = torch.from_numpy(pixels(32, 32))
    assert not torch.equal(render(images, p, recipe), render(images, unchanged, recipe))


@pytest.mark.parametrize("device", DEVICES)
def test_a_whole_recipe(device: str) -> None:
    recipe = Recipe(size=64, solarize=0.3)
    p = drawn(recipe, 120, 90)
    found = errors(recipe, p, pixels(120, 90), device)
    # Where a pixel stands at one half itself, rounding decides whether it is inverted.
    assert found.max() <= 0.5 / 255
    assert np.median(found) <= TOLERANCE
    assert {len(np.unique(p[name])) for name in ("jitter", "gray", "solarize")} == {2}


def test_batches_are_those_of_the_memory_loader() -> None:
    recipes = [Recipe(size=16, views=1), Recipe(size=16, views=1, blur=1.0), Recipe(size=8)]
    images = in_memory()
    ours, kernels = (
        make(images, recipes, Sampler(len(images), 4, 5), last)
        for make, last in ((DeviceLoader, torch.device("cpu")), (MemoryLoader, 1))
    )
    for loader in (ours, kernels):
        loader.sampler.set_epoch(3)
    for a, b in zip(ours, kernels, strict=True):
        assert [x.shape for x in a.views] == [(2, 4, 3, 16, 16), (2, 4, 3, 8, 8)]
        assert torch.equal(a.index, b.index)
        assert torch.equal(a.labels, b.labels)
        for x, y in zip(a.views, b.views, strict=True):
            torch.testing.assert_close(x, y, rtol=1e-4, atol=1e-4)


def test_views_of_one_size_may_be_resized_otherwise() -> None:
    recipes = [Recipe(size=16, views=2), Recipe(size=16, views=1, crop_interpolation="bicubic")]
    for each in (recipes, recipes[::-1]):
        kernels = MemoryLoader(in_memory(), each, Sampler(12, 4, 5), 1)
        assert_same([*on("cpu", each)], [*kernels])


# Two sizes; a view that shares its crop, and views that share their color, with the first.
SHARING = [
    Recipe(size=16, views=1),
    Recipe(size=16, views=1, blur=1.0, solarize=0.5, shared=("crop", "flip")),
    Recipe(size=8, views=2, jitter_order="fixed"),
    Recipe(size=8, views=1, shared=("color",)),
]


def on(device: str, recipes: Sequence[Recipe] = SHARING, batch_size: int = 4) -> DeviceLoader:
    images = in_memory()
    return DeviceLoader(images, recipes, Sampler(len(images), batch_size, 5), torch.device(device))


def assert_same(ours: Sequence[Batch], kernels: Sequence[Batch]) -> None:
    for a, b in zip(ours, kernels, strict=True):
        assert a.index.tolist() == b.index.tolist()
        assert a.labels.tolist() == b.labels.tolist()
        for x, y in zip(a.views, b.views, strict=True):
            torch.testing.assert_close(x.cpu(), y, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("taken", [0, 1, 2])
def test_a_resumed_run_of_several_sizes_and_shared_groups(taken: int, device: str) -> None:
    images = in_memory()
    kernels = list(MemoryLoader(images, SHARING, Sampler(len(images), 4, 5), 1))
    loader, resumed = on(device), on(device)
    batches = iter(loader)
    first = [next(batches) for _ in range(taken)]
    state = loader.state_dict()  # another batch is being made meanwhile, and is not counted
    assert state == {"given": taken}
    resumed.load_state_dict(state)
    assert_same([*first, *resumed], kernels)
    assert_same([*first, *batches], kernels)


def test_pieces_of_a_batch_are_the_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = list(on("cpu"))
    monkeypatch.setattr(device_module, "PIECE", 1)
    for a, b in zip(on("cpu"), whole, strict=True):
        assert all(
            torch.equal(x, y) and x.is_contiguous() for x, y in zip(a.views, b.views, strict=True)
        )


class Operations(TorchDispatchMode):
    """What is run: operations that compute, by name, and copies from another device."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []
        self.copies = 0

    def __torch_dispatch__(
        self,
        func: OpOverload,
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        returns = func._schema.returns
        views = any(r.alias_info is not None and not r.alias_info.is_write for r in returns)
        if not views and not any(free in str(func) for free in ("empty", "_unsafe_view")):
            self.names.append(str(func))
        sources = [x for x in (*args, *(kwargs or {}).values()) if isinstance(x, torch.Tensor)]
        if isinstance(out, torch.Tensor):
            self.copies += any(x.device != out.device for x in sources)
        return out


# Found: 90, 96, 107 and 204 (of two sizes). One operation a sample and place, as it was before: of
# the bilinear ones 604, 818 and 2130, with 69, 73 and 215 copies.
@pytest.mark.parametrize(
    ("recipes", "bound"),
    [
        ([preset("cifar10")], 95),
        ([Recipe(size=224)], 100),
        ([Recipe(size=224, crop_interpolation="bicubic")], 110),
        ([*full_size("imagenet", "byol", 2), Recipe(size=96, views=4)], 210),
    ],
    ids=["cifar", "imagenet", "bicubic", "two sizes"],
)
def test_a_batch_is_few_operations_and_one_copy(recipes: list[Recipe], bound: int) -> None:
    """On a device without numbers: what looks at one there is an error."""
    loader = on("meta", recipes, batch_size=12)
    index = np.arange(12)
    drawn = loader.draw(index, 0)
    loader.render(index, drawn)  # constants and pixels go there once
    with Operations() as found:
        batch = loader.render(index, drawn)
    assert {x.device.type for x in (*batch.views, batch.labels, batch.index)} == {"meta"}
    assert found.copies == 1
    assert len(found.names) <= bound
    waits = ("_local_scalar_dense", "nonzero", "unique", "index.Tensor", "masked_select")
    assert not [name for name in found.names if any(w in name for w in waits)]


def test_what_no_sample_has_is_not_run() -> None:
    recipe = Recipe(size=16, jitter=0, grayscale=0, blur=0)
    loader, index = on("meta", [recipe], batch_size=12), np.arange(12)
    loader.render(index, loader.draw(index, 0))
    with Operations() as found:
        loader.render(index, loader.draw(index, 0))
    assert len(found.names) <= 25


@pytest.fixture
def rounded() -> Iterator[None]:
    """A user who lets matrix products round to TF32."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")
    yield
    torch.set_float32_matmul_precision(before)


@pytest.mark.usefixtures("rounded")
@pytest.mark.parametrize("device", DEVICES)
def test_crops_are_exact_under_tf32(device: str) -> None:
    recipe = Recipe(size=64, jitter=0, grayscale=0, blur=0)
    p = drawn(recipe, 120, 90)
    assert errors(recipe, p, pixels(120, 90), device).max() < TOLERANCE


@pytest.mark.usefixtures("rounded")
def test_a_product_of_rounded_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    """TF32 keeps ten bits: rounding here what a GPU rounds there costs next to nothing."""
    generator = torch.Generator().manual_seed(0)
    a, b = torch.randn(2, 2, 50, 50, generator=generator)
    exact = a.double() @ b.double()
    matmul: Callable[[torch.Tensor, torch.Tensor], torch.Tensor] = torch.Tensor.__matmul__
    monkeypatch.setattr(torch.Tensor, "__matmul__", lambda x, y: matmul(halves(x)[0], halves(y)[0]))
    assert ((a @ b) - exact).abs().max() > 1e-3
    assert (product(a, b) - exact).abs().max() < 3e-5


@pytest.mark.filterwarnings("ignore:Synchronization debug mode is a prototype")
@pytest.mark.gpu
def test_nothing_waits_for_the_device() -> None:
    loader = on("cuda")
    index = np.arange(12)
    drawn = loader.draw(index, 0)
    with torch.cuda.stream(loader.stream):
        loader.render(index, drawn)
        try:
            torch.cuda.set_sync_debug_mode("error")
            loader.render(index, drawn)
        finally:
            torch.cuda.set_sync_debug_mode("default")


@pytest.mark.gpu
def test_a_busy_device_gets_the_same_batches() -> None:
    """Steps that are launched long before they run: no memory is given away too early."""
    images = in_memory()
    kernels = list(MemoryLoader(images, SHARING, Sampler(len(images), 1, 5), 1))
    loader = on("cuda", batch_size=1)
    load, seen = torch.randn(4096, 4096, device="cuda"), []
    for batch in loader:
        for _ in range(20):
            load = (load @ load).clamp_(-1, 1)
        seen.append(Batch([x.clone() for x in batch.views], batch.labels, batch.index))
        del batch
    assert_same(seen, kernels)
