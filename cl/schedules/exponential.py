"""An exponential of the epoch."""


def exponential(epoch: int, *, lr_decay_rate: float = 0.95) -> float:
    """1, multiplied by `lr_decay_rate` in each epoch."""
    return lr_decay_rate**epoch
