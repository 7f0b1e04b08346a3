"""Which settings go together: what a choice has no use for, and what forbids what.

A fault is a sentence with the names of the settings that it is about, so that nothing is said of
what follows from a value that was refused already.
"""

import re
from collections.abc import Container, Iterable, Iterator, Mapping
from typing import Any

from cl import schedules
from cl.config import encoders, signature
from cl.config.datasets import OfKind, makes_views
from cl.config.evaluations import (
    ALL,
    about,
    augmentable,
    built_in,
    by_names,
    default,
    for_captions,
    for_texts,
    meant,
    of_images,
    plugins,
    untrained,
    words_having,
)
from cl.config.launcher import started
from cl.config.options import OptimizationOptions, ViewsOptions
from cl.config.own import called, is_own, packages_of
from cl.config.programs import Linear, Pretrain, rooms
from cl.config.schedulers import unusable
from cl.config.schema import Option, either, options_of, spell
from cl.config.thing import Kind

Fault = tuple[str, tuple[str, ...]]
COLDEST = 0.01  # a temperature that learns is kept between it and its inverse, see Learned

# The original programs read these whatever the method was: its own SimSiam and Barlow Twins
# commands are the SimCLR command, --temperature 0.2 included, with some more words at the end. They
# still have to run, so such a flag is ignored with a warning where any other is an error.
LENIENT = ("temperature", "lamb", "pred_hidden_mlp", "no_lr_scheduler_for_pred_head")

# What says of an encoder how images and texts reach it; a CLIP in a folder says it itself.
OF_ENCODER = ("image_size", "mean", "std", "central", "interpolation", "pooling")

# What stands before texts, of an encoder that was trained with it.
PROMPTS = ("query_prompt", "document_prompt")

# An option of a method on which settings depend.
OF_METHOD = "text_encoder"

# How an evaluation trains and reads images is likewise on lines that serve every --eval.
OF_VIEWS = ("backend", "last_batch_fill")


# How an encoder is built that has a name, and what a DataLoader sees to besides the views.
OF_NAME = ("norm", "stem", "zero_init_residual")
OF_LOADER = ("batch_size", "global_batch_size", "num_workers", "backend", "last_batch_fill")
OF_LOADER += ("image_size", "probe_data")


def kinds_of(of: type) -> tuple[Kind, ...]:
    """Whose options a program has besides its own."""
    return ("eval",) if issubclass(of, Linear) else ("method", "loss")


def out_of_place(config: Pretrain | Linear, options: Mapping[str, Option]) -> dict[str, str]:
    """The settings that the configuration has no use for, and what they need."""
    found = {}
    for name, option in options.items():
        other, allowed = option.about.get("needs", ("", ()))
        if isinstance(allowed, OfKind):  # which the name alone does not say
            fits = config.kind in allowed
        else:
            fits = not other or holds(getattr(config, other), allowed)
        if not fits:
            found[name] = condition(other, allowed)
    if isinstance(config, Linear):
        return found | idle(config, options)
    if "pretrained" in found and not encoders.takes_texts(config.encoder):
        found["pretrained"] += "; --init_from timm starts from the weights of one of timm's"
    found |= of_objects(config, options)
    return found if takes_any_loss(config) else found | {"loss": needs_methods(choosing())}


def of_objects(config: Pretrain, options: Mapping[str, Option]) -> dict[str, str]:
    """What says nothing of an encoder, or of a DataLoader, that is an object of the user's own."""
    found = {}
    if is_own(config.encoder):
        reason = "cannot be used with a module of your own, which is trained as it is"
        found |= dict.fromkeys(OF_NAME, reason)
    if makes_views(config.dataset):
        views = (name for name, o in options.items() if o.group == ViewsOptions.__name__)
        reason = "cannot be used with a DataLoader of your own, which makes the views"
        found |= dict.fromkeys((*OF_LOADER, *views), reason)
    return found


def holds(value: Any, allowed: Container[Any] | None) -> bool:
    """Whether another setting has one of the values that a setting needs, or any (None)."""
    if allowed is None:
        return value is not None
    several = value if isinstance(value, tuple) and value else (value,)
    return any(v in allowed for v in several)


