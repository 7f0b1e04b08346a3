"""From a checked configuration to the parts of a run: data, encoder, method, measurement."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader

from cl import checkpoints, hardware, runs, trainer
from cl.config import Pretrain
from cl.config.encoders import TIMM, has_weights, is_foreign, takes_texts
from cl.config.evaluations import evaluations_for
from cl.config.signature import loss as loss_thing
from cl.config.signature import method as method_thing
from cl.data import sets, tokens
from cl.data.augment.recipe import SMALL_BLUR, SMALL_SCALE, SWAV_SMALL, Recipe, full_size
from cl.data.batch import Batch
from cl.data.image_text_data import ImageTextData
from cl.data.inspection import Inspection
from cl.data.loaders.base import check_channels
from cl.data.loaders.texts import SIDES
from cl.data.module import ContrastiveData, GivenData, PlainLoader
from cl.data.sets import DECODING, Captioned, Images, Source, TextPairs
from cl.data.sets._levels import measure_statistics
from cl.data.text_data import TextData
from cl.eval._baseline import frozen_features, knn_top1, measure_frozen
from cl.eval._restore import about_file, encoder_name, timm_configuration
from cl.losses import get_loss, negatives
from cl.methods import get_method
from cl.methods._base import Method
from cl.nets import encoders, texts
from cl.nets.lora import LoRA
from cl.nets.prompts import check_no_prompts, choose_prompts, prompts_of
from cl.nets.transformer import Transformer
from cl.runs.tokens import KeptTokens

Data = ContrastiveData | TextData | ImageTextData | GivenData
CHECKED = "checked_data.txt"  # in the folder of runs: sums of data without damaged images
MEASURED = 10_000  # images of each part that the measurement before and after looks at
# Flags that say where in DATASET its images and labels are, and nothing of --probe_data.
OF_TRAINING = dict.fromkeys(
    ("train_dir", "val_dir", "class_list", "image_column", "label_column", "label_separator")
)
NO_PROBE = (
    "there is no online probe: the batches have labels, but their data set does not say of which "
    "two classes or more; its attribute `classes` may, their names or number"
)
LARGEST = 224  # px: views of a data set of one's own are at most this large unless it is said


def own_object(word: str | None) -> Any:
    """The object that a caller from Python gave for a name; None if it is a name."""
    return getattr(word, "object", None)


def brings_own(config: Pretrain) -> bool:
    """Whether the caller gave an object, so that no command line repeats the run."""
    words = (config.dataset, config.encoder, config.method, config.loss, config.scheduler)
    return any(own_object(word) is not None for word in words)


def load_source(config: Pretrain) -> Source[Any] | GivenData:
    """Read the data set; loaders that make views themselves are taken as they are."""
    given = own_object(config.dataset)
    if isinstance(given, Source | GivenData):
        return given
    if given is not None:
        parts = given if isinstance(given, tuple) else (given,)
        loaders = isinstance(parts[0], DataLoader)
        return ContrastiveData.from_loaders(*parts) if loaders else sets.from_dataset(*parts)
    return sets.load(
        config.dataset,
        config.data_folder,
        config.train_dir,
        config.val_dir,
        config.download,
        class_list=config.class_list,
        image_column=config.image_column,
        label_column=config.label_column,
        label_separator=config.label_separator,
        value_range=config.value_range,
        channels=config.channels,
        exif_orientation=config.exif_orientation,
        max_pixels=config.max_pixels,
        data_fraction=config.data_fraction,
        val_fraction=config.val_fraction,
        skip_corrupt=config.skip_corrupt,
        workers=config.resolved_num_workers,
        console=None if runs.other_rank() else trainer.console,
    )


def complete(config: Pretrain, source: Source[Any] | GivenData) -> Pretrain:
    """The configuration with what the data say: range of values; of one's own, sizes too."""
    if isinstance(source, Source) and not isinstance(source.train, Images):
        return config
    if isinstance(source, Source) and source.train.channels != 3:
        config = replace(config, channels=source.train.channels)
    if isinstance(source, Source) and config.value_range:  # what auto has measured
        config = replace(config, value_range=source.train.decoding.value_range)
    if own_object(config.dataset) is None:
        return config
    if isinstance(source, Source):
        side = min(source.train.pixel(0).shape[:2])
        return replace(config, image_size=config.image_size or min(side, LARGEST))
    views = first_batch(source).views[0]
    size = {"image_size": views.shape[-1]} if views.ndim == 5 else {}
    return replace(config, batch_size=views.shape[1], global_batch_size=None, **size)


