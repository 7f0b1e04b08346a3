"""Options of the optimizer and of the learning rate."""

from dataclasses import dataclass
from functools import partial
from typing import Literal

from cl import rates, schedules
from cl.config.own import FORM
from cl.config.schedulers import Schedulers, asks_for
from cl.config.schema import flag

ADAM = ("optimizer", rates.ADAPTIVE)
WARMUP = ("scheduler", Schedulers(schedules.warms_up))


@dataclass(frozen=True, kw_only=True)
class OptimizationOptions:
    """Optimizer, learning rate and its schedule."""

    optimizer: Literal["sgd", "adam", "adamw", "lars"] = flag(
        "optimizer of the encoder and the heads", "sgd", shortcut=("lars", ("sgd",)), common=True
    )
    scheduler: str = flag(
        "schedule of the learning rate; warmup_ in front of a name is a linear rise before it, "
        f"which {FORM} of your own, a function, has without it",
        "warmup_cosine",
        choices=schedules.schedulers,
        open=(FORM,),
        noun="scheduler",
        common=True,
    )
    lr_decay_steps: tuple[int, ...] = flag(
        "epochs at which the learning rate is multiplied by --lr_decay_rate",
        (),
        low=1,
        needs=("scheduler", Schedulers(partial(asks_for, "lr_decay_epochs"))),
        shown="at 60% and 80% of the run",
    )
    lr_decay_rate: float | None = flag(
        "factor of the learning rate at --lr_decay_steps, or in each epoch (exponential)",
        None,
        above=0,
        high=1,
        needs=("scheduler", Schedulers(partial(asks_for, "lr_decay_rate"))),
        shown="step 0.1, exponential 0.95",
    )
    epochs: int = flag(
        "passes over the training data",
        100,
        low=1,
        common=True,
        known_as=("max_epochs", "num_epochs"),
    )
    max_steps: int | None = flag(
        "end after so many steps; 0 keeps the encoder as it is initialized",
        None,
        low=0,
        shown="after all epochs",
        common=True,
    )
    lr: float = flag(
        "learning rate; with --lr_scaling that of 256 samples in a step of all devices",
        0.3,
        above=0,
        common=True,
        known_as=("learning_rate", "base_lr"),
        none=True,
        shown="0.3, with adam and adamw 0.001",
    )
    min_lr: float = flag(
        "learning rate at which the schedule ends, not scaled, as in DINO (1e-6), MAE and timm; "
        "other rates than --lr end at the same part of theirs",
        0.0,
        low=0,
        none=True,
        needs=("scheduler", Schedulers(partial(asks_for, "done"))),
    )
    lr_scaling: bool = flag(
        "multiply --lr by the samples in a step of all devices over 256",
        True,
        none=True,
        shown="with sgd and lars, not with adam and adamw",
    )
    weight_decay: float = flag(
        "weight decay, of all parameters but biases, norms and the tokens and positions of a ViT",
        1e-4,
        low=0,
        common=True,
        known_as=("wd",),
    )
    momentum: float = flag(
        "momentum of sgd and lars", 0.9, low=0, below=1, needs=("optimizer", ("sgd", "lars"))
    )
    betas: tuple[float, float] = flag(
        "decay rates of adam's and adamw's means of gradients and of their squares; 0.9 0.95 in "
        "MAE and SigLIP, 0.9 0.98 in CLIP",
        (0.9, 0.999),
        low=0,
        below=1,
        metavar=("BETA1", "BETA2"),
        needs=ADAM,
    )
    adam_eps: float = flag(
        "what adam and adamw add to the root of the mean square; 1e-6 in CLIP",
        1e-8,
        above=0,
        high=1,
        needs=ADAM,
    )
    max_bad_steps: int = flag(
        "steps in a row that are left out because their loss or gradient is not finite (NaN or "
        "infinite); one more ends the program with exit code 65",
        10,
        low=0,
    )
    clip_grad_norm: float | None = flag(
        "clip the norm of the gradient to this", None, above=0, shown="no clipping"
    )
    warmup_epochs: float | None = flag(
        "epochs in which the learning rate rises linearly",
        None,
        low=0,
        needs=WARMUP,
        shown="10, and of up to 10 epochs a tenth",
    )
    warmup_start_lr: float | None = flag(
        "learning rate that the warm-up starts from, at most that at its height",
        None,
        low=0,
        needs=WARMUP,
        shown="0.003, at most a tenth of the learning rate",
    )
