"""Supervised training from random weights: the baseline that pretraining must beat."""

from torch import nn

from cl.data.module import ContrastiveData
from cl.eval import _classifier
from cl.eval._result import EvalResult
from cl.eval._training import Training


def supervised(
    untrained: nn.Module,
    data: ContrastiveData,
    classes: int,
    *,
    training: Training,
    channels_last: bool = True,
) -> EvalResult:
    """The encoder learns from augmented images, from random weights.

    Args:
        untrained: `(n c h w)` images to `(n d)` features; trained in place.
        data: crops of the training images, plain test images.
        classes: how many there are.
        training: optimizer, schedule, batch size and epochs.
        channels_last: the layout in memory.

    Returns:
        Top-k accuracies after the last epoch, see `score`, and the encoder.
    """
    return _classifier.learn(untrained, data, classes, training, channels_last=channels_last)