def with_known_lengths(config: Pretrain, encoder: nn.Module) -> Pretrain:
    """The configuration with as many tokens of a text as its encoder's folder says and has.

    Args:
        config: of the run; what it asks for itself stays, and is checked where texts are read.
        encoder: of texts, if the run has one.
    """
    if not isinstance(encoder, Transformer) or config.max_length is not None:
        return config
    return replace(config, max_length=encoder.lengths(config.resolved_max_length))


def with_known_prompts(
    config: Pretrain, source: Source[Any] | GivenData, encoder: nn.Module
) -> Pretrain:
    """The configuration with what stands before queries and documents, which the encoder has then.

    Both stay None where it is the folder's default prompt on both sides, unasked, and that of
    documents where it follows from texts of one kind. A run that goes on keeps its own.

    Args:
        config: of the run.
        source: the data set.
        encoder: of texts, if the run has one.

    Raises:
        ValueError: the encoder is no transformer, or pools otherwise where there is a prompt.
    """
    given = config.query_prompt, config.document_prompt
    if not isinstance(source, Source) or not isinstance(source.train, TextPairs):
        return config
    if not isinstance(encoder, Transformer):
        check_no_prompts(given)
        return config
    settings, going_on = encoder.settings, config.resume_training_from
    kept: tuple[Any, Any] = None, None
    symmetric = source.train.symmetric
    if going_on is not None:
        folder = runs.folder_of(checkpoints.resumable(going_on))
        before, _ = trainer.earlier_settings(config, (folder / runs.CONFIG).read_text())
        kept = before.get("query_prompt"), before.get("document_prompt")
        if symmetric and given[1] == kept[1] == kept[0]:  # which a file of before hands on
            given = given[0], None
        used = prompts_of(*kept) or (settings.prompt, settings.prompt)
        settings = settings._replace(used=used)
    chosen = choose_prompts(settings, given, symmetric=symmetric)
    unsaid = {*given, *kept} == {None}
    if unsaid and chosen == (settings.prompt, settings.prompt):
        return config
    encoder.use_prompts(*chosen)
    follows = symmetric and kept[1] is None
    return replace(config, query_prompt=chosen[0], document_prompt=None if follows else chosen[1])


def first_batch(data: GivenData) -> Batch:
    """The first batch of a loader; its views of the largest size, `(v n ...)`, come first."""
    return next(iter(data.train_dataloader()))


def build_data(config: Pretrain, source: Source[Any] | GivenData, text_encoder: nn.Module) -> Data:
    """The views of the data set, and what loads them.

    Args:
        config: of the run.
        source: the data set.
        text_encoder: says how texts become tokens, see `tokens.tokenizer_of`.

    Raises:
        ValueError: the method makes views that only images have.
    """
    if isinstance(source, GivenData):
        return source
    if isinstance(source.train, TextPairs):
        check_positives(config, source)
        return text_data(config, source, text_encoder)
    how: dict[str, Any] = {
        "batch_size": config.batch_size_per_device,
        "seed": config.seed,
        "workers": config.resolved_num_workers,
        "backend": config.backend,
        "fill_last": config.last_batch_fill,
        "size": config.resolved_image_size,
    }
    if isinstance(source.train, Captioned):
        return image_text_data(config, source, text_encoder, how)
    check_positives(config, source)
    data = ContrastiveData(source, recipes_of(config, source.train), **how)
    data.labeled = probe_source(config, data)
    other = [] if data.labeled is source else measured_parts(data)
    data.inspection = inspection(config, source.train, source.val, *other)
    return data


