"""Precision of statistics: float32 for whatever comes in lower precision; float64 stays."""

import warnings
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from importlib.util import find_spec
from typing import Any, cast

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from cl.autograd import Function

WIDEST = 4096  # dimensions of a vector that a kernel holds
AUTOCAST = ("cpu", "cuda")  # have it in every build, so that torch need not be asked
LARGE, SMALL = 2.0**55, 2.0**-30  # between them no square of float32 overflows or vanishes


class FeaturesNotFiniteError(ValueError):
    """A feature is NaN or infinite: its training has diverged."""

    def __init__(self) -> None:
        super().__init__("the features are not finite (NaN or infinite), so none is the nearest")


@cache
def has_triton() -> bool:
    """Whether kernels can be compiled, which is tried; it takes Triton, a C compiler and Python.h.

    Triton comes with torch where that is built for CUDA. Without it, or the others, whatever has a
    kernel is computed by operations of torch's.
    """
    if find_spec("triton") is None:
        return False
    from cl import kernels

    try:
        kernels.unit_vectors(torch.ones(1, 1, device="cuda"))
    except Exception as error:  # Triton has several for what its compilers say
        why = str(error).partition("\n")[0]
        warnings.warn(f"the losses are slower without Triton, which cannot compile: {why}")  # noqa: B028
        return False
    return True


def has_kernels(z: Float[Tensor, "... d"]) -> bool:
    """Whether `cl.kernels` takes these vectors."""
    fits = z.is_cuda and z.dtype == torch.float32 and 0 < z.shape[-1] <= WIDEST and z.numel() > 0
    return fits and has_triton() and not torch.compiler.is_compiling()


def precise(z: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """Upcast to float32; float64 stays float64.

    Args:
        z: a tensor of any shape and any floating dtype.

    Returns:
        The same numbers; the tensor itself if it has the precision already.
    """
    return z if z.dtype == torch.float64 else z.float()


def without_autocast(z: Float[Tensor, "..."]) -> AbstractContextManager[Any]:
    """A context in which operations on a tensor's device keep their precision.

    That autocast is on is rare, and leaving it takes the time of several small operations.
    """
    kind = z.device.type
    has_it = kind in AUTOCAST or torch.amp.is_autocast_available(kind)
    is_on = has_it and torch.is_autocast_enabled(kind)
    return torch.autocast(kind, enabled=False) if is_on else nullcontext()


def unit(z: Float[Tensor, "... d"]) -> Float[Tensor, "... d"]:
    """Divide vectors by their length, in float32 at least.

    A vector of zeros has no direction: it stays zero, so that its cosines are 0, and gets no
    gradient. Very long and very short vectors are first scaled by a power of two, which rounds
    nothing.

    Args:
        z: vectors of any length.

    Returns:
        Vectors of length 1, or 0.

    >>> unit(torch.tensor([[3e30, 4e30], [0.0, 0.0]]))
    tensor([[0.6000, 0.8000],
            [0.0000, 0.0000]])
    """
    z = precise(z)
    if torch.compiler.is_compiling() or not z.numel():
        return F.normalize(z * safe_factor(z, dim=-1), dim=-1)
    return cast("tuple[Tensor, Tensor]", Unit.apply(z))[0]


class Unit(Function):
    """`unit` without a factor for each vector, wherever there is a cheaper way.

    On a CPU the lengths are read, on a card a kernel sums float32's in float64. The lengths are an
    output so that the second derivative is right; a row of zeros, which has no gradient, counts as
    infinitely long.
    """

    @staticmethod
    def forward(z: Tensor) -> tuple[Tensor, Tensor]:
        if has_kernels(z):
            from cl import kernels

            return kernels.unit_vectors(z)
        lengths = torch.linalg.vector_norm(z, dim=-1, keepdim=True)
        if z.device.type == "cpu":  # of others reading the lengths would synchronize
            shortest, longest = lengths.aminmax()
            if shortest.item() > SMALL and longest.item() < LARGE:
                return z / lengths, lengths
        factor = safe_factor(z, dim=-1)
        z = z * factor
        lengths = torch.linalg.vector_norm(z, dim=-1, keepdim=True)
        u = z / lengths.where(lengths > 0, 1.0)
        return u, (lengths / factor).where(lengths > 0, torch.inf)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
        ctx.save_for_backward(*output)
        ctx.set_materialize_grads(False)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor | None) -> Tensor | None:
        u, lengths = ctx.saved_tensors
        g, g_lengths = grad_outputs
        dz = None if g is None else Unit.pull(g, u, lengths)
        if g_lengths is None:
            return dz
        return g_lengths * u if dz is None else dz + g_lengths * u

    @staticmethod
    def pull(g: Tensor, u: Tensor, lengths: Tensor) -> Tensor:
        """The gradient with respect to vectors, by that with respect to their directions."""
        if has_kernels(u) and not torch.is_grad_enabled():
            from cl import kernels

            return kernels.unit_gradient(g, u, lengths)
        along = (g * u).sum(dim=-1, keepdim=True)
        return torch.addcmul(g, u, along, value=-1).div_(lengths)

    @staticmethod
    def vmap(info: Any, in_dims: tuple[Any, ...], *inputs: Any) -> tuple[Any, Any]:
        return Unit.apply(inputs[0].movedim(in_dims[0], 0)), (0, 0)


def length(z: Float[Tensor, "... d"]) -> Float[Tensor, "..."]:
    """The Euclidean length of vectors, without overflow; that of zeros has no gradient."""
    factor = safe_factor(z, dim=-1)
    return (z * factor).norm(dim=-1) / factor.squeeze(-1).where(factor.squeeze(-1) > 0, 1.0)


def safe_factor(z: Float[Tensor, "..."], dim: int) -> Float[Tensor, "..."]:
    """The power of two by which no square of a vector's coordinates overflows or vanishes.

    Args:
        z: vectors along an axis.
        dim: that axis, of which one remains.

    Returns:
        1 for all but very long and very short vectors; 0 for those of zeros.
    """
    peak = z.detach().abs().amax(dim=dim, keepdim=True)
    factor = torch.where(peak > LARGE, 2.0**-80, torch.where(peak < SMALL, 2.0**80, 1.0))
    return factor.masked_fill(peak == 0, 0.0).to(z.dtype)
