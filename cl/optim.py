"""Optimizers and their learning rates: parameter groups by name, schedules by `cl.schedules`."""

import math
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from fnmatch import fnmatch
from typing import Any, Literal

import pytorch_lightning as pl
import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR, ReduceLROnPlateau

from cl import rates
from cl.distributed import is_sharded
from cl.layer_decay import layers_above
from cl.schedules import FOLLOWS_LOSS, Shape, falls_to_zero, height, shape_of, warms_up

LAYERED = "/layers_above_"  # behind a member's name, with how many
EXEMPT = "/exempt"  # behind a group's name: matrices and tables that do not decay
OF_GROUPS = {"base_lrs", "_last_lr", "min_lrs", "lr_lambdas"}  # a scheduler's lists


@dataclass(frozen=True, kw_only=True)
class Optimization:
    """How parameters are trained.

    Args:
        optimizer: LARS (You et al. 2017, https://arxiv.org/abs/1708.03888) adapts the rates of
            matrices and kernels, not of biases, norms and the probe.
        scheduler: one of `cl.schedules.schedulers()`, or a shape of your own.
        lr: learning rate of the encoder and its heads, already scaled by the batch size; None: that
            of `cl.rates`.
        bias_lr: that of their biases and norms, scaled likewise; None: `lr`.
        classifier_lr: learning rate of the probe, whose weights do not decay. None: as of `lr`,
            like the next three.
        learned_lr: learning rate of the loss's learnable scalars.
        weight_decay: of matrices and kernels; biases and norms do not decay, nor what an encoder
            names by `no_weight_decay()`, as timm's do their tokens and tables of positions.
        momentum: of sgd and lars.
        betas: of adam and adamw, the decay rates of the means of gradients and of their squares
            (Kingma and Ba 2015, https://arxiv.org/abs/1412.6980, algorithm 1); `adam_eps` is its
            epsilon.
        adam_eps: see `betas`.
        min_lr: learning rate at which a scheduler ends that falls to 0 otherwise, already scaled;
            at most `lr`. Other learning rates than `lr` end at the same part of their own.
        warmup_epochs: epochs in which a scheduler with a warm-up rises from `warmup_start_lr`.
        warmup_start_lr: learning rate of the first step of the warm-up, at most `lr`.
        lr_decay_epochs: epochs at which `step` multiplies the learning rate by `lr_decay_rate`;
            None: at 60 and 80 % of the run.
        lr_decay_rate: see `lr_decay_epochs`; `exponential` multiplies by it in each epoch behind
            the warm-up. None: the default of the shape.
        constant: names of members whose learning rate stays constant (SimSiam's predictor).
        layer_decay: the learning rate of an encoder's layer over that of the layer above it, see
            `cl.layer_decay`; None: all have the same.

    Raises:
        ValueError: `min_lr` is above `lr`, or is of a scheduler that has another end.
    """

    optimizer: Literal["sgd", "adam", "adamw", "lars"] = "sgd"
    scheduler: str | Shape = "warmup_cosine"
    lr: float = None  # pyright: ignore[reportAssignmentType]  # a number once it is made
    bias_lr: float | None = None
    classifier_lr: float | None = None
    learned_lr: float | None = None
    weight_decay: float = 1e-4
    momentum: float = 0.9
    betas: tuple[float, float] = (0.9, 0.999)
    adam_eps: float = 1e-8
    min_lr: float = 0.0
    warmup_epochs: float | None = None
    warmup_start_lr: float | None = None
    lr_decay_epochs: tuple[float, ...] | None = None
    lr_decay_rate: float | None = None
    constant: tuple[str, ...] = ()
    layer_decay: float | None = None

    def __post_init__(self) -> None:
        if self.lr is None:
            object.__setattr__(self, "lr", rates.usual_rate(self.optimizer))
        if self.min_lr > self.lr:
            raise ValueError(
                f"--min_lr must be at most the learning rate, {self.lr:g}, not {self.min_lr:g}"
            )
        if self.min_lr and not falls_to_zero(self.scheduler):
            raise ValueError(
                f"--min_lr needs a scheduler that falls to 0, as warmup_cosine, not "
                f"{self.scheduler}"
            )


