"""MoCo (He et al. 2020, https://arxiv.org/abs/1911.05722): a queue of a teacher's embeddings."""

from collections.abc import Callable, Mapping
from typing import Any, Literal

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor, nn

from cl.bounds import Count, Share
from cl.distributed import gather
from cl.losses._views import view_target_pairs
from cl.losses.moco import moco
from cl.methods._teacher import TeacherMethod
from cl.nets.heads import mlp, view_by_view
from cl.schedules import Schedule


class MoCo(TeacherMethod):
    """Find the teacher's embedding of another view among those of earlier batches (MoCo v2).

    Both views are queries, as in the symmetric form of the authors' CIFAR demo. They shuffle
    samples between devices since each device's BatchNorm would tell which samples a key was with;
    here statistics are those of the whole batch (`--sync_batchnorm`), so nothing is shuffled.

    Args:
        encoder: see `Method`.
        loss: of queries, keys and the queue.
        queue_size: number of earlier embeddings that are negatives (65536 in the paper)
        hidden_mlp: width of the projector's hidden layer (2048 in MoCo v2)
        encoding_size: dimensions of the embedding (128 in the paper)
        ema_beta: the part of the teacher that a step keeps (0.999 in the paper)
        features: whose features are probed, saved and evaluated: the target's (the teacher's) or
            the online encoder's (the paper's)
        schedules: see `Method`.
        base: what `TeacherMethod` takes.
    """

    def __init__(
        self,
        encoder: nn.Module,
        loss: Callable[..., Tensor] = moco,
        *,
        queue_size: Count = 4096,
        hidden_mlp: Count = 2048,
        encoding_size: Count = 128,
        ema_beta: Share = 0.999,
        features: Literal["target", "online"] = "online",
        schedules: Mapping[str, Schedule] | None = None,
        **base: Any,
    ) -> None:
        constant = {"ema_beta": Schedule(start=ema_beta)}
        own = {"hidden_mlp": hidden_mlp, "encoding_size": encoding_size, "features": features}
        super().__init__(encoder, loss, schedules=constant | dict(schedules or {}), **own, **base)
        self.register_buffer("queue", F.normalize(torch.randn(queue_size, encoding_size), dim=1))
        self.register_buffer("oldest", torch.zeros((), dtype=torch.long))  # place in the queue
        self.queue: Tensor
        self.oldest: Tensor

    def build_projector(self, hidden_mlp: int, encoding_size: int) -> nn.Module:
        return mlp(self.width, hidden_mlp, encoding_size, norm=False)

    def objective(self, h: Float[Tensor, "v n d"], labels: Int[Tensor, " n"]) -> Float[Tensor, ""]:
        assert self.targets is not None
        z, keys = view_by_view(self.projector, h), self.targets[1]
        pairs = view_target_pairs(len(z), len(keys))
        return torch.stack([self.loss(z[v], keys[w], self.queue) for v, w in pairs]).mean()

    def after_step(self, step: int) -> None:
        super().after_step(step)
        assert self.targets is not None
        keys = F.normalize(rearrange(gather(self.targets[1])[0], "g n d -> (g n) d"), dim=1)
        keys = keys[-len(self.queue) :]
        places = (self.oldest + torch.arange(len(keys), device=keys.device)) % len(self.queue)
        self.queue.index_copy_(0, places, keys.to(self.queue.dtype))
        self.oldest.add_(len(keys)).remainder_(len(self.queue))
