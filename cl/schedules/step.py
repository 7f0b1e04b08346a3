"""Steps down at given epochs (He et al. 2016, https://arxiv.org/abs/1512.03385, section 4.2)."""


def step(epoch: int, *, lr_decay_epochs: tuple[int, ...] = (), lr_decay_rate: float = 0.1) -> float:
    """1, multiplied by `lr_decay_rate` at each of `lr_decay_epochs`."""
    return lr_decay_rate ** sum(epoch >= e for e in lr_decay_epochs)