def groups(module: nn.Module, o: Optimization) -> list[dict[str, Any]]:
    """Parameter groups: every parameter that requires a gradient is in exactly one.

    Matrices and kernels decay, vectors (biases, norms) do not, nor does what `undecayed` names; the
    probe and the scalars of a loss have their own learning rates. With `layer_decay` the layers of
    the member `encoder` have groups of their own, behind all others.
    """
    exempt = undecayed(module)
    above = {} if o.layer_decay is None else layers_above(module.get_submodule("encoder"))
    known = {
        "probe": o.classifier_lr or rates.of_probe(o.optimizer),
        "learnable": o.learned_lr or rates.of_scalars(o.optimizer) or o.lr,
    }
    made: dict[str, dict[str, Any]] = {}
    for name, p in module.named_parameters():
        if not p.requires_grad:
            continue
        member = name.partition(".")[0]
        matrix = p.ndim > 1 and member != "probe"
        decays = matrix and name not in exempt
        root = member if member in known or member in o.constant else "encoder"
        layers = above.get(name.removeprefix("encoder."), 0) if member == "encoder" else 0
        lr = (o.lr if matrix else o.bias_lr or o.lr) * (o.layer_decay or 1.0) ** layers
        kind = "" if decays or root in known else EXEMPT if matrix else "/no_decay"
        group = made.setdefault(
            root + (f"{LAYERED}{layers}" if layers else "") + kind,
            {
                "params": [],
                "lr": known.get(root, lr),
                "weight_decay": o.weight_decay if decays else 0.0,
                "constant": root in o.constant,
                "always_adapt": matrix,  # LARS, also where the decay is 0
            },
        )
        group["params"].append(p)
    if above:  # what has the rate of the run, which is logged, stands first
        made = {name: made[name] for name in sorted(made, key=lambda name: name != "encoder")}
    names = sorted(made, key=lambda name: (LAYERED in name, name.endswith(EXEMPT)))
    return [{"name": name, **made[name]} for name in names]


def undecayed(module: nn.Module) -> set[str]:
    """The parameters that modules in a module name by `no_weight_decay()`, as timm reads it."""
    found = set[str]()
    for place, part in module.named_modules():
        listed: Callable[[], Collection[str]] | None = getattr(part, "no_weight_decay", None)
        patterns = () if listed is None else listed()
        names = [name for name, _ in part.named_parameters()] if patterns else []
        matching = (name for name in names if any(fnmatch(name, each) for each in patterns))
        found |= {f"{place}.{name}".removeprefix(".") for name in matching}
    return found


def regroup(checkpoint: dict[str, Any], module: nn.Module, o: Optimization) -> None:
    """Give the optimizer's state in a checkpoint from before the groups of now, in place.

    What `undecayed` names stood among the matrices and kernels. Any other difference is left for
    torch to refuse.

    Args:
        checkpoint: Lightning's.
        module: whose parameters are trained.
        o: how they are.
    """
    now, place = groups(module, o), {id(p): i for i, p in enumerate(module.parameters())}
    roots = {group["name"]: group["name"].removesuffix(EXEMPT) for group in now}
    if all(name == root for name, root in roots.items()):
        return
    ours: dict[str, list[nn.Parameter]] = {}
    for group in now:
        ours.setdefault(roots[group["name"]], []).extend(group["params"])
    states = checkpoint.get("optimizer_states", []), checkpoint.get("lr_schedulers", [])
    for saved, schedule in zip(*states, strict=False):
        before = {group.get("name"): group for group in saved["param_groups"]}
        sizes = {name: len(group["params"]) for name, group in before.items()}
        if sizes != {name: len(parameters) for name, parameters in ours.items()}:
            continue
        number: dict[int, int] = {}
        for root, parameters in ours.items():
            ordered = sorted((id(p) for p in parameters), key=place.__getitem__)
            number |= dict(zip(ordered, before[root]["params"], strict=True))
        saved["param_groups"] = [
            {**before[roots[group["name"]]], **{k: group[k] for k in ("name", "weight_decay")}}
            | {"params": [number[id(p)] for p in group["params"]]}
            for group in now
        ]
        rows = [[*before].index(roots[group["name"]]) for group in now]
        for key in OF_GROUPS & schedule.keys():
            schedule[key] = [schedule[key][row] for row in rows]


