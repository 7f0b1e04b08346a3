"""Learning rates and their schedule where they are not given; the same from Python as on a line."""

ADAPTIVE = ("adam", "adamw")
DECAYS = 60, 80  # percent of the run, where `step` lowers the rate


def are_scaled(optimizer: str) -> bool:
    """Whether its rates usually grow with the batch, as SGD's do (Goyal et al. 2017, 1706.02677).

    Those of Adam are kept by CLIP, SigLIP and LeJEPA, whose batches have up to 32,768 samples.
    """
    return optimizer not in ADAPTIVE


def usual_rate(optimizer: str) -> float:
    """The learning rate of the encoder and its heads; where rates are scaled, of 256 samples."""
    return 1e-3 if optimizer in ADAPTIVE else 0.3


def of_probe(optimizer: str) -> float:
    """The online probe's learning rate, which is not scaled."""
    return 3e-3 if optimizer in ADAPTIVE else 0.3


def of_scalars(optimizer: str) -> float | None:
    """That of a loss's learnable scalars, not scaled; None: the encoder's.

    Only rates that adapt make of the encoder's a size for scalars.
    """
    return None if optimizer in ADAPTIVE else 1e-3


def warmup_epochs(epochs: float) -> float:
    """How long a run of so many epochs warms up.

    >>> warmup_epochs(100), warmup_epochs(4)
    (10.0, 0.4)
    """
    return 10.0 if epochs > 10 else epochs / 10


def decay_epochs(steps: int, steps_per_epoch: int = 1) -> tuple[float, ...]:
    """The epochs at which `step` lowers the rate of a run of so many steps: at 60 and 80 %.

    Whole ones where the run has whole ones.

    >>> decay_epochs(100), decay_epochs(2), decay_epochs(5, 10)
    ((60, 80), (1, 2), (0.3, 0.4))
    """
    epochs, left = divmod(steps, steps_per_epoch)
    if left:
        return tuple(-(-steps * percent // 100) / steps_per_epoch for percent in DECAYS)
    return tuple(max(1, round(percent / 100 * epochs)) for percent in DECAYS)


def warmup_start(lr: float) -> float:
    """The learning rate of the first step of a warm-up to `lr`.

    >>> warmup_start(0.3), warmup_start(1e-3)
    (0.003, 0.0001)
    """
    return min(0.003, lr / 10)