def condition(other: str, allowed: Iterable[Any] | None) -> str:
    """What a setting needs, in flags.

    >>> condition("scheduler", ("step", "exponential")), condition("gpus", ((),))
    ('needs --scheduler step or exponential', 'cannot be used with --gpus')
    """
    if allowed is None or allowed == (True,):
        return f"needs --{other}"
    if allowed == ((),):
        return f"cannot be used with --{other}"
    if isinstance(allowed, OfKind):
        return f"needs a DATASET of {either(allowed)}"
    names = {"dataset": "DATASET", "encoder": "ENCODER"}
    names[OF_METHOD] = "an encoder of texts named"  # ENCODER, or one beside it
    return f"needs {names.get(other, f'--{other}')} {either(allowed)}"


def takes_any_loss(config: Pretrain) -> bool:
    """Whether the method computes the loss that `--loss` names."""
    return signature.method(config.method).any_loss


def choosing() -> list[str]:
    """The methods that compute any loss."""
    return [name for name, method in signature.methods().items() if method.any_loss]


def needs_methods(methods: Iterable[str]) -> str:
    return f"needs --method {either(methods)}"


def idle(config: Linear, options: Mapping[str, Option]) -> dict[str, str]:
    """What an evaluation has no use for that trains nothing, or sees each image once as it is."""
    found = {}
    training = words_having("trains", plugins(config.eval))
    if config.mine or not {*training} & {*config.eval}:
        named = (name for name, o in options.items() if o.group == OptimizationOptions.__name__)
        reason = "cannot be used with --mine" if config.mine else f"needs --eval {either(training)}"
        found |= dict.fromkeys(named, reason)
    if not (config.augment or of_images(config.eval)):
        reason = f"needs --augment or --eval {either(of_images(built_in()))}"
        found |= dict.fromkeys(OF_VIEWS, reason)
    return found


def foreign_options(config: Pretrain | Linear, names: Iterable[str]) -> dict[str, str]:
    """For those options that nothing has that was chosen, what they need."""
    own = {name for room in rooms(config).values() for name in room}
    return {name: needed(config, name) for name in names if name not in own}


def needed(config: Pretrain | Linear, name: str) -> str:
    """What an option of another method, loss or evaluation needs, in flags."""
    if isinstance(config, Linear):
        return f"needs --eval {either(words_having(name, plugins(config.eval)))}"
    methods, losses = signature.methods(), signature.losses()
    with_it = {of for of, loss in losses.items() if name in loss.options}
    fits = [
        of
        for of, method in methods.items()
        if name in method.options or (not method.any_loss and method.loss in with_it)
    ]
    chosen = [loss for loss in signature.pairwise() if loss in with_it]
    if chosen and not takes_any_loss(config):
        fits, chosen = [*fits, *choosing()], []
    flags = {"--method": fits, "--loss": chosen}
    said = [f"{flag} {either(names)}" for flag, names in flags.items() if names]
    return (
        f"needs {' or '.join(said)}" if said else "is an option of neither the method nor the loss"
    )


def forgiven(config: Pretrain | Linear, name: str) -> bool:
    """Whether a misplaced flag is on lines that serve other methods, or evaluations, as well."""
    if isinstance(config, Linear):
        return name in idle(config, options_of(type(config)))
    chosen = takes_any_loss(config) and config.loss != Pretrain.loss
    return name in LENIENT and not chosen


def tries_rates(config: Pretrain | Linear) -> bool:
    """Whether it is an evaluation that tries several learning rates, which looks at them itself."""
    if not isinstance(config, Linear) or config.augment:
        return False
    several = [name for name in meant(config.eval) if "lr_grid" in about(name).options]
    return bool(several) and (config.lr is None or "lr_grid" in config.eval_options)


