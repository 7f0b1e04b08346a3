"""Which settings go together: what a choice has no use for, and what contradicts another."""

import re
from collections.abc import Container, Iterable, Iterator, Mapping
from typing import Any

from cl import schedules
from cl.config import signature
from cl.config.evaluations import (
    ALL,
    about,
    augmentable,
    built_in,
    either,
    having,
    of_images,
    plugins,
    untrained,
)
from cl.config.programs import Linear, Pretrain
from cl.config.setting import Setting, settings_of
from cl.config.signature import losses, methods, pairwise

COLDEST = 0.01  # a temperature that learns is kept between it and its inverse, see Learned

# The original programs read these whatever the method was: its own SimSiam and Barlow Twins
# commands are the SimCLR command, --temperature 0.2 included, with some more words at the end. They
# still have to run, so such a flag is ignored with a warning where any other is an error.
LENIENT = ("temperature", "lamb", "pred_hidden_mlp", "no_lr_scheduler_for_pred_head")


# How an evaluation trains and reads images is likewise on lines that serve every --eval.
OF_VIEWS = ("backend", "last_batch_fill")


def spell(value: Any) -> str:
    """A value as it is written on a command line."""
    return " ".join(map(str, value)) if isinstance(value, tuple | list) else str(value)


def out_of_place(config: Pretrain | Linear, settings: Mapping[str, Setting]) -> dict[str, str]:
    """The settings that the configuration has no use for, and what they would need."""
    found = {}
    for name, setting in settings.items():
        other, allowed = setting.about.get("needs", ("", ()))
        if other and not holds(getattr(config, other), allowed):
            found[name] = f"only with {condition(other, allowed)}"
    if isinstance(config, Linear):
        return found | idle(config, settings)
    return found if takes_any_loss(config) else found | {"loss": only_with(choosing())}


def takes_any_loss(config: Pretrain) -> bool:
    """Whether the method computes the loss that `--loss` names."""
    return signature.method(config.method).any_loss


def choosing() -> list[str]:
    """The methods that compute any loss."""
    return [name for name, method in methods().items() if method.any_loss]


def only_with(names: Iterable[str]) -> str:
    return f"only with --method {' or '.join(names)}"


def idle(config: Linear, settings: Mapping[str, Setting]) -> dict[str, str]:
    """What an evaluation has no use for that trains nothing, or sees each image once as it is."""
    found = {}
    training = having("trains", plugins(config.eval))
    if not {*training} & {*config.eval}:
        named = (name for name, s in settings.items() if s.group == "Optimization")
        found |= dict.fromkeys(named, f"only with --eval {either(training)}")
    if not (config.augment or of_images(config.eval)):
        reason = f"only with --augment or --eval {' or '.join(of_images(built_in()))}"
        found |= dict.fromkeys(OF_VIEWS, reason)
    return found


def holds(value: Any, allowed: Container[Any] | None) -> bool:
    """Whether another setting has one of the values that a setting needs, or any (None)."""
    if allowed is None:
        return value is not None
    several = value if isinstance(value, tuple) and value else (value,)
    return any(v in allowed for v in several)


def condition(other: str, allowed: Iterable[Any] | None) -> str:
    """What a setting needs, in flags.

    >>> condition("scheduler", ("step", "exponential")), condition("multicrop", (True,))
    ('--scheduler step or exponential', '--multicrop')
    """
    if allowed is None or allowed == (True,):
        return f"--{other}"
    if allowed == ((),):
        return f"no --{other}"
    label = other.upper() if other == "dataset" else f"--{other}"
    return f"{label} {' or '.join(allowed)}"


def foreign_options(config: Pretrain, names: Iterable[str]) -> dict[str, str]:
    """For those options that neither the method nor its loss has, what they would need."""
    own = {
        *signature.method(config.method).settings,
        *signature.loss(config.loss_name).settings,
    }
    return {name: needed(config, name) for name in names if name not in own}


def needed(config: Pretrain, name: str) -> str:
    """What an option would need, in flags."""
    having = [of for of, method in methods().items() if name in method.settings]
    with_it = [of for of, loss in losses().items() if name in loss.settings]
    if having and not with_it:
        return only_with(having)
    fits = [f"--method {of}" for of, m in methods().items() if not m.any_loss and m.loss in with_it]
    chosen = [loss for loss in pairwise() if loss in with_it]
    if takes_any_loss(config):
        fits += [f"--loss {loss}" for loss in chosen]
    elif chosen:
        fits += [f"--method {method}" for method in choosing()]
    fits += [f"--method {method}" for method in having if f"--method {method}" not in fits]
    return f"only with {' or '.join(fits)}" if fits else "with no loss"


