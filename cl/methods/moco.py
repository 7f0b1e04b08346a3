"""MoCo (He et al. 2020, https://arxiv.org/abs/1911.05722): a queue of a teacher's embeddings."""

from collections.abc import Callable
from typing import Any, ClassVar, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from cl.bounds import Count, Share
from cl.distributed import gather
from cl.losses._views import view_target_pairs
from cl.losses.moco import moco
from cl.methods._teacher import TeacherMethod
from cl.nets.heads import mlp, view_by_view
from cl.nets.queue import Queue


class MoCo(TeacherMethod):
    """Every view finds the teacher's embedding of another among earlier batches' (MoCo v2).

    Samples are not shuffled over devices: BatchNorm is over all of them (`--sync_batchnorm`).
    Trained by SGD with the rate 0.03 of the authors' code, without a warm-up.

    Args:
        encoder: see `Method`; `loss` is of queries, keys and the queue.
        queue_size: number of earlier embeddings that are negatives (65536 in the paper)
        encoding_size: dimensions of the embedding (128 in the paper)
        ema_beta: the part of the teacher that a step keeps (0.999 in the paper)
        features: whose features are evaluated: the target's or the online encoder's (the paper's)
        base: what `TeacherMethod` takes.
    """

    defaults: ClassVar = {"lr": 0.03, "scheduler": "cosine"}

    final_ema_beta = None

    def __init__(
        self,
        encoder: nn.Module,
        loss: Callable[..., Tensor] = moco,
        *,
        queue_size: Count = 4096,
        encoding_size: Count = 128,
        ema_beta: Share = 0.999,
        features: Literal["target", "online"] = "online",
        **base: Any,
    ) -> None:
        own = {"encoding_size": encoding_size, "ema_beta": ema_beta, "features": features}
        super().__init__(encoder, loss, **own, **base)
        self.queue = Queue(queue_size, encoding_size)

    def build_projector(self, hidden_mlp: int, encoding_size: int) -> nn.Module:
        return mlp(self.width, hidden_mlp, encoding_size, norm=False)

    def objective(self, h: Float[Tensor, "v n d"], labels: Int[Tensor, " n"]) -> Float[Tensor, ""]:
        z, keys = view_by_view(self.projector, h), self.targets[1]
        pairs, queue = view_target_pairs(len(z), len(keys)), self.queue.embeddings
        return torch.stack([self.loss(z[v], keys[w], queue) for v, w in pairs]).mean()

    def on_fit_start(self) -> None:
        """Refuse a step of several batches, of which the queue would take the last one's keys.

        Raises:
            ValueError: the Trainer accumulates gradients.
        """
        super().on_fit_start()
        if self.trainer.accumulate_grad_batches > 1:
            raise ValueError(
                "MoCo's queue takes one batch a step: in place of accumulate_grad_batches give a "
                "larger batch, which mini_batch_size embeds in parts"
            )

    def after_step(self, step: int) -> None:
        super().after_step(step)
        self.queue.push(gather(self.targets[1])[0].flatten(0, 1))
