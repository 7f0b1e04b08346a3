"""Options of what is trained: method, loss and the encoder's weights."""

from dataclasses import dataclass
from typing import Literal

from cl import schedules
from cl.config.options._needs import OF_IMAGES, ONE_ENCODER, TRANSFORMER, WITH_IMAGES, WITH_TEXTS
from cl.config.own import FORM
from cl.config.schema import flag
from cl.config.signature import pairwise
from cl.config.thing import names as names_of


@dataclass(frozen=True, kw_only=True)
class MethodOptions:
    """What is trained."""

    method: str = flag(
        "method that is trained; its own options: --help method NAME",
        "simclr",
        choices=lambda: names_of("method"),
        open=(FORM,),
        noun="method",
        common=True,
    )
    loss: str = flag(
        "loss of a method that takes any pairwise loss; its own options: --help loss NAME",
        "nt_xent",
        choices=pairwise,
        open=(FORM,),
        noun="loss",
        common=True,
    )
    schedule: tuple[str, ...] = flag(
        "numbers of the method or of its loss that change while training, from their values to "
        "END, e.g. temperature=cosine:0.5; SHAPE is " + " or ".join(schedules.shapes()) + ", "
        "STEPS by default the whole run",
        (),
        metavar=schedules.FORM,
        shown="none does",
    )
    zero_init_residual: bool = flag(
        "let each residual block start as the identity", False, needs=WITH_IMAGES
    )
    norm: Literal["batch", "group"] = flag(
        "normalization in the encoder: its own (batch norm in most), or group norm in place of "
        "batch norm, so that a sample's features depend on that sample alone",
        "batch",
        needs=WITH_IMAGES,
    )
    stem: Literal["small", "full"] | None = flag(
        "first layers of a ResNet, patches of a ViT: small for small images, full as published",
        None,
        needs=WITH_IMAGES,
        shown="small up to 64 px",
    )
    init_from: str | None = flag(
        "the encoder starts from the weights of this run or file, or from timm's own (timm)",
        None,
        metavar="RUN|FILE|timm",
        needs=ONE_ENCODER,
        shown="random weights",
    )
    pretrained: bool | None = flag(
        "start from the weights in the encoder's folder; --no-pretrained re-initializes them",
        None,
        needs=TRANSFORMER,
        shown="hf: and package: do, minilm does not",
    )
    lora_rank: int | None = flag(
        "each weight of the encoder learns only a change of this rank (LoRA, "
        "https://arxiv.org/abs/2106.09685)",
        None,
        low=1,
        needs=WITH_TEXTS,
        shown="all of a weight learns",
    )
    lora_alpha: float | None = flag(
        "the changes of --lora_rank are multiplied by this over the rank",
        None,
        above=0,
        needs=("lora_rank", None),
        shown="the rank: they are taken as they are",
    )
    merge_lora: bool = flag(
        "merge the changes of --lora_rank into the encoder that is saved; else both stand in it",
        True,
        needs=("lora_rank", None),
    )
    layer_decay: float | None = flag(
        "learning rate of a layer of the encoder over that of the layer above it, of weights that "
        "are trained further (https://arxiv.org/abs/2003.10555)",
        None,
        above=0,
        high=1,
        needs=ONE_ENCODER,
        shown="all layers have the same",
    )
    classifier_lr: float | None = flag(
        "learning rate of the online probe, not scaled",
        None,
        above=0,
        shown="0.3, with adam and adamw 0.003",
        needs=OF_IMAGES,
    )
    bias_lr: float | None = flag(
        "learning rate of biases and norms, scaled as --lr is", None, above=0, shown="that of --lr"
    )
    learned_lr: float | None = flag(
        "learning rate of the loss's learnable scalars, not scaled",
        None,
        above=0,
        shown="the encoder's, with sgd and lars 0.001",
    )
