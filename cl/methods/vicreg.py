"""VICReg (Bardes et al. 2022, https://arxiv.org/abs/2105.04906): no negatives, no collapse."""

from collections.abc import Callable
from typing import Any, ClassVar

from torch import Tensor, nn

from cl.losses.vicreg import vicreg
from cl.methods.barlow_twins import BarlowTwins


class VICReg(BarlowTwins):
    """Views close, every dimension of the embeddings alive, no two dimensions alike.

    The expander is Barlow Twins' projector, as in the paper (section 4.2). Trained as by the
    authors' code for 1000 epochs, with a warm-up from 0 (facebookresearch/vicreg, commit 08c8c0c;
    for 100 it takes the rate 0.3), whose cosine ends at a thousandth of the rate: `--min_lr`.

    Args:
        encoder: see `Method`.
        loss: of `(2 n d)` embeddings, ids and rows.
        barlow_twins: what `BarlowTwins` takes.
    """

    defaults: ClassVar = {
        "optimizer": "lars",
        "lr": 0.2,
        "weight_decay": 1e-6,
        "warmup_start_lr": 0.0,
    }

    def __init__(
        self,
        encoder: nn.Module,
        loss: Callable[..., Tensor] = vicreg,
        **barlow_twins: Any,
    ) -> None:
        super().__init__(encoder, loss, **barlow_twins)