def probe_source(config: Pretrain, data: ContrastiveData) -> Source:
    """The images with labels by which a run is watched: its own, or those of `--probe_data`.

    Raises:
        ValueError: the run's own have labels too, or those of `--probe_data` have none.
    """
    name = config.probe_data
    if name is None:
        return data.source
    if count_classes(data):
        own = f"DATASET {data.source.name} has labels, by which the run is watched"
        raise ValueError(f"--probe_data {name} is for images without labels: {own}")
    source = load_source(
        replace(config, dataset=name, data_fraction=1.0, val_fraction=None, **OF_TRAINING)
    )
    assert isinstance(source, Source)  # a name is no loader
    of_one = isinstance(source.train, Images) and not source.multilabel
    if not of_one or len(source.classes) < 2:
        raise ValueError(f"--probe_data {name}: it has no images of several classes")
    check_channels(source.train, data.recipes[0])
    return source


def image_text_data(
    config: Pretrain,
    source: Source[Captioned],
    text_encoder: nn.Module,
    how: Mapping[str, Any],
) -> ImageTextData:
    """Images with captions, see `build_data`.

    Args:
        config: of the run.
        source: the data set.
        text_encoder: see `build_data`.
        how: images are loaded.

    Raises:
        ValueError: a caption may be longer than the encoder of texts can read, or all are the same.
    """
    if len({*source.train.texts}) == 1:
        raise ValueError(
            f"DATASET {source.name}: all training images have the same caption, so that there "
            "is nothing to tell apart"
        )
    images, longest = source.train.images, config.resolved_max_length[0]
    if isinstance(text_encoder, Transformer):
        text_encoder.check_length(f"--text_encoder {config.text_encoder}", (longest, longest))
    return ImageTextData(
        source,
        recipes_of(config, images),
        KeptTokens(
            tokens.tokenizer_of(config.text_encoder, text_encoder, "--text_encoder"),
            config.runs_folder,
        ),
        longest=longest,
        inspection=inspection(config, images, source.val.images),
        **how,
    )


def text_data(config: Pretrain, source: Source[TextPairs], encoder: nn.Module) -> TextData:
    """Pairs of texts, see `build_data`."""
    method = own_object(config.method) or get_method(config.method)
    if method.views.__func__ is not Method.views.__func__:
        raise ValueError(
            f"--method {config.method} compares changes of images; DATASET {source.name} has text"
        )
    if source.train.scores is not None and len(source.train) and not method.graded:
        raise ValueError(
            f"DATASET {source.name} has scores of its training pairs, which --method cosent and "
            f"angle learn from; --method {config.method} would take all of them for positives"
        )
    if isinstance(encoder, Transformer):
        encoder.check_length(f"ENCODER {config.encoder}", config.resolved_max_length)
    others = negatives(config.loss_name, SIDES, 2) if config.loss_name else 0  # None: it chooses
    scored = source.train.scores is not None  # no pair is another's negative
    prompts = encoder.prompts if isinstance(encoder, Transformer) else (None, None)
    queries, documents = (
        KeptTokens(tokens.tokenizer_of(config.encoder, encoder, prompt=each), config.runs_folder)
        for each in prompts
    )
    data = TextData(
        source,
        queries,
        of_documents=documents,
        longest=config.resolved_max_length,
        batch_size=config.batch_size_per_device,
        seed=config.seed,
        fill_last=config.last_batch_fill,
        negatives=hard_negatives(config, source),
        contrasted=bool(others),
        distinct=others != 0 and not asks_for_classes(config) and not scored,
    )
    if config.hard_negatives is None and not data.negatives and data.hard_negatives:
        takes = loss_thing(config.loss_name).sides
        why = "" if takes else f"; {config.loss_name or config.method} takes none, --loss mnrl does"
        warnings.warn(f"hard negatives: {data.hard_negatives}{why}", stacklevel=2)
    return data


