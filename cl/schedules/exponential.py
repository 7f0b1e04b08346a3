"""An exponential of the epochs since the warm-up."""


def exponential(epochs_after_warmup: int, *, lr_decay_rate: float = 0.95) -> float:
    """1, multiplied by `lr_decay_rate` after each epoch behind the warm-up."""
    return lr_decay_rate**epochs_after_warmup