def forgiven(config: Pretrain | Linear, name: str) -> bool:
    """Whether a misplaced flag is on lines that serve other methods, or evaluations, as well."""
    if isinstance(config, Linear):
        return name in idle(config, settings_of(Linear))
    chosen = takes_any_loss(config) and config.loss != Pretrain.loss
    return name in LENIENT and not chosen


def contradictions(config: Pretrain | Linear) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Messages, each with the names of the settings that it is about."""
    if config.global_batch_size and config.global_batch_size % config.processes:
        yield (
            f"--global_batch_size: given {config.global_batch_size}, allowed a multiple of the "
            f"{config.processes} devices",
            ("global_batch_size", "gpus", "devices"),
        )
    if len(set(config.gpus)) < len(config.gpus):
        yield f"--gpus: given {spell(config.gpus)}, allowed each number once", ("gpus",)
    steps = config.lr_decay_steps
    if list(steps) != sorted(set(steps)):
        yield f"--lr_decay_steps: given {spell(steps)}, allowed rising epochs", ("lr_decay_steps",)
    if config.warmup_epochs is not None and config.warmup_epochs >= config.epochs:
        yield (
            f"--warmup_epochs: given {config.warmup_epochs:g}, allowed less than the "
            f"{config.epochs} of --epochs",
            ("warmup_epochs", "epochs"),
        )
    share = config.data_fraction
    if share > 1 and share != int(share):
        yield (
            f"--data_fraction: given {share:g}, allowed a share above 0 up to 1, or a whole number",
            ("data_fraction",),
        )
    if config.run_id and not re.fullmatch(r"\w[\w.-]*", config.run_id):
        yield f"--run_id: given {config.run_id}, allowed letters, digits, _, - and .", ("run_id",)
    yield from pretraining(config) if isinstance(config, Pretrain) else evaluation(config)


def evaluation(config: Linear) -> Iterator[tuple[str, tuple[str, ...]]]:
    """The contradictions that only evaluation can have."""
    given, images = spell(config.eval), of_images(config.eval)
    if len(config.eval) > 1 and (images or ALL in config.eval):
        alone = either([*of_images((*built_in(), *plugins(config.eval))), ALL])
        yield f"--eval: given {given}, allowed {alone} alone", ("eval",)
    if config.augment and not (len(config.eval) == 1 and config.eval[0] in augmentable()):
        yield (
            f"--augment: given, allowed with --eval {either(augmentable())} alone",
            (
                "augment",
                "eval",
            ),
        )
    if len(training := [name for name in config.eval if name != ALL and about(name).trains]) > 1:
        yield f"--eval: given {given}, allowed one of {either(training)}: each trains", ("eval",)
    yield from of_grids(config)
    if config.augment and config.pictures:
        yield "--pictures: given, allowed without --augment", ("augment", "pictures")
    if images and config.pictures:
        yield f"--pictures: given, allowed without --eval {given}", ("eval", "pictures")
    without = {*config.eval} <= {*untrained()}
    if config.pretrained_feature_extractor is None and not without:
        allowed = "a run's folder or a file of weights"
        yield f"--pretrained_feature_extractor: missing, allowed {allowed}", ("eval",)
    if config.pretrained_feature_extractor is not None and without:
        path = config.pretrained_feature_extractor
        yield (
            f"--pretrained_feature_extractor: given {path}, allowed without --eval {given}",
            ("pretrained_feature_extractor", "eval"),
        )


def of_grids(config: Linear) -> Iterator[tuple[str, tuple[str, ...]]]:
    """What the classifiers of a grid do not follow, so that another one would be chosen."""
    for grid in (name for name in ("lr_grid", "weight_decay_grid") if getattr(config, name, ())):
        if config.augment:
            yield f"--augment: given, allowed without --{grid}", ("augment", grid)
        for name in ("max_steps", "clip_grad_norm"):
            if (value := getattr(config, name)) is not None:
                yield f"--{name}: given {spell(value)}, allowed without --{grid}", (name, grid)
        if config.scheduler == schedules.FOLLOWS_LOSS:
            message = f"--scheduler: given {config.scheduler}, allowed without --{grid}"
            yield message, ("scheduler", grid)


def pretraining(config: Pretrain) -> Iterator[tuple[str, tuple[str, ...]]]:
    """The contradictions that only pretraining can have."""
    for name in ("crop_scale", "small_crop_scale"):
        scale = getattr(config, name)
        if scale and scale[0] > scale[1]:
            yield f"--{name}: given {spell(scale)}, allowed the smaller one first", (name,)
    small, full = config.resolved_small_crop_size, config.crop_size or config.resolved_image_size
    if config.multicrop and small >= full:
        yield (
            f"--small_crop_size: given {small}, allowed less than the {full} of full-size views",
            ("small_crop_size", "crop_size", "image_size"),
        )
    if config.dry_run and config.show_views:
        yield "--dry_run: given, allowed without --show_views", ("dry_run", "show_views")
    m, n = config.mini_batch_size, config.batch_size_per_device
    if m and m > n:
        yield (
            f"--mini_batch_size: given {m}, allowed up to the {n} samples of a device in a step",
            ("mini_batch_size", "batch_size", "global_batch_size"),
        )
    yield from of_their_own(config)
    yield from of_the_loss(config)


def of_their_own(config: Pretrain) -> Iterator[tuple[str, tuple[str, ...]]]:
    """What a user's module must have to be a method or a loss."""
    if ":" in config.method and signature.method(config.method) is signature.NOTHING:
        yield f"--method: given {config.method}, allowed a class of that module", ("method",)
    if ":" in config.loss and not signature.loss(config.loss).pairwise:
        yield (
            f"--loss: given {config.loss}, allowed a function of that module that takes "
            "(z, ids, rows)",
            ("loss",),
        )