def contradictions(config: Pretrain | Linear) -> Iterator[Fault]:
    """What settings forbid each other."""
    whole, devices = config.global_batch_size, config.processes
    if whole and whole % devices:
        message = f"--global_batch_size must be a multiple of the {devices} devices, not {whole}."
        yield message, ("global_batch_size", "gpus", "devices")
    if len(set(config.gpus)) < len(config.gpus):
        yield f"--gpus must name each GPU once, not {spell(config.gpus)}.", ("gpus",)
    if why := unusable(config.scheduler):
        yield f"--scheduler {config.scheduler}: {why}.", ("scheduler",)
    steps = config.lr_decay_steps
    if list(steps) != sorted(set(steps)):
        yield f"--lr_decay_steps must be rising, not {spell(steps)}.", ("lr_decay_steps",)
    if config.min_lr > config.scaled_lr() and not tries_rates(config):
        must = f"at most the learning rate, {config.scaled_lr():g}"
        yield f"--min_lr must be {must}, not {spell(config.min_lr)}.", ("min_lr", "lr")
    warmup, epochs = config.warmup_epochs, config.epochs
    if warmup is not None and warmup >= epochs:
        yield (
            f"--warmup_epochs must be below the {epochs} of --epochs, not {spell(warmup)}.",
            ("warmup_epochs", "epochs"),
        )
    values = config.value_range
    if isinstance(values, tuple) and values[0] >= values[1]:
        must = "the smaller one first"
        yield f"--value_range must be {must}, not {spell(values)}.", ("value_range",)
    part = config.data_fraction
    if part > 1 and part != int(part):
        must = "a fraction of at most 1, or a whole number of samples"
        yield f"--data_fraction must be {must}, not {spell(part)}.", ("data_fraction",)
    if config.run_id and not re.fullmatch(r"\w[\w.-]*", config.run_id):
        must = "made of letters, digits, _, - and ."
        yield f"--run_id must be {must}, not {config.run_id}", ("run_id",)
    yield from of_encoder(config)
    yield from pretraining(config) if isinstance(config, Pretrain) else evaluation(config)


def of_encoder(config: Pretrain | Linear) -> Iterator[Fault]:
    """What the data set has must be what the encoder takes."""
    kind, encoder = config.kind, config.encoder
    for name in PROMPTS if kind == "text" and encoders.BAG.fullmatch(encoder) else ():
        if getattr(config, name) is not None:
            yield f"--{name} needs ENCODER {either(encoders.TRANSFORMERS)}.", (name, "encoder")
    if isinstance(config, Linear) and encoders.is_saved_pair(encoder) and needs_pair(config):
        for name in OF_ENCODER:
            if getattr(config, name) is not None:
                message = f"--{name} cannot be used with ENCODER {encoder}, whose folder says it."
                yield message, (name, "encoder")
        return
    if encoders.is_foreign(encoder) or encoders.takes_texts(encoder) is (kind == "text"):
        if why := encoders.unknown(encoder):
            yield why, ("encoder",)
        return
    takes = "text" if encoders.takes_texts(encoder) else "images"
    use = f" Use {either(encoders.TEXTS)}." if takes == "images" else ""
    message = (
        f"ENCODER {encoder} takes {takes}, but DATASET {called(config.dataset)} has {kind}.{use}"
    )
    yield message, ("encoder", "dataset")


def needs_pair(config: Linear) -> bool:
    """Whether what is evaluated is an encoder of images with one of texts."""
    return config.kind == "image-text" or bool(by_names(config.eval))


def evaluation(config: Linear) -> Iterator[Fault]:
    """What forbids each other in an evaluation."""
    given, images = spell(config.eval), of_images(config.eval)
    if config.max_steps == 0:
        yield "--max_steps must be at least 1, not 0.", ("max_steps",)
    yield from of_kind(config)
    if len(config.eval) > 1 and (images or by_names(config.eval) or ALL in config.eval):
        known = (*built_in(), *plugins(config.eval))
        alone = [*of_images(known), *by_names(known), ALL]
        yield f"--eval {either(alone)} must stand alone, not in {given}.", ("eval",)
    if config.augment and not (len(config.eval) == 1 and config.eval[0] in augmentable()):
        yield f"--augment needs --eval {either(augmentable())} alone.", ("augment", "eval")
    if len(training := [name for name in config.eval if name != ALL and about(name).trains]) > 1:
        yield f"--eval must name only one that trains, not {either(training, 'and')}.", ("eval",)
    if config.augment and config.pictures:
        yield "--pictures cannot be used with --augment.", ("augment", "pictures")
    if images and config.pictures:
        yield f"--pictures cannot be used with --eval {given}.", ("eval", "pictures")
    yield from of_layers(config)
    yield from of_transfer(config)
    without, file = {*config.eval} <= {*untrained()}, config.pretrained_feature_extractor
    if file is None and not without and not encoders.has_weights(config.encoder):
        yield (
            "--pretrained_feature_extractor is missing: a run's folder or a file of weights.",
            ("eval",),
        )
    if file is not None and without:
        yield (
            f"--pretrained_feature_extractor cannot be used with --eval {given}, which starts "
            "from random weights.",
            ("pretrained_feature_extractor", "eval"),
        )


