"""Layer-wise learning-rate decay: the nearer to the input a layer is, the lower its rate.

ELECTRA is fine-tuned so (Clark et al. 2020, https://arxiv.org/abs/2003.10555), and so are the
transformers of BEiT (https://arxiv.org/abs/2106.08254) and MAE (https://arxiv.org/abs/2111.06377).
Which parameters are of one layer is timm's to say.
"""

from types import SimpleNamespace
from typing import Any

from torch import nn

HEAD = "what is trained on the features"  # no parameter of an encoder is called so


def layers_above(encoder: nn.Module) -> dict[str, int]:
    """How many layers are above that of each parameter of an encoder, by the parameter's name.

    The head that is trained on the features is the last of them, so that an encoder's own last
    layer has one above it; what timm groups with its classifier has none.

    Args:
        encoder: has a method `group_matcher(coarse)`, as timm's have: patterns of the names of a
            layer's parameters, from the input on.

    Raises:
        ValueError: it has none.
    """
    matcher: Any = getattr(encoder, "group_matcher", None)
    if matcher is None:
        raise ValueError(
            f"--layer_decay: {type(encoder).__name__} does not say which parameters are of one "
            "layer; an encoder of yours can have a method group_matcher(coarse), as timm's have"
        )
    from timm.models import group_parameters  # timm takes a second

    named = [*encoder.named_parameters(), (HEAD, None)]
    headed: Any = SimpleNamespace(named_parameters=lambda: iter(named))
    depths: Any = group_parameters(headed, matcher(coarse=False), reverse=True)
    return {name: depths[HEAD] - depths[name] for name, _ in encoder.named_parameters()}


def layer_rates(encoder: nn.Module, lr: float, decay: float) -> tuple[float, float]:
    """The lowest and the highest learning rate of an encoder's layers.

    Args:
        encoder: see `layers_above`.
        lr: of the head.
        decay: a layer's rate over that of the one above it.
    """
    above = layers_above(encoder).values()
    return lr * decay ** max(above), lr * decay ** min(above)