def asks_for_classes(config: Pretrain) -> bool:
    """Whether samples of one class are to be positives: supcon, or --supervised."""
    option = method_thing(config.method).options.get("supervised")
    return bool(option and config.method_options.get("supervised", option.default))


def check_positives(config: Pretrain, source: Source[Any]) -> None:
    """Check that two samples are of one class where that is what is asked for.

    Raises:
        ValueError: no two are.
    """
    if not asks_for_classes(config):
        return
    samples = source.train
    if source.multilabel:
        raise ValueError(
            f"--method {config.method} needs images of one class each, and those of {source.name} "
            "may be of several; --method simclr needs no classes"
        )
    known = samples.labels[samples.labels >= 0]
    if len(np.unique(known)) < len(known):
        return
    share = "are of one class" if isinstance(samples, Images) else "have one document"
    given = config.method_options.get("supervised")
    flag = f"--method {config.method}" if given is None else "--supervised"
    raise ValueError(
        f"{flag}: no two of the {len(samples):,} training samples of {source.name} {share}, so "
        "that there are no positives but a sample's own views; --method simclr is that"
    )


def hard_negatives(config: Pretrain, source: Source[TextPairs]) -> int:
    """How many hard negatives of a pair are in a step.

    Raises:
        ValueError: some pair has fewer than are asked for.
    """
    if not loss_thing(config.loss_name).sides:
        return 0
    least = min(map(len, source.train.negatives), default=0)
    asked = config.hard_negatives
    if asked is not None and asked > least:
        raise ValueError(f"--hard_negatives {asked}: some pair of {source.name} has {least}")
    return least if asked is None else asked


def inspection(config: Pretrain, *parts: Images) -> Inspection | None:
    """The check of the images, unless `--skip_corrupt` has read them all."""
    checked = config.runs_folder / CHECKED
    return None if config.skip_corrupt else Inspection(parts, config.resolved_num_workers, checked)


def count_classes(data: Data) -> int | None:
    """How many classes the online probe tells apart; None where there are no two, or no labels."""
    if isinstance(data, TextData | ImageTextData):
        return None
    if isinstance(data, ContrastiveData):
        source = data.source
        parts = [images for images in (source.train, source.val) if len(images)]
        labeled = all((images.labels >= 0).any() for images in parts)
        number = len(source.classes) if labeled else 0
    else:
        number = data.classes
    return number if number > 1 else None


def evaluations_of(source: Source[Any]) -> tuple[str, ...]:
    """What the parts of a data set can be evaluated by, see `evaluations_for`."""
    train, val = source.train, source.val
    pairs = val if isinstance(val, TextPairs) else None
    return evaluations_for(
        train.kind,
        labeled=len(source.classes) > 1 and has_labels(train) and has_labels(val),
        scored=pairs is not None and pairs.scores is not None,
        searchable=pairs is not None and bool((pairs.judgments[:, 2] > 0).any()),
    )


def has_labels(part: Any) -> bool:
    """Whether a part has images with labels."""
    return isinstance(part, Images) and len(part.with_labels()) > 0


def is_watched(data: ContrastiveData) -> bool:
    """Whether there are images with labels to measure the encoder on."""
    other = data.labeled is not data.source
    return bool((other or count_classes(data)) and len(data.labeled.val))


