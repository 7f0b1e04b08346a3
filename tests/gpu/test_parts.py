"""Views made on the card, gradient caching, batch norm and gathered losses over processes."""

import copy
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from cl.data.augment.recipe import Recipe, full_size, preset
from cl.data.loaders.device import DeviceLoader
from cl.data.loaders.memory import MemoryLoader
from cl.data.loaders.sampler import Sampler
from cl.distributed import Gather, sizes_of
from cl.losses.nt_xent import nt_xent
from cl.nets import gradient_cache, norm
from cl.nets.encoders import create
from tests.data.made import in_memory
from tests.data.test_device import TOLERANCE
from tests.distributed.exactness import BOUNDS, Found, error
from tests.end_to_end.test_devices import REPOSITORY, same_run
from tests.gpu import processes
from tests.gpu.conftest import GPU, apart
from tests.nets.test_gradient_cache import encoded

pytestmark = GPU
SMALL = {"size": 40, "crop_scale": (0.05, 0.14)}  # SwAV's small crops
RECIPES: dict[str, tuple[int, list[Recipe]]] = {  # the side of the images, and their views
    "digits": (16, full_size("digits", None, 2)),
    "cifar10": (32, full_size("cifar10", None, 2)),
    "stl10": (96, full_size("stl10", None, 2)),
    "stl10, multicrop": (96, [preset("stl10"), preset("stl10").changed({**SMALL, "views": 4})]),
    "simsiam": (32, full_size("cifar10", "simsiam", 3)),
    "byol, solarized": (96, full_size("stl10", "byol", 2)),
    "shared crops": (32, [Recipe(size=32), Recipe(size=32, views=1, shared=("crop", "flip"))]),
    "smaller than the images": (96, [Recipe(size=32, jitter_order="fixed")]),
}


@pytest.mark.parametrize("name", RECIPES)
def test_views_are_the_kernels(name: str, device: torch.device) -> None:
    """Batch by batch what the loader of a CPU gives, but for the rounding."""
    side, recipes = RECIPES[name]
    images = in_memory(24, side)
    ours, kernels = (
        make(images, recipes, Sampler(len(images), 12, 5), last)
        for make, last in ((DeviceLoader, device), (MemoryLoader, 2))
    )
    for a, b in zip(ours, kernels, strict=True):
        assert a.index.tolist() == b.index.tolist()
        assert a.labels.tolist() == b.labels.tolist()
        for x, y in zip(a.views, b.views, strict=True):
            assert x.device == device
            assert x.shape == y.shape
            each = (x.cpu() - y).abs().mean(dim=(2, 3, 4)).numpy() * np.mean(recipes[0].std)
            # Where a pixel stands at one half itself, rounding decides whether it is inverted.
            solarized = any(recipe.solarize for recipe in recipes)
            assert each.max() <= (0.5 / 255 if solarized else TOLERANCE)
            assert np.median(each) <= TOLERANCE


@pytest.mark.usefixtures("float32")
@pytest.mark.parametrize(("half", "bound"), [(False, 1e-3), (True, 2**-4)])
@pytest.mark.parametrize("name", ["resnet6_w8", "resnet10t"])
def test_chunks_have_the_gradient_of_the_whole(
    name: str, half: bool, bound: float, device: torch.device
) -> None:
    """But for the rounding: for other sizes cuDNN may take other algorithms."""
    torch.manual_seed(0)
    encoder = create(name, 16, norm="group").to(device)
    x = torch.randn(2, 12, 3, 16, 16).to(device)
    found = []
    for size in (12, 5):
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=half):
            h = gradient_cache.embed_in_chunks(encoded(encoder), x, size, encoder)
        slopes = torch.autograd.grad(nt_xent(h), [*encoder.parameters()])
        found.append(torch.cat([g.flatten() for g in slopes]))
    assert apart(found[1], found[0]) <= bound


@pytest.mark.parametrize("kind", norm.synced_kinds())
def test_synced_is_batch_norm(
    kind: type[nn.Module], device: torch.device, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By its own formulas, as in one of many processes."""
    torch.manual_seed(0)
    theirs = kind(3).double().train().to(device)
    ours = norm.SyncEverywhere().apply(copy.deepcopy(nn.Sequential(theirs)))[0]
    monkeypatch.setattr(norm, "world_size", lambda: 2)  # `total` still knows of one
    x = torch.randn(6, 3, *(() if kind is nn.BatchNorm1d else (5, 5))).double() * 3 + 7
    x = x.to(device).requires_grad_()
    outcomes: list[Sequence[Tensor]] = []
    for layer in (ours, theirs):
        y = layer(x)
        slopes = torch.autograd.grad((y * y.detach().roll(1, 0)).sum(), [x, *layer.parameters()])
        outcomes.append([y, *slopes, *layer.buffers()])
    torch.testing.assert_close(*outcomes, rtol=1e-9, atol=1e-9)


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Found:
    """What two processes on one card found, of which one has a single sample."""
    return processes.computed([23, 1], tmp_path_factory.mktemp("gloo") / "found.pt")


@pytest.mark.parametrize(
    ("of", "bits"),
    [(processes.of_losses, "64"), (processes.of_kernels, "32"), (processes.of_methods, "64")],
)
def test_two_processes_are_one(
    of: processes.Part, bits: str, two: Found, device: torch.device
) -> None:
    """Value, gradient and running statistics of every loss and every method."""
    one = of([24], 0, device)
    errors = {name: max(error(two[name], one[name])) for name in one}
    assert {name: e for name, e in errors.items() if e > BOUNDS[bits]} == {}


def test_one_process_of_nccl(device: torch.device) -> None:
    """What the collectives make of tensors; two processes NCCL refuses on one card."""
    z = torch.arange(6.0, device=device).view(3, 2).requires_grad_()
    with processes.alone("nccl" if device.type == "cuda" else "gloo", device):
        everyone = Gather.apply(z, sizes_of(len(z)))
        assert isinstance(everyone, Tensor)
        (gradient,) = torch.autograd.grad(everyone.square().sum(), z)
    torch.testing.assert_close([everyone, gradient], [z, 2 * z])


def test_a_run_by_ddp(pretrain: Callable[..., Path], digits: list[str], tmp_path: Path) -> None:
    """With NCCL on a card it is the plain run, and says nothing that a user would wonder about."""
    digits[digits.index("--precision") + 1] = "64"
    words = [*digits, *"--data_fraction 256 --max_steps 3 --log_every_n_steps 1".split()]
    one = pretrain(*words, run_id="one")
    words += ["--output", str(tmp_path), "--wandb", "off", "--run_id", "ddp"]
    done = subprocess.run(
        [sys.executable, "-m", "tests.gpu.processes", *words],
        capture_output=True,
        text=True,
        timeout=200,
        cwd=REPOSITORY,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    same_run(one, tmp_path / "ddp")
    assert "warning" not in done.stderr.lower(), done.stderr
