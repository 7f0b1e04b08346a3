"""Learning rates and the warm-up where they are not given; the same from Python as on a line."""


def of_probe(optimizer: str) -> float:
    """The online probe's learning rate, which is not scaled."""
    return 3e-3 if optimizer in ("adam", "adamw") else 0.3


def of_scalars(optimizer: str) -> float | None:
    """That of a loss's learnable scalars, not scaled; None: the encoder's.

    Only rates that adapt make of the encoder's a size for scalars.
    """
    return 1e-3 if optimizer in ("sgd", "lars") else None


def warmup_epochs(epochs: float) -> float:
    """How long a run of so many epochs warms up.

    >>> warmup_epochs(100), warmup_epochs(4)
    (10.0, 0.4)
    """
    return 10.0 if epochs > 10 else epochs / 10


def warmup_start(lr: float) -> float:
    """The learning rate of the first step of a warm-up to `lr`.

    >>> warmup_start(0.3), warmup_start(1e-3)
    (0.003, 0.0001)
    """
    return min(0.003, lr / 10)