def of_the_loss(config: Pretrain) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Those that only a loss's settings can have."""
    loss = signature.loss(config.loss_name)
    if takes_any_loss(config) and loss.two_views and (config.n_crops > 2 or config.multicrop):
        yield (
            f"--loss: given {config.loss_name}, allowed two views a sample",
            ("loss", "n_crops", "multicrop"),
        )


def of_values(config: Pretrain) -> Iterator[str]:
    """Messages about the loss's settings, when these are known."""
    settings = config.loss_settings
    for name in (name for name in config.learned if name not in settings):
        yield f"--learn: given {name}, allowed what {config.loss_name} has"
    start = settings.get("temperature") if "temperature" in config.learned else None
    if isinstance(start, float) and not COLDEST <= start <= 1 / COLDEST:
        bounds = f"{COLDEST:g} to {1 / COLDEST:g}"
        yield f"--temperature: given {start:g}, allowed {bounds} where it learns"
    if config.learned_lr is not None and not config.learned:
        yield f"--learned_lr: given {config.learned_lr:g}, allowed with --learn"
    yield from of_schedules(config)
    own = config.method_settings
    if own.get("gamma_steps") and not settings.get("gamma"):
        yield "--gamma_steps: given, allowed with a --gamma above 0"
    if settings.get("threshold") is not None and not settings.get("gamma"):
        yield "--threshold: given, allowed with a --gamma above 0: it is of (1 - p)^gamma"
    if settings.get("threshold") is None and "threshold_after_step" in config.method_options:
        given = own["threshold_after_step"]
        yield f"--threshold_after_step: given {given}, allowed with --threshold"
    views = config.n_crops + config.multicrop * config.n_small_crops
    compared = settings.get("global_views")
    if compared is not None and not 1 <= compared <= views:
        yield f"--global_views: given {compared}, allowed 1 to the {views} views of a sample"


def of_schedules(config: Pretrain) -> Iterator[str]:
    """Messages about `--schedule`: what it names must be a number that the run has."""
    known = dict(signature.method(config.method).settings)
    known |= signature.loss(config.loss_name).settings
    values = config.method_settings | config.loss_settings
    moved: set[str] = set()
    for word in config.schedule:
        try:
            name, _, end, _ = schedules.parse(word)
            if name in known and known[name].of is float:
                known[name].checked(end, end)
        except ValueError as error:
            yield str(error)
            continue
        if name not in known or known[name].of is not float or known[name].many != 1:
            numbers = " ".join(k for k, s in known.items() if s.of is float and s.many == 1)
            yield f"--schedule {word}: {name} is no number of this run; use one of {numbers}"
        elif not isinstance(values[name], float):
            yield f"--schedule {word}: it needs a value to start from; add --{name}"
        elif name in moved or name in config.learned:
            other = "--learn" if name in config.learned else "another --schedule"
            yield f"--schedule {word} cannot be used with {other} of {name}"
        moved.add(name)
