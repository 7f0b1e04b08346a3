"""Normalization: BatchNorm over the samples of all processes, and GroupNorm in its place."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from pytorch_lightning.plugins.layer_sync import LayerSync
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.modules.batchnorm import _BatchNorm

from cl.distributed import all_reduce_sum, world_size


class Normalize(torch.autograd.Function):
    """BatchNorm with given statistics, which depend on `x` of every process."""

    @staticmethod
    def forward(
        x: Tensor,
        weight: Tensor | None,
        bias: Tensor | None,
        mean: Tensor,
        variance: Tensor,
        eps: float,
        n: Tensor,
    ) -> Tensor:
        return F.batch_norm(x, mean, variance, weight, bias, eps=eps)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        x, weight, _, mean, variance, ctx.eps, ctx.n = inputs
        ctx.save_for_backward(x, weight, mean, variance)

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, *grad_outputs: Any
    ) -> tuple[Tensor | None, ...]:
        gradient = grad_outputs[0]
        x, weight, mean, variance = ctx.saved_tensors
        inverse = torch.rsqrt(variance + ctx.eps)
        # Gradient with the statistics held fixed; the terms through them are added below.
        dx, of_weight, of_bias = torch.ops.aten.native_batch_norm_backward(
            *(gradient, x, weight, mean, variance),
            *(mean, inverse, False, ctx.eps, [True, True, True]),  # CUDA asks for them, unused
        )
        mean_g, mean_gx = (all_reduce_sum(torch.stack([of_bias, of_weight])) / ctx.n).to(mean.dtype)
        scale = inverse if weight is None else inverse * weight
        slope = scale * inverse * mean_gx
        dx = torch.addcmul(dx, x, channels(-slope, x))
        dx -= channels(scale * mean_g - slope * mean, x)
        of_weights = (None, None) if weight is None else (of_weight, of_bias)
        return dx.to(x.dtype), *of_weights, None, None, None, None


def channels(value: Float[Tensor, " c"], like: Tensor) -> Tensor:
    """One value per channel, reshaped to broadcast against `(n c ...)`."""
    return value.view(-1, *(1 for _ in like.shape[2:]))


class Synced(_BatchNorm):
    """BatchNorm whose training statistics are those of the samples of all processes.

    Processes may have different numbers of samples. Torch's SyncBatchNorm computes the same, but
    refuses tensors on a CPU.
    """

    def forward(self, input: Float[Tensor, "n c *size"]) -> Float[Tensor, "n c *size"]:
        x = input  # torch's name
        if not self.training or world_size() == 1:
            return super().forward(x)
        self._check_input_dim(x)
        mean, variance, n = moments(x)
        if self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
            assert self.running_mean is not None
            assert self.running_var is not None
            newest = self.momentum
            newest = 1 / float(self.num_batches_tracked) if newest is None else newest
            self.running_mean.lerp_(mean.to(self.running_mean.dtype), newest)
            unbiased = variance * (n / (n - 1).clamp(min=1))
            self.running_var.lerp_(unbiased.to(self.running_var.dtype), newest)
        dtype = torch.promote_types(x.dtype, torch.float32)
        y = Normalize.apply(
            x, self.weight, self.bias, mean.to(dtype), variance.to(dtype), self.eps, n
        )
        assert isinstance(y, Tensor)
        for activation in activations(self):
            y = activation(y)
        return y


@torch.no_grad()
def moments(x: Float[Tensor, "n c *size"]) -> tuple[Tensor, Tensor, Tensor]:
    """Mean, biased variance and number of values of each channel over all processes, `(c)` each."""
    x = x.to(torch.promote_types(x.dtype, torch.float32))
    mean, variance = torch.ops.aten.batch_norm_update_stats(x, None, None, 0.0)
    mean, variance = mean.double(), variance.double()
    n = torch.full_like(mean, x.numel() // x.shape[1])
    # In float64 the difference of squares below loses less than the precision of float32.
    n, sum_, squares = all_reduce_sum(torch.stack([n, n * mean, n * (variance + mean.square())]))
    mean = sum_ / n
    return mean, (squares / n - mean.square()).clamp(min=0), n


class Synced1d(Synced, nn.BatchNorm1d): ...


class Synced2d(Synced, nn.BatchNorm2d): ...


def activations(norm: nn.Module) -> list[nn.Module]:
    """What timm's BatchNorm-with-activation computes behind the normalization; else nothing."""
    found = (getattr(norm, name, None) for name in ("drop", "act"))
    return [module for module in found if module is not None]


@cache
def synced_kinds() -> dict[type[nn.Module], type[Synced]]:
    """The class that takes each BatchNorm's place; timm is loaded here, and only for this."""
    from timm.layers.norm_act import BatchNormAct2d

    class SyncedAct2d(Synced, BatchNormAct2d): ...

    plain = {nn.BatchNorm1d: Synced1d, nn.BatchNorm2d: Synced2d}
    return {**plain, BatchNormAct2d: SyncedAct2d}


class SyncEverywhere(LayerSync):
    """A Trainer's plugin: BatchNorm over all processes, by torch on GPUs, by `Synced` on CPUs.

    Lightning's own converter drops the activation of timm's BatchNorm-with-activation
    (EfficientNet and its kin); this one keeps it.

    Args:
        gpu: whether the model will be on GPUs; it is converted before it is moved there.
    """

    def __init__(self, gpu: bool = False) -> None:
        self.gpu = gpu

    def apply(self, model: nn.Module) -> nn.Module:
        if self.gpu:
            from timm.layers.norm_act import convert_sync_batchnorm

            return convert_sync_batchnorm(model)
        kinds = synced_kinds()
        for module in model.modules():
            if type(module) in kinds:
                module.__class__ = kinds[type(module)]
        return model

    def revert(self, model: nn.Module) -> nn.Module:
        """Do nothing: on one process both compute what BatchNorm does."""
        return model


@contextmanager
def frozen_stats(model: nn.Module) -> Iterator[None]:
    """Freeze the running statistics of BatchNorm, which goes on normalizing by the batch."""
    momenta = [(m, m.momentum) for m in model.modules() if isinstance(m, _BatchNorm)]
    for module, _ in momenta:
        module.momentum = 0.0
    try:
        yield
    finally:
        for module, momentum in momenta:
            module.momentum = momentum


def group_norm(model: nn.Module) -> None:
    """Replace every BatchNorm by GroupNorm (Wu and He 2018, https://arxiv.org/abs/1803.08494).

    A sample's features then depend on no other sample. There are 32 groups, or the greatest
    common divisor of 32 and the channels. Scales and shifts are kept.
    """
    for name, child in list(model.named_children()):
        if not isinstance(child, nn.BatchNorm2d):
            group_norm(child)
            continue
        c = child.num_features
        norm = nn.GroupNorm(math.gcd(32, c), c, child.eps).to(child.weight)
        norm.load_state_dict({"weight": child.weight, "bias": child.bias})
        after = activations(child)
        setattr(model, name, nn.Sequential(norm, *after) if after else norm)
