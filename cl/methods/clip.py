"""CLIP (Radford et al. 2021, https://arxiv.org/abs/2103.00020): images and their captions.

With `--loss sigmoid` it is SigLIP (Zhai et al. 2023, https://arxiv.org/abs/2303.15343), with
`--lock image` LiT (Zhai et al. 2022, https://arxiv.org/abs/2111.07991).
"""

from typing import Any, ClassVar, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from cl import checkpoints
from cl.bounds import Count, Learn
from cl.data.augment.recipe import Recipe
from cl.distributed import gather
from cl.losses import PairwiseLoss
from cl.losses.clip import clip
from cl.methods._base import EXAMPLE, Method, learnable_scalars
from cl.methods.simclr import class_ids
from cl.nets import texts
from cl.nets.lora import LoRA
from cl.nets.towers import Towers

SAMPLES = "image-text"


class CLIP(Method):
    """Pull an image and its caption together, push the other captions and images of the batch.

    Args:
        encoder: of the images.
        loss: of the embeddings of both sides, and it compares the two; CLIP's is the paper's.
        text_encoder: encoder of the captions; its name is of those that train on texts alone:
            bag_wN, minilm, hf:FOLDER or package:NAME
        encoding_size: width of the space in which both sides are, to which a linear map leads
        lock: encoder that stays as its weights are (LiT)
        image_weights: run or file from whose weights the encoder of images starts
        text_weights: run or file from whose weights the encoder of texts starts
        supervised: pairs of one caption are positives of each other
        learn: scalars of the loss that are learned, from their given values on
        base: what `Method` takes.
    """

    defaults: ClassVar = {"optimizer": "adamw", "lr": 1e-3}

    def __init__(
        self,
        encoder: nn.Module,
        loss: PairwiseLoss = clip,
        *,
        text_encoder: str | nn.Module = "bag_w128",
        encoding_size: Count = 128,
        lock: Literal["image", "text"] | None = None,
        image_weights: str | None = None,
        text_weights: str | None = None,
        supervised: bool = True,
        learn: Learn = "temperature",
        **base: Any,
    ) -> None:
        named = isinstance(text_encoder, str)
        text = texts.encoder_of(text_encoder, flag="--text_encoder") if named else text_encoder
        image = encoder.encoder if isinstance(encoder, LoRA) else encoder
        for tower, weights, flag in (
            (image, image_weights, "--image_weights"),
            (text, text_weights, "--text_weights"),
        ):
            if weights:
                checkpoints.load_weights(tower, checkpoints.encoder_file(weights, flag))
        example = base.get("example")
        example = torch.zeros(EXAMPLE) if example is None else example
        towers = Towers(encoder, text, encoding_size, lock=lock, example=example)
        super().__init__(towers, loss, learnable=learnable_scalars(loss, learn), **base)
        self.projector = nn.Identity()
        self.supervised = supervised

    @classmethod
    def views(cls, recipes: list[Recipe], **_: Any) -> list[Recipe]:
        """One view of an image; the other one is its caption."""
        return [recipes[0].changed({"views": 1})]

    @property
    def towers(self) -> Towers:
        """Both encoders as they are evaluated."""
        towers = super().evaluated
        assert isinstance(towers, Towers)
        return towers

    @property
    def evaluated(self) -> nn.Module:
        """The encoder of images, which serves without that of texts."""
        return self.towers.image

    @property
    def saved(self) -> dict[str, nn.Module]:
        return super().saved | {checkpoints.TOWERS: self.towers}

    def objective(self, h: Float[Tensor, "2 n d"], labels: Int[Tensor, " n"]) -> Float[Tensor, ""]:
        z, rows = gather(h)
        return self.loss(z, class_ids(labels) if self.supervised else None, rows)
