"""Steps down at given epochs (He et al. 2016, https://arxiv.org/abs/1512.03385, section 4.2)."""


def step(
    epochs_done: float, *, lr_decay_epochs: tuple[float, ...] = (), lr_decay_rate: float = 0.1
) -> float:
    """1, multiplied by `lr_decay_rate` at each of `lr_decay_epochs`."""
    return lr_decay_rate ** sum(epochs_done >= e for e in lr_decay_epochs)
