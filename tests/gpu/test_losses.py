"""Every loss on the card against itself in float64 on the CPU, and what it takes of memory."""

import os
from collections.abc import Iterator
from itertools import product

import pytest
import torch
from torch import Tensor

from cl.losses.nt_xent import nt_xent
from tests.distributed.exactness import Problem, losses
from tests.gpu.conftest import GPU, ROWS, apart

pytestmark = GPU
CASES = dict(losses())
DIM = 128  # of embeddings, SimCLR's
# Of value and gradients, relative. On a CPU float32 reaches 2e-6, and TF32 would be off by 1e-4. A
# gradient in bfloat16 is rounded by 2^-9, once for each part that an embedding has in the loss.
BOUNDS = {torch.float32: 1e-5, torch.bfloat16: 2**-7}


@pytest.fixture(autouse=True, scope="module")
def _more_threads() -> Iterator[None]:
    """Half of the machine for the side in float64, which takes most of the time."""
    before = torch.get_num_threads()
    torch.set_num_threads(max(before, (os.cpu_count() or 1) // 2))
    yield
    torch.set_num_threads(before)


class Given(Problem):
    """Embeddings as they are, of five classes.

    A temperature on the CPU is known to the losses, as a number is; one on a card is not looked at.
    """

    def __init__(self, z: Tensor, where: torch.device) -> None:
        self.z, self.own = z.requires_grad_(), slice(None)
        self.ids = torch.arange(z.shape[1], device=z.device) % 5
        # A quarter is the same number in every precision.
        dtype = torch.promote_types(z.dtype, torch.float32)  # as parameters are under autocast
        self.temperature = torch.tensor(0.25, device=where, dtype=dtype)
        g = torch.Generator().manual_seed(1)
        self.weight = torch.randn(12, z.shape[2], generator=g).bfloat16()  # a queue, directions
        self.parameters = [self.z]


def embeddings(rows: int) -> Tensor:
    """Three views, of which two are so many rows; numbers that bfloat16 has, too."""
    g = torch.Generator().manual_seed(0)
    sample = torch.randn(rows // 2, DIM, generator=g)
    # Deviations below 1, where VICReg's hinge has a gradient.
    return (0.8 * sample + 0.4 * torch.randn(3, rows // 2, DIM, generator=g)).bfloat16()


def found(name: str, z: Tensor, where: torch.device) -> list[Tensor]:
    """A loss and its gradients, as it is called while training in that precision."""
    problem = Given(z, where)
    half = z.dtype == torch.bfloat16
    with torch.autocast(z.device.type, dtype=torch.bfloat16, enabled=half):
        value = CASES[name](problem)
    return [value.detach(), *torch.autograd.grad(value, problem.parameters)]


@pytest.mark.parametrize("rows", ROWS)
@pytest.mark.parametrize("name", CASES)
def test_value_and_gradients(name: str, rows: int, device: torch.device) -> None:
    """In float32 and under bfloat16's autocast, both of the very same embeddings."""
    z, cpu = embeddings(rows), torch.device("cpu")
    right = found(name, z.double(), cpu)
    for (dtype, bound), where in product(BOUNDS.items(), (device, cpu)):
        ours = found(name, z.to(device, dtype, copy=True), where)
        assert {t.device for t in ours[:2]} == {device}  # the value and the slope of z
        errors = [apart(a, b) for a, b in zip(ours, right, strict=True)]
        assert max(errors) <= bound, (dtype, where, errors)


def test_autocast_gives_the_loss_its_embeddings(device: torch.device) -> None:
    """A layer under autocast puts out bfloat16, and its float32 weight gets the gradient."""
    torch.manual_seed(0)
    layer = torch.nn.Linear(DIM, DIM, bias=False).to(device)
    x = embeddings(ROWS[0])[:2].float().to(device)
    with torch.autocast(device.type, dtype=torch.bfloat16):
        z = layer(x)
        value = nt_xent(z)
    assert (z.dtype, value.dtype) == (torch.bfloat16, torch.float32)
    (gradient,) = torch.autograd.grad(value, layer.weight)
    exact = z.detach().double().cpu().requires_grad_()
    expected = nt_xent(exact)
    (slope,) = torch.autograd.grad(expected, exact)
    assert apart(value.detach(), expected.detach()) <= BOUNDS[torch.float32]
    right = slope.flatten(0, 1).T @ x.double().cpu().flatten(0, 1)
    assert apart(gradient, right) <= BOUNDS[torch.bfloat16]


def test_memory_is_blocks_and_not_the_square(card: torch.device) -> None:
    """32,768 rows have 4 GiB of similarities; forward and backward take an eighth at most."""
    rows = 32_768
    z = torch.randn(2, rows // 2, DIM, device=card, requires_grad=True)
    nt_xent(z[:, :64]).backward()  # cuBLAS takes its own memory at its first product
    torch.cuda.reset_peak_memory_stats(card)
    before = torch.cuda.memory_allocated(card)
    value = nt_xent(z)
    value.backward()
    assert value.isfinite()
    assert torch.cuda.max_memory_allocated(card) - before <= 4 * rows**2 / 8