def recipes_of(config: Pretrain, images: Images) -> list[Recipe]:
    """The views of a run: a preset with what the command line changes of it.

    Args:
        config: of the run.
        images: whose mean and deviation are measured where they are not RGB.
    """
    named = {
        "size": config.crop_size or config.resolved_image_size,
        "jitter_order": config.jitter_order,
        "brightness": config.brightness,
        "contrast": config.contrast,
        "saturation": config.saturation,
        "hue": config.hue,
        "crop_scale": config.crop_scale,
        "crop_interpolation": config.crop_interpolation,
        "flip": config.flip_prob,
        "grayscale": config.grayscale_prob,
        "blur": config.blur_prob,
        "solarize": config.solarize_prob,
    }
    given = {k: v for k, v in named.items() if v is not None}
    if config.kind == "image-text" and config.crop_interpolation == "bilinear":  # as earlier runs
        given |= {"central": None, "interpolation": "bilinear"}
    full = [r.changed(given) for r in full_size(config.dataset, config.recipe, config.n_crops)]
    method = own_object(config.method) or get_method(config.method)
    full = method.views(full, **config.method_settings)
    if images.channels != 3:
        measured = measure_statistics(images)
        full = [recipe.of_channels(**measured) for recipe in full]
    if prepared := prepared_for(config):
        full = [recipe.changed(prepared) for recipe in full]
    if not config.multicrop:
        return full
    small = {
        "size": config.resolved_small_crop_size,
        "views": config.n_small_crops,
        "crop_scale": config.small_crop_scale or SMALL_SCALE.get(config.recipe or "", SWAV_SMALL),
        "solarize": (config.solarize_prob or 0.0)
        * (images.channels == 3),  # full-size views alone have it in the papers
        "blur": full[0].blur if len({recipe.blur for recipe in full}) == 1 else SMALL_BLUR,
    }
    return [*full, full[0].changed(small)]


def prepared_for(config: Pretrain) -> dict[str, Any]:
    """Mean and deviation of the images that the weights which training starts from were made for.

    Raises:
        ValueError: there are no such weights.
    """
    if config.init_from == TIMM:
        about: Mapping[str, Any] = timm_configuration(config.encoder)
    else:
        flag = "init_from" if config.init_from else "image_weights"
        weights = config.init_from or config.method_settings.get(flag)
        if not weights:
            return {}
        file = checkpoints.encoder_file(started_from(config, weights), f"--{flag}")
        about = about_file(file)
    known = {name: tuple(about[name]) for name in ("mean", "std") if name in about}
    return {k: v for k, v in known.items() if len(v) == (config.channels or 3)}


def build_encoder(config: Pretrain) -> tuple[nn.Module, dict[str, Any]]:
    """The encoder: the caller's own, or one as its name says; with the weights of `--init_from`.

    Returns:
        The encoder, and what those weights say of how it is built, for its own file.

    Raises:
        ValueError: the weights are another encoder's.
    """
    encoder = make_encoder(config)
    if config.init_from in (None, TIMM):
        return encoder, {}
    file = checkpoints.encoder_file(started_from(config, config.init_from), "--init_from")
    if own_object(config.encoder) is None:
        encoder_name(file, config.encoder, about_file(file).get("encoder"))  # are they of it?
    report = checkpoints.load_weights(encoder, file)
    built = {key: getattr(report, key) for key in ("padding", "epsilon")}
    return encoder, {key: value for key, value in built.items() if value is not None}


def started_from(config: Pretrain, weights: str) -> Path:
    """Where to read what the run started from: of one that goes on, its own folder has it."""
    going_on = config.resume_training_from
    return Path(weights) if going_on is None else runs.folder_of(checkpoints.resumable(going_on))


def without_weights(config: Pretrain) -> dict[str, None]:
    """What names weights to start from, of a run that goes on: its checkpoint has them."""
    names = (f"{side}_weights" for side in ("image", "text"))
    going_on = config.resume_training_from is not None
    return {name: None for name in names if going_on and name in config.method_settings}


