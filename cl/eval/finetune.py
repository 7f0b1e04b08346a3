"""Fine-tuning: the pretrained encoder learns on, with a linear classifier on top."""

from torch import nn

from cl.bounds import Count, Decay, Positive
from cl.data.module import ContrastiveData
from cl.eval import _classifier
from cl.eval._result import EvalResult
from cl.eval._training import Training

NEEDS = {"lora_alpha": "lora_rank"}


def finetune(
    encoder: nn.Module,
    data: ContrastiveData,
    classes: int,
    *,
    training: Training,
    lora_rank: Count | None = None,
    lora_alpha: Positive | None = None,
    layer_decay: Decay | None = None,
    channels_last: bool = True,
) -> EvalResult:
    """The encoder learns too, from augmented images.

    Args:
        encoder: `(n c h w)` images to `(n d)` features; trained in place.
        data: crops of the training images, plain test images.
        classes: how many there are.
        training: optimizer, schedule, batch size and epochs.
        lora_rank: each weight of the encoder learns only a change of this rank (LoRA,
            https://arxiv.org/abs/2106.09685), which is merged into the encoder that is saved
        lora_alpha: the changes are multiplied by this over the rank, by default by 1
        layer_decay: learning rate of a layer of the encoder over that of the layer above it, 0.65
            to 0.75 in MAE; by default all have the same
        channels_last: the layout in memory.

    Returns:
        Top-k accuracies after the last epoch, see `score`, and the encoder.
    """
    return _classifier.learn(
        encoder,
        data,
        classes,
        training,
        lora_rank=lora_rank,
        lora_alpha=lora_alpha,
        layer_decay=layer_decay,
        channels_last=channels_last,
    )