def optimizer(module: nn.Module, o: Optimization) -> torch.optim.Optimizer:
    """The optimizer over `groups`.

    `lars` is timm's with trust coefficient 0.001, which equals lightning-bolts' last LARS. On a
    CPU the others are torch's fused kernels, which read each number once; on a GPU
    `cl.callbacks.finite` takes them, with the flag by which they leave a step out.
    """
    parameters = groups(module, o)
    for group in parameters:
        if any(map(is_sharded, group["params"])):
            group.update(fused=False, foreach=False)  # whose lists would mix whole ones with parts
            continue
        # Said to the groups: an optimizer that is made so would want to unscale float16 itself.
        if o.optimizer != "lars" and all(p.device.type == "cpu" for p in group["params"]):
            group.update(fused=True, foreach=False)
    if o.optimizer == "sgd":
        return torch.optim.SGD(parameters, o.lr, momentum=o.momentum)
    if o.optimizer == "lars":
        from timm.optim.lars import Lars  # timm takes a second

        momentum: Any = o.momentum  # timm annotates its default, the integer 0
        return Lars(parameters, o.lr, momentum=momentum, trust_coeff=0.001)
    adam = torch.optim.Adam if o.optimizer == "adam" else torch.optim.AdamW
    return adam(parameters, o.lr, o.betas, o.adam_eps)


def lr_factor(o: Optimization, step: int, steps: int, steps_per_epoch: int) -> float:
    """What the learning rate is multiplied by at an optimizer step, counted from 0.

    A warm-up is linear: its first step has `warmup_start_lr`, its last the full learning rate; the
    shape then goes its whole way in the rest of the run, to `min_lr` where that is given.
    `warmup_cosine` so is lightning-bolts' LinearWarmupCosineAnnealingLR with steps for epochs.

    >>> o = Optimization(lr=1.0, warmup_start_lr=0.0, warmup_epochs=3)
    >>> [round(lr_factor(o, s, 7, 1), 3) for s in range(7)]
    [0.0, 0.5, 1.0, 1.0, 0.854, 0.5, 0.146]
    """
    warm, epochs = 0, steps / steps_per_epoch
    if warms_up(o.scheduler):
        given = o.warmup_epochs
        rising = rates.warmup_epochs(epochs) if given is None else given
        warm = min(round(rising * steps_per_epoch), steps - 1)
    if step < warm:
        given = o.warmup_start_lr
        start = min(1.0, (rates.warmup_start(o.lr) if given is None else given) / o.lr)
        return start + (1 - start) * step / (warm - 1) if warm > 1 else start
    behind, decays, end = step - warm, o.lr_decay_epochs, o.min_lr / o.lr
    known = vars(o) | {
        "done": behind / (steps - warm),
        "epoch": step // steps_per_epoch,
        "epochs_done": step / steps_per_epoch,
        "epochs_after_warmup": behind // steps_per_epoch,
        "lr_decay_epochs": rates.decay_epochs(steps, steps_per_epoch) if decays is None else decays,
    }
    return end + (1 - end) * height(shape_of(o.scheduler), **known)


def written_out(o: Optimization, steps: int, steps_per_epoch: int) -> Optimization:
    """The same training with its warm-up and its drops as numbers, of a run of so many steps.

    >>> written_out(Optimization(scheduler="step"), 5, 10).lr_decay_epochs
    (0.3, 0.4)
    """
    warmup, decays = o.warmup_epochs, o.lr_decay_epochs
    return replace(
        o,
        warmup_epochs=rates.warmup_epochs(steps / steps_per_epoch) if warmup is None else warmup,
        lr_decay_epochs=decays or rates.decay_epochs(steps, steps_per_epoch),
    )


