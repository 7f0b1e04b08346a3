"""BYOL (Grill et al. 2020, https://arxiv.org/abs/2006.07733): predict the teacher's embedding."""

from collections.abc import Callable
from typing import Any, ClassVar, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from cl.bounds import Count, Share
from cl.losses._views import view_target_pairs
from cl.losses.cosine import cosine
from cl.methods._teacher import TeacherMethod
from cl.nets.heads import mlp, view_by_view


class BYOL(TeacherMethod):
    """From one view's embedding predict what the teacher makes of another view; no negatives.

    Its loss is a quarter of the paper's, but for a constant: the mean of -cos over both directions
    in place of the sum of 2 - 2 cos (eq. 2).
    Trained as by the authors' code for 1000 epochs, with a warm-up from 0
    (google-deepmind/deepmind-research, byol; for 300 it takes the rate 0.3 and decays weights by
    1e-6, for 100 0.45).

    Args:
        encoder: see `Method`.
        loss: of predictions and the teacher's embeddings, each `(1 n d)`.
        hidden_mlp: width of the projector's hidden layer (4096 in the paper)
        encoding_size: dimensions of the embedding (256 in the paper)
        pred_hidden_mlp: width of the predictor's hidden layer (4096 in the paper)
        ema_beta: the part of the teacher that a step keeps; rises to 1 by half a cosine (0.996 in
            the paper)
        features: whose features are probed, saved and evaluated: the target's (the teacher's) or
            the online encoder's (the paper's)
        base: what `TeacherMethod` takes.
    """

    defaults: ClassVar = {
        "optimizer": "lars",
        "lr": 0.2,
        "weight_decay": 1.5e-6,
        "warmup_start_lr": 0.0,
    }

    def __init__(
        self,
        encoder: nn.Module,
        loss: Callable[..., Tensor] = cosine,
        *,
        hidden_mlp: Count = 2048,
        encoding_size: Count = 256,
        pred_hidden_mlp: Count = 2048,
        ema_beta: Share = 0.996,
        features: Literal["target", "online"] = "online",
        **base: Any,
    ) -> None:
        given = {"hidden_mlp": hidden_mlp, "encoding_size": encoding_size, "features": features}
        super().__init__(encoder, loss, ema_beta=ema_beta, **given, **base)
        self.predictor = mlp(encoding_size, pred_hidden_mlp, encoding_size)

    def objective(self, h: Float[Tensor, "v n d"], labels: Int[Tensor, " n"]) -> Float[Tensor, ""]:
        p, targets = view_by_view(self.predictor, view_by_view(self.projector, h)), self.targets[1]
        pairs = view_target_pairs(len(p), len(targets))
        return torch.stack([self.loss(p[v, None], targets[w, None]) for v, w in pairs]).mean()