def of_layers(config: Linear) -> Iterator[Fault]:
    """What has no features of layers."""
    if config.layer and (of_images(config.eval) or config.augment or needs_pair(config)):
        what = "--augment" if config.augment else f"--eval {spell(config.eval)}"
        yield f"--layer cannot be used with {what}: it is of frozen features.", ("layer", "eval")


def of_transfer(config: Linear) -> Iterator[Fault]:
    """What cannot be done on one data set after the other."""
    if not config.transfer:
        return
    names = (config.dataset, *config.transfer)
    if len({*names}) < len(names):
        message = f"--transfer must name each data set once beside DATASET, not {spell(names)}."
        yield message, ("transfer", "dataset")
    for name in ("resume_training_from", "verify", "mine"):
        if getattr(config, name):
            yield f"--{name} cannot be used with --transfer.", (name, "transfer")
    if config.processes > 1:
        yield "--transfer runs on one device.", ("transfer", "devices", "gpus")


def of_kind(config: Linear) -> Iterator[Fault]:
    """What texts and images can be evaluated by."""
    given, searched = spell(config.eval), for_texts()
    if config.kind == "image-text" and not {*config.eval} <= {*for_captions()}:
        need = f"cannot be used with DATASET {called(config.dataset)}; of images with captions"
        yield (
            f"--eval {given} {need} there is --eval {either(for_captions())}.",
            ("eval", "dataset"),
        )
    if config.kind == "text" and config.mine:
        yield from of_mining(config)
    elif config.kind == "text" and not {*config.eval} <= {*searched}:
        need = f"needs labeled images; of DATASET {called(config.dataset)} there is --eval"
        yield f"--eval {given} {need} {either(searched)}.", ("eval", "dataset")
    if config.kind != "text" and any(name != ALL and about(name).scored for name in config.eval):
        yield f"--eval {given} needs a DATASET of text with scores.", ("eval", "dataset")


def of_mining(config: Linear) -> Iterator[Fault]:
    """What forbids each other where hard negatives are mined."""
    if config.eval != (default(),):
        yield f"--eval {spell(config.eval)} cannot be used with --mine.", ("eval", "mine")
    for name in ("verify", "augment"):
        if getattr(config, name):
            yield f"--{name} cannot be used with --mine.", (name, "mine")
    first, last = config.mine_ranks
    if first > last:
        yield f"--mine_ranks must be rising, not {first} {last}.", ("mine_ranks",)
    elif config.negatives > last - first + 1:
        most = last - first + 1
        yield f"--negatives must be at most the {most} ranks of --mine_ranks.", ("negatives",)


def of_eval_options(config: Linear) -> Iterator[Fault]:
    """What the options of the evaluations forbid, when these are known."""
    given = config.eval_options
    for thing in map(about, meant(config.eval)):
        for name, other in thing.needs.items():
            if given.get(name) is not None and given.get(other) is None:
                yield f"--{name} needs --{other}.", (name, other)
    if given.get("layer_decay") is not None and given.get("lora_rank") is not None:
        yield "--layer_decay cannot be used with --lora_rank.", ("layer_decay", "lora_rank")
    yield from of_grids(config)


def of_grids(config: Linear) -> Iterator[Fault]:
    """What the classifiers of a grid do not follow, so that another one would be chosen."""
    for grid in (name for name in ("lr_grid", "weight_decay_grid") if getattr(config, name, ())):
        if config.augment:
            yield f"--augment cannot be used with --{grid}.", ("augment", grid)
        if config.scheduler == schedules.FOLLOWS_LOSS:
            message = f"--scheduler {config.scheduler} cannot be used with --{grid}."
            yield message, ("scheduler", grid)