def step_limit(trainer: pl.Trainer) -> int:
    """Steps of the whole run at most, by `cl.trainer.Trainer` or by Lightning's; -1: no limit."""
    return getattr(trainer, "limit", trainer.max_steps)


def planned_steps(trainer: pl.Trainer, scheduler: str | Shape = "none") -> tuple[int, int]:
    """Optimizer steps of the whole run and of an epoch.

    Args:
        trainer: with the data.
        scheduler: of the learning rate, which may go by epochs.

    Raises:
        ValueError: nothing says when the run ends, or when the epochs do that the scheduler needs.
    """
    limit, epochs, batches = step_limit(trainer), trainer.max_epochs, batches_per_epoch(trainer)
    endless = epochs is None or epochs < 0  # as Lightning has it where max_steps is given alone
    if limit < 0 and math.isinf(batches):
        raise ValueError("the training DataLoader has no length: the number of steps must be given")
    if limit < 0 and endless:
        raise ValueError("schedules need the length of the run: give max_epochs or max_steps")
    if math.isinf(batches):
        check_epochs(scheduler)
        return limit, max(1, limit)
    per_epoch = max(1, math.ceil(batches / trainer.accumulate_grad_batches))
    if epochs is None or endless:
        return limit, per_epoch
    steps = per_epoch * max(1, epochs)
    return (min(steps, limit) if limit > 0 else steps), per_epoch


def check_epochs(scheduler: str | Shape) -> None:
    """Refuse a scheduler that goes by epochs where the training data have no length.

    Raises:
        ValueError: it follows the loss.
    """
    if scheduler == FOLLOWS_LOSS:
        raise ValueError(
            f"--scheduler {scheduler} follows the loss from epoch to epoch: the DataLoader has no "
            "length, and so no epochs"
        )


def batches_per_epoch(trainer: pl.Trainer) -> float:
    """Batches of an epoch on this process; infinite where the loader does not know.

    Lightning sets up its loaders before it restores a checkpoint when it is asked for them, and so
    would lose the place inside the epoch; a data module can be asked without that.
    """
    data = trainer.datamodule  # pyright: ignore[reportAttributeAccessIssue]
    if data is None:
        if trainer.train_dataloader is None:
            trainer.fit_loop.setup_data()
        return trainer.num_training_batches
    limit = trainer.limit_train_batches
    try:
        length = len(data.train_dataloader())
    except TypeError:  # a loader of the user's
        return limit if isinstance(limit, int) else math.inf
    return min(length, limit) if isinstance(limit, int) else int(length * limit)


def build_optimizer(
    module: nn.Module, o: Optimization, steps: int, steps_per_epoch: int, monitor: str
) -> dict[str, Any]:
    """What Lightning's `configure_optimizers` returns: one optimizer and its schedule, by steps.

    Args:
        module: whose parameters are trained.
        o: how.
        steps: optimizer steps of the whole run.
        steps_per_epoch: optimizer steps of an epoch.
        monitor: the logged mean; where it has not fallen in 10 epochs, `reduce` divides the
            learning rate by ten.
    """
    opt = optimizer(module, o)
    if o.scheduler == FOLLOWS_LOSS:
        floors = [group["lr"] if group["constant"] else 0.0 for group in opt.param_groups]
        plateau = ReduceLROnPlateau(opt, min_lr=floors)
        # By steps although it acts once an epoch: Lightning then moves it before the checkpoint.
        plan = {"scheduler": plateau, "monitor": monitor, "frequency": steps_per_epoch}
        return {"optimizer": opt, "lr_scheduler": {"interval": "step", **plan}}

    def scheduled(step: int) -> float:
        return lr_factor(o, step, steps, steps_per_epoch)

    def constant(_: int) -> float:
        return 1.0

    factors = [constant if group["constant"] else scheduled for group in opt.param_groups]
    return {
        "optimizer": opt,
        "lr_scheduler": {"scheduler": LambdaLR(opt, factors), "interval": "step"},
    }