def make_encoder(config: Pretrain) -> nn.Module:
    """The encoder, with random weights or with those that its name says."""
    if encoder := own_object(config.encoder):
        if config.init_from == TIMM:
            raise ValueError("--init_from timm needs the name of one of timm's encoders")
        kind = encoders.dtype_of(encoder)
        if config.precision == "64" or kind == torch.float32:
            return encoder
        trainer.say(f"The encoder is in {str(kind).removeprefix('torch.')}; it trains in float32.")
        return encoder.float()
    if takes_texts(config.encoder):
        if config.init_from == TIMM:
            raise ValueError(f"--init_from timm needs an encoder of images, not {config.encoder}")
        return texts.encoder_of(
            config.encoder, pooling=config.pooling, pretrained=config.pretrained
        )
    return encoders.create(
        config.encoder,
        config.resolved_image_size,
        zero_init_residual=config.zero_init_residual,
        norm=config.norm,
        channels=config.channels or 3,
        stem=config.stem,
        pretrained=config.init_from == TIMM and config.resume_training_from is None,
        weights_follow=config.init_from == TIMM,
    )


def build_text_encoder(config: Pretrain) -> nn.Module | None:
    """The encoder of texts that a method has besides that of images; None without one.

    Raises:
        ValueError: there is none of that name, or one that is to be locked, or to be adapted by
            LoRA, has random weights.
    """
    settings = config.method_settings
    if "text_encoder" not in settings:
        return None
    name, lock = config.text_encoder, settings.get("lock")
    own = is_foreign(config.encoder) or settings.get("image_weights")
    if config.lora_rank is not None and not own:
        raise ValueError("--lora_rank needs --image_weights: a run or file of weights to adapt")
    loads = has_weights(name) if config.pretrained is None else config.pretrained
    known = {"text": loads, "image": is_foreign(config.encoder), None: True}[lock]
    if not (known or settings[f"{lock}_weights"]):
        raise ValueError(f"--lock {lock} needs --{lock}_weights: a run or file of weights to keep")
    return texts.encoder_of(
        name, pooling=config.pooling, pretrained=config.pretrained, flag="--text_encoder"
    )


def build_method(
    config: Pretrain,
    encoder: nn.Module,
    classes: int | None,
    data: Data | None = None,
    text_encoder: nn.Module | None = None,
) -> Method:
    """The method on its encoder.

    Args:
        config: of the run.
        encoder: what is trained.
        classes: of the online probe; None where nothing has a label.
        data: if its views may be no images of the run's size.
        text_encoder: what `build_text_encoder` has made.
    """
    size = config.crop_size or config.resolved_image_size
    if isinstance(data, GivenData):
        batch = first_batch(data)
        example = batch.views[0][0, :2]
        if classes is None and (batch.labels >= 0).any():
            trainer.say(NO_PROBE)
    elif isinstance(data, TextData):
        example = torch.from_numpy(data.train_tokens[0].padded(np.arange(2)))
    else:
        example = torch.zeros(2, config.channels or 3, size, size)
    loss = own_object(config.loss) or (get_loss(config.loss_name) if config.loss_name else None)
    return (own_object(config.method) or get_method(config.method))(
        encoder if config.lora_rank is None else LoRA(encoder, config.lora_rank, config.lora_alpha),
        *([partial(loss, **config.loss_options)] if loss else []),  # else its own
        classes=classes,
        example=example,
        channels_last=config.channels_last,
        mini_batch_size=config.mini_batch_size,
        mini_batch_norm=config.mini_batch_norm,
        checkpoint_activations=config.checkpoint_activations,
        schedules=config.resolved_schedules,
        optimization=trainer.optimization(
            config,
            bias_lr=config.resolved_bias_lr,
            classifier_lr=config.resolved_classifier_lr,
            learned_lr=config.resolved_learned_lr,
            layer_decay=config.layer_decay,
        ),
        **config.method_settings
        | ({"text_encoder": text_encoder} if text_encoder else {})
        | without_weights(config),
    )