def pretraining(config: Pretrain) -> Iterator[Fault]:
    """What forbids each other in pretraining."""
    for name in ("crop_scale", "small_crop_scale"):
        scale = getattr(config, name)
        if scale and scale[0] > scale[1]:
            yield f"--{name} must be the smaller one first, not {spell(scale)}.", (name,)
    small, full = config.resolved_small_crop_size, config.crop_size or config.resolved_image_size
    if config.multicrop and small >= full:
        yield (
            f"--small_crop_size must be below the {full} of full-size views, not {small}.",
            ("small_crop_size", "crop_size", "image_size"),
        )
    if (last := max(config.keep_epochs or (0,))) > config.epochs:
        message = f"--keep_epochs {last}: the run has the {config.epochs} of --epochs."
        yield message, ("keep_epochs", "epochs")
    if config.dry_run and config.show_views:
        yield "--dry_run cannot be used with --show_views.", ("dry_run", "show_views")
    if config.dry_run and config.max_steps == 0:
        message = "--dry_run draws what changes in steps: --max_steps 0 has none."
        yield message, ("dry_run", "max_steps")
    known = config.run_id or config.resume_training_from or started()
    if config.auto_resume and not known:
        message = "--auto_resume needs --run_id, by which the run is found that is to go on."
        yield message, ("auto_resume", "run_id")
    m, n = config.mini_batch_size, config.batch_size_per_device
    if m and m > n:
        yield (
            f"--mini_batch_size must be at most the {n} samples of a device in a step, not {m}.",
            ("mini_batch_size", "batch_size", "global_batch_size"),
        )
    yield from of_layer_decay(config)
    yield from of_recomputation(config)
    yield from of_fsdp(config)
    yield from of_seeds(config)
    yield from of_things(config)


def of_layer_decay(config: Pretrain) -> Iterator[Fault]:
    """What has no layers with weights that were learned before."""
    if config.layer_decay is None:
        return
    if config.lora_rank is not None:
        yield "--layer_decay cannot be used with --lora_rank.", ("layer_decay", "lora_rank")
    has_own = encoders.has_weights(config.encoder) or encoders.is_foreign(config.encoder)
    loads = has_own if config.pretrained is None else config.pretrained
    if not (loads or config.init_from):
        message = "--layer_decay needs weights to start from: --init_from or --pretrained."
        yield message, ("layer_decay", "init_from", "pretrained")


def of_recomputation(config: Pretrain) -> Iterator[Fault]:
    """What does not know that the encoder's blocks are computed a second time."""
    others = {
        "--compile": config.compile,
        "--lora_rank": config.lora_rank,
        "--mini_batch_norm frozen": config.mini_batch_norm == "frozen",
    }
    for flag in (flag for flag, given in others.items() if given and config.checkpoint_activations):
        name = flag.partition(" ")[0].removeprefix("--")
        message = f"--checkpoint_activations cannot be used with {flag}."
        yield message, ("checkpoint_activations", name)


def of_fsdp(config: Pretrain) -> Iterator[Fault]:
    """What needs the whole encoder on each process."""
    if config.strategy != "fsdp":
        return
    if config.processes == 1:
        message = "--strategy fsdp needs several processes: --devices, --gpus, torchrun or SLURM."
        yield message, ("strategy", "devices", "gpus")
    teacher = "ema_beta" in signature.method(config.method).options
    others = {
        f"--method {config.method}, whose teacher is a moving average": teacher,
        "--lora_rank": config.lora_rank,
        "--compile": config.compile,
        "--no-sync_batchnorm": not config.sync_batchnorm,
        "--optimizer lars": config.optimizer == "lars",
        "--clip_grad_norm": config.clip_grad_norm,
        "--precision 16": config.precision == "16",
    }
    for words in (words for words, given in others.items() if given):
        name = words.partition(",")[0].partition(" ")[0].removeprefix("--").removeprefix("no-")
        yield f"--strategy fsdp cannot be used with {words}.", ("strategy", name)


def of_seeds(config: Pretrain) -> Iterator[Fault]:
    """What cannot be done once with each seed."""
    if len({*config.seeds}) < len(config.seeds):
        yield f"--seeds must name each seed once, not {spell(config.seeds)}.", ("seeds",)
    for name in ("resume_training_from", "dry_run", "show_views"):
        if config.seeds and getattr(config, name):
            yield f"--{name} cannot be used with --seeds.", (name, "seeds")
    if config.seeds and started() and config.processes > 1:
        message = "--seeds starts its runs itself: --devices says how many processes each has."
        yield message, ("seeds",)


