"""Which settings go together: what a choice has no use for, and what contradicts another."""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

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
from cl.config.fields import PAIRWISE
from cl.config.objectives import OF_METHOD, all_settings, losses, pairwise
from cl.config.programs import Linear, Pretrain
from cl.config.setting import Setting, fits, settings_of

COLDEST = 0.01  # a temperature that learns is kept between it and its inverse, see Learned
TWO_VIEWS = ("clip", "mnrl")  # of mnrl further ones are hard negatives, not views of a sample

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
    return found | (idle(config, settings) if isinstance(config, Linear) else {})


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


def holds(value: Any, allowed: tuple[Any, ...] | None) -> bool:
    """Whether another setting has one of the values that a setting needs, or any (None)."""
    if allowed is None:
        return value is not None
    several = value if isinstance(value, tuple) and value else (value,)
    pairs = [(v, a) for v in several for a in allowed]
    return any(
        v == a or (isinstance(v, str) and isinstance(a, str) and fits(v, a)) for v, a in pairs
    )


def condition(other: str, allowed: tuple[Any, ...] | None) -> str:
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
    """For those loss settings that the chosen loss does not have, what they would need."""
    own = losses()[config.loss_name].settings if config.loss_name in losses() else {}
    found = {}
    for name in (name for name in names if name not in own):
        having = all_settings().get(name, {})
        fits = [f"--method {method}" for method, loss in OF_METHOD.items() if loss in having]
        if config.method not in OF_METHOD:
            fits += [f"--loss {loss}" for loss in pairwise() if loss in having]
        elif any(loss in having for loss in pairwise()):
            fits += [f"--method {method}" for method in PAIRWISE[1]]
        found[name] = f"only with {' or '.join(fits)}" if fits else "with no loss"
    return found


def forgiven(config: Pretrain | Linear, name: str) -> bool:
    """Whether a misplaced flag is on lines that serve other methods, or evaluations, as well."""
    if isinstance(config, Linear):
        return name in idle(config, settings_of(Linear))
    if name not in LENIENT:
        return False
    of_a_loss = any(name in losses()[loss].settings for loss in pairwise())
    return config.method in OF_METHOD or not of_a_loss


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
        if config.scheduler == "reduce":
            message = f"--scheduler: given reduce, allowed without --{grid}"
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
    yield from of_the_loss(config)


def of_the_loss(config: Pretrain) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Those that only a loss's settings can have."""
    if config.loss_name in TWO_VIEWS and (config.n_crops > 2 or config.multicrop):
        yield (
            f"--loss: given {config.loss_name}, allowed two views a sample",
            ("loss", "n_crops", "multicrop"),
        )
    if config.method == "looc" and config.n_crops > 2:
        given = config.n_crops
        yield f"--n_crops: given {given}, allowed 2; --left_out adds views", ("n_crops", "method")
    if len(set(config.left_out)) < len(config.left_out):
        yield f"--left_out: given {spell(config.left_out)}, allowed each one once", ("left_out",)
    settings = config.loss_settings
    for name in (name for name in config.learned if name not in settings):
        yield f"--learn: given {name}, allowed what {config.loss_name} has", ("learn", "loss")


def of_values(config: Pretrain) -> Iterator[str]:
    """Messages about the loss's settings, when these are known."""
    settings = config.loss_settings
    start = settings.get("temperature") if "temperature" in config.learned else None
    if isinstance(start, float) and not COLDEST <= start <= 1 / COLDEST:
        bounds = f"{COLDEST:g} to {1 / COLDEST:g}"
        yield f"--temperature: given {start:g}, allowed {bounds} where it learns"
    if config.learned_lr is not None and not config.learned:
        yield f"--learned_lr: given {config.learned_lr:g}, allowed with --learn"
    if config.gamma_steps and not settings.get("gamma"):
        yield "--gamma_steps: given, allowed with a --gamma above 0"
    if settings.get("threshold") is not None and not settings.get("gamma"):
        yield "--threshold: given, allowed with a --gamma above 0: it is of (1 - p)^gamma"
    if settings.get("threshold") is None:
        standing = Pretrain.threshold_after_step
        if (given := config.threshold_after_step) != standing:
            yield f"--threshold_after_step: given {given}, allowed with --threshold"
    views = config.n_crops + config.multicrop * config.n_small_crops
    compared = settings.get("global_views")
    if compared is not None and not 1 <= compared <= views:
        yield f"--global_views: given {compared}, allowed 1 to the {views} views of a sample"