def encoder_metadata(config: Pretrain, recipes: Sequence[Recipe]) -> dict[str, Any]:
    """What it takes to use the encoder again, written beside its weights.

    Args:
        config: of the run.
        recipes: of its views; none where a loader of the caller's own makes them, and of texts.
    """
    apart: dict[str, Any] = {} if config.merge_lora else {"lora_rank": config.lora_rank}
    if apart and config.lora_alpha is not None:
        apart["lora_alpha"] = config.lora_alpha
    if config.kind == "text":
        prompts = prompts_of(config.query_prompt, config.document_prompt)
        return {
            "encoder": config.encoder,
            "max_length": list(config.resolved_max_length),
            **({"pooling": config.pooling} if config.pooling else {}),
            **({"prompts": list(prompts)} if prompts else {}),
            **apart,
            "dataset": config.dataset,
            "method": config.method,
        }
    prepared = preparation_said(recipes[0]) if recipes else {}
    return {
        "encoder": config.encoder,
        "norm": config.norm,
        **({"stem": config.stem} if config.stem else {}),
        "image_size": config.resolved_image_size,
        **prepared,
        **decoding_said(config),
        **towers_metadata(config),
        **apart,
        "dataset": config.dataset,
        "method": config.method,
    }


def preparation_said(recipe: Recipe) -> dict[str, Any]:
    """How plain images were prepared, besides their size; what no file says is bilinear."""
    said: dict[str, Any] = {"mean": list(recipe.mean), "std": list(recipe.std)}
    if recipe.central is not None:
        said["central"] = recipe.central
    return said | ({"interpolation": "bicubic"} if recipe.interpolation == "bicubic" else {})


def decoding_said(config: Pretrain) -> dict[str, Any]:
    """How image files became pixels, where flags or a `Source` of the caller's own say it."""
    said = {name: getattr(config, name) for name in DECODING}
    given = own_object(config.dataset)
    if isinstance(given, Source) and isinstance(given.train, Images):
        how = given.train.decoding
        said |= {name: value for name in DECODING if (value := getattr(how, name))}
    return {name: value for name, value in said.items() if value is not None}


def towers_metadata(config: Pretrain) -> dict[str, Any]:
    """What it takes besides to use the encoder of texts again; nothing where there is none."""
    if config.kind == "images":
        return {}
    return {
        "text_encoder": config.text_encoder,
        "max_length": list(config.resolved_max_length),
        **({"pooling": config.pooling} if config.pooling else {}),
        "width": config.method_settings.get("encoding_size"),
    }


def measurement(
    data: ContrastiveData, options: Mapping[str, Any]
) -> Callable[[nn.Module], dict[str, float]]:
    """A function: linear and kNN accuracy of an encoder on part of the data, on one device."""
    classes, loaders, hw = len(data.labeled.classes), plain_parts(data), one_device(options)
    return lambda encoder: measure_frozen(encoder, loaders(), classes, **hw)


def neighbors(data: ContrastiveData, options: Mapping[str, Any]) -> Callable[[nn.Module], float]:
    """A function: kNN accuracy of an encoder on the same part."""
    loaders, hw = plain_parts(data), one_device(options)
    return lambda encoder: knn_top1(*frozen_features(encoder, loaders(), **hw))


def one_device(options: Mapping[str, Any]) -> dict[str, Any]:
    return hardware.own_device(dict(options))


def plain_parts(data: ContrastiveData) -> Callable[[], tuple[PlainLoader, PlainLoader]]:
    """A function: loaders of a part of the images with labels, as they are."""
    train, val = measured_parts(data)
    return lambda: (data.plain(train), data.plain(val))


def measured_parts(data: ContrastiveData) -> list[Images]:
    """The images with labels that are measured, of both parts."""
    return [spread(images) for images in (data.labeled.train, data.labeled.val)]


def spread(images: Images) -> Images:
    """At most `MEASURED` of the labeled images, evenly spread."""
    labeled = (images.labels >= 0).nonzero()[0]
    return images.subset(labeled[:: -(-len(labeled) // MEASURED)])