def of_things(config: Pretrain) -> Iterator[Fault]:
    """What a module of the user's own must have, and what a loss can do."""
    method, loss = config.method, config.loss
    samples = signature.method(method).samples
    fitting = [name for name, of in signature.methods().items() if of.samples == config.kind]
    if samples and samples != config.kind:
        message = f"--method {method} needs a DATASET of {samples}; {called(config.dataset)} has "
        yield f"{message}{config.kind}.", ("method", "dataset")
    if fitting and method not in fitting and ":" not in method:
        message = f"DATASET {called(config.dataset)} has {config.kind}, which needs --method "
        yield f"{message}{either(fitting)}.", ("method", "dataset")
    if ":" in method and signature.method(method) is signature.NOTHING:
        yield f"--method {method}: the module has no such class.", ("method",)
    if (base := signature.method(method).lost) and not is_own(method):
        message = f"--method {method}: no source file defines its base class {base}, so that its "
        yield f"{message}options are not known; import the class by its name.", ("method",)
    brought = loss == signature.default_loss(method)  # which the method itself calls
    if brought and loss not in signature.losses() and not (is_own(loss) or packages_of(loss)):
        message = f"--method {method} needs --loss: its default is no name, but {loss}."
        yield message, ("method", "loss")
    if ":" in loss and not brought and not signature.loss(loss).pairwise:
        where = "the function" if is_own(loss) else "the module has no such function, or it"
        yield f"--loss {loss}: {where} does not take (z, ids, rows).", ("loss",)
    two = signature.loss(config.loss_name).two_views
    if takes_any_loss(config) and two and (config.n_crops > 2 or config.multicrop):
        which = "--multicrop" if config.multicrop else "--n_crops above 2"
        message = f"--loss {config.loss_name} compares two views of a sample: {which} has more."
        yield message, ("loss", "n_crops", "multicrop")


def of_values(config: Pretrain) -> Iterator[str]:
    """What the options of the loss forbid, when these are known."""
    options, given = config.loss_settings, {**config.method_options, **config.loss_options}
    needs = signature.method(config.method).needs | signature.loss(config.loss_name).needs
    for name in (name for name in needs if given.get(name) is not None):
        if not (config.method_settings | options).get(needs[name]):
            yield f"--{name} needs --{needs[name]}."
    for name in (name for name in config.learned if name not in options):
        yield f"--learn {name} cannot be used with --loss {config.loss_name}, which has none."
    start = options.get("temperature") if "temperature" in config.learned else None
    if isinstance(start, float) and not COLDEST <= start <= 1 / COLDEST:
        must = f"from {COLDEST:g} to {1 / COLDEST:g} with --learn"
        yield f"--temperature must be {must}, not {spell(start)}."
    if config.learned_lr is not None and not config.learned:
        yield "--learned_lr needs --learn."
    of_pairs = config.kind == "text" and config.hard_negatives
    if of_pairs and not signature.loss(config.loss_name).sides:
        fitting = [name for name in signature.pairwise() if signature.loss(name).sides]
        yield f"--hard_negatives needs --loss {either(fitting)}."
    if config.strategy == "fsdp" and config.method_settings.get("ema_encoder"):
        yield "--strategy fsdp cannot be used with --ema_encoder."
    if config.lora_rank is not None and config.method_settings.get("lock") == "image":
        yield "--lora_rank cannot be used with --lock image."
    yield from of_schedules(config)
    views = config.n_crops + config.multicrop * config.n_small_crops
    compared = options.get("global_views")
    if compared is not None and not 1 <= compared <= views:
        yield f"--global_views must be from 1 to the {views} views of a sample, not {compared}."


def of_schedules(config: Pretrain) -> Iterator[str]:
    """What `--schedule` names must be a number that the run has."""
    known = {name: option for room in rooms(config).values() for name, option in room.items()}
    numbers = {k: o for k, o in known.items() if o.of is float and o.many == 1}
    values = config.method_settings | config.loss_settings
    moved = set(config.learned)
    for word in config.schedule:
        try:
            name, shape, end, _ = schedules.parse_schedule(word)
            if why := unusable(shape, ("done",)):
                yield f"--schedule {word}: {why}"
            if name in numbers:
                numbers[name].check(end)
        except ValueError as error:
            yield str(error)
            continue
        if name not in numbers:
            use = " ".join(numbers)
            yield f"--schedule {word}: {name} is no number of this run; use one of {use}"
        elif not isinstance(values[name], float):
            yield f"--schedule {word}: it needs a value to start from; add --{name}"
        elif name in moved:
            other = "--learn" if name in config.learned else "another --schedule"
            yield f"--schedule {word} cannot be used with {other} of {name}"
        moved.add(name)
