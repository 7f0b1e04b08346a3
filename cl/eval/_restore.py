"""An encoder from its file, with what no tensor tells: how it is built, how images are prepared."""

import copy
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from torch import nn

from cl import checkpoints, runs
from cl.checkpoints import ENCODER, TEXT, TOWERS
from cl.checkpoints.formats import Report
from cl.config import Linear, from_json
from cl.config.encoders import (
    PIECES,
    default_length,
    has_weights,
    is_foreign,
    is_saved_pair,
    is_transformer,
    takes_texts,
)
from cl.config.evaluations import of_images
from cl.config.programs import folder_of_runs
from cl.config.schema import either
from cl.data.augment.recipe import Recipe, preset
from cl.data.sets import DECODING, DEFAULTS, TURNED, dataset_row
from cl.data.tokens import tokenizer_of
from cl.eval._transform import TextTransform, Transform
from cl.nets import encoders, texts
from cl.nets.prompts import choose_prompts, prompts_of
from cl.nets.saved_clip import read_clip
from cl.nets.towers import Towers
from cl.nets.transformer import Pooling, Transformer, from_folder

Side = Literal["image", "text", "query", "document"]
SIDES = ("query", "document")  # of texts
IMAGES_AND_TEXTS = ("image", "text")  # sides of a run on both
TOKENS = "tokens"  # what texts are prepared as
PREPARATION = ("mean", "std", "central", "interpolation")  # of images, besides their size


class Restored(NamedTuple):
    """An encoder, and where it comes from.

    Args:
        encoder: `(n c h w)` images to `(n d)` features.
        recipe: how its images are prepared; says nothing of texts.
        about: what it takes to build it again.
        file: with its weights; None where they are random, or were in memory.
        report: how the file's tensors became the encoder's.
        preparation: what says how images are prepared.
    """

    encoder: nn.Module
    recipe: Recipe
    about: dict[str, Any]
    file: Path | None = None
    report: Report | None = None
    preparation: str = "as the data set's row says"

    @property
    def named(self) -> bool:
        """Whether the encoder can be built again by its name; one of the user's own cannot."""
        return not is_foreign(self.about["encoder"])


def load_encoder(
    run_or_file: runs.Run | str | Path,
    encoder: str | nn.Module | None = None,
    *,
    dataset: str | None = None,
    image_size: int | None = None,
    side: Side | None = None,
    prompt: str | None = None,
) -> tuple[nn.Module, Transform | TextTransform]:
    """Load an encoder, and how its images or texts are prepared.

    Args:
        run_or_file: a run, its folder, or its id in the folder of runs; an `encoder.safetensors`;
            or a checkpoint of another project (docs/evaluation.md has the list); or the name of an
            encoder of texts that says where its weights are, as hf:FOLDER.
        encoder: its name, as on the command line; needed where the file does not say it. Or a
            module of your own, which gets the weights: one that was trained as an object, such as
            an `nn.Sequential`, is known by nobody else.
        dataset: whose mean and deviation the images get where the file does not say them; by
            default ImageNet's.
        image_size: side of the images in pixels; by default that of the run, or 224.
        side: `image` or `text` of a run on images and texts: the encoder gives features of both in
            the space in which they are compared, and the transform is of that side; by default it
            is the encoder of images, without the linear map to that space. `query` or `document`
            of an encoder of texts: the transform is of these, with their prompt and length, as in
            an evaluation; one whose prompts differ makes no tokens without it.
        prompt: what stands before each text, or the name of one of the encoder's prompts, in place
            of that of the side.

    Returns:
        The encoder in evaluation mode, on the CPU, and the transform from an image, or from texts,
        to what the encoder takes.

    Raises:
        ValueError: there is no such file, it is not read as data, or holds another encoder.
    """
    return load_for(run_or_file, encoder, dataset, image_size, side, prompt)


class Called(NamedTuple):
    """What the user knows two arguments of `load_encoder` as, for messages: names or flags."""

    side: str = "side"
    prompt: str = "prompt"


PYTHON = Called()


def load_for(
    run_or_file: runs.Run | str | Path,
    encoder: str | nn.Module | None,
    dataset: str | None,
    image_size: int | None,
    side: Side | None,
    prompt: str | None,
    called: Called = PYTHON,
) -> tuple[nn.Module, Transform | TextTransform]:
    """Load an encoder for a user who has another name for `side` and `prompt`, see `load_encoder`.

    Raises:
        ValueError: as there.
    """
    if side in IMAGES_AND_TEXTS:
        if prompt is not None:
            raise ValueError(f"{called.prompt} needs an encoder of texts alone")
        file = checkpoints.towers_file(find_run(run_or_file), called.side)
        restored = restore(file, encoder, dataset, image_size, pair=True)
        if side == "text":
            name, text = restored.about["text_encoder"], restored.encoder.get_submodule("text")
            of_texts = TextTransform(tokenizer_of(name, text), restored.about["max_length"][0])
            return restored.encoder.eval(), of_texts
    elif isinstance(run_or_file, str) and has_weights(run_or_file):
        restored = restore(None, run_or_file)
    else:
        file = checkpoints.encoder_file(find_run(run_or_file), "the encoder")
        restored = restore(file, encoder, dataset, image_size)
    if restored.preparation == TOKENS:
        name, longest = restored.about["encoder"], restored.about["max_length"]
        found = transform_of_texts(restored.encoder, name, longest, side, prompt, called)
        return restored.encoder.eval(), found
    if side in SIDES or prompt is not None:
        sides = f"{called.side} {either(SIDES)}"
        raise ValueError(f"{sides}, and {called.prompt}, need an encoder of texts")
    if side is not None and side not in IMAGES_AND_TEXTS:
        file = restored.file
        of_both = file is not None and (
            file.with_name(TOWERS).exists() or "text_encoder" in about_file(file)
        )
        there = either(IMAGES_AND_TEXTS) if of_both else "None, of an encoder of images alone"
        raise ValueError(f"side must be {there}, not {side!r}")
    how = replace(TURNED, **decoding(restored.about))  # what it is given is the user's own
    return restored.encoder.eval(), Transform(restored.recipe, how)


def transform_of_texts(
    encoder: nn.Module,
    name: str,
    max_length: Sequence[int],
    side: str | None,
    prompt: str | None,
    called: Called = PYTHON,
) -> TextTransform:
    """How an encoder's texts become tokens.

    Args:
        encoder: of texts.
        name: its own.
        max_length: tokens of a query and of a document.
        side: see `load_encoder`.
        prompt: see there.
        called: both are, for messages.

    Raises:
        ValueError: the encoder has no prompts, or no such side.
    """
    if side in IMAGES_AND_TEXTS:
        raise ValueError(f"{called.side} {side} needs a run on images and texts")
    if side not in (None, *SIDES):
        raise ValueError(f"side must be {either(SIDES)} of an encoder of texts, not {side!r}")
    if not isinstance(prompt, str | None):
        raise ValueError(f"prompt must be a text, not {prompt!r}")
    query, document = max_length
    at = 0 if side is None else SIDES.index(side)
    if isinstance(encoder, Transformer):
        settings = encoder.settings
        if prompt is not None:
            prompt = choose_prompts(settings, (prompt, ""))[0]
        elif side is not None:
            prompt = choose_prompts(settings, (None, None))[at]
    elif prompt is not None:
        raise ValueError(
            f"{called.prompt} {prompt!r} needs a transformer; the texts that {name} gets must "
            "begin with it themselves"
        )
    tokenizer = tokenizer_of(name, encoder, prompt=prompt)
    if side is not None:
        return TextTransform(tokenizer, max_length[at])
    return TextTransform(tokenizer, max(query, document), (query, document))


def find_run(given: runs.Run | str | Path, output: str | Path | None = None) -> Path:
    """The folder of a run, or of one that is called by its id, or the path itself.

    Args:
        given: a run, its folder or its id; or a file.
        output: folder of runs that is looked into before the usual one.
    """
    if isinstance(given, runs.Run):
        return given.folder
    path = Path(given)
    known = (folder_of_runs(place) / path for place in (output, None))
    return path if path.exists() else next((run for run in known if run.is_dir()), path)


def restore(
    file: Path | None,
    given: str | nn.Module | None = None,
    dataset: str | None = None,
    image_size: int | None = None,
    preparation: Mapping[str, Any] | None = None,
    longest: tuple[int, int] | None = None,
    pooling: Pooling | None = None,
    kind: str | None = None,
    *,
    pair: bool = False,
) -> Restored:
    """Restore an encoder.

    Args:
        file: with its weights; None leaves them random.
        given: the encoder, or its name; None takes the name that the file says.
        dataset: whose recipe prepares the images where there is no file.
        image_size: side of the images in pixels; by default the file's, timm's, or the data set's.
        preparation: mean, std, central part and interpolation, in place of those of the weights.
        longest: tokens of a query and of a document that an encoder of texts gets, in place of the
            file's or the encoder's own.
        pooling: of a transformer, in place of its folder's.
        kind: of the samples, which says what an encoder of the user's own takes; None is what the
            file says that it was trained on.
        pair: the encoder of images together with that of texts, as `Towers` or `SavedCLIP`.

    Raises:
        ValueError: the weights are another encoder's, or nothing says whose they are.
    """
    about = about_file(file) if file else {}
    name = encoder_name(file, given, about.get("encoder"))
    if pair and is_saved_pair(name) and file is None:
        return restore_clip(name, longest)
    of_texts = "max_length" in about and "image_size" not in about
    if takes_texts(name) or (is_foreign(name) and (of_texts if kind is None else kind == "text")):
        create = partial(text_encoder, name, file, about, pooling)
        encoder, report, _ = load_fitting(file, given, [0], create)
        used = lengths(encoder, name, longest or tuple(about.get("max_length") or ()))
        own = {"encoder": name, "max_length": list(used), "dataset": dataset}
        if isinstance(encoder, Transformer) and about:  # a run without a word used the default one
            encoder.use_prompts(*(about.get("prompts") or encoder.prompts))
        return Restored(encoder, Recipe(size=0), own, file, report, TOKENS)
    recipe = preset(dataset) if dataset else Recipe(size=DEFAULTS["size"])
    known: int | None = about.get("image_size")
    sizes: list[int] = [known or image_size or recipe.size]
    timms = (
        {} if file is None or about or isinstance(given, nn.Module) else timm_configuration(name)
    )
    if timms and not image_size:  # a file fits a ResNet of one size alone where its stem tells
        sizes = [*dict.fromkeys((timms["size"], recipe.size))]
    norm = about.get("norm", "batch")
    channels = len(about.get("mean", recipe.mean))
    stem = about.get("stem")
    create = partial(encoders.create, name, norm=norm, channels=channels, stem=stem)
    if pair:
        create = partial(towers_of, create, file, about)
    encoder, report, size = load_fitting(file, given, sizes, create)
    prepared, said_by = of_weights(
        file, about, timms, report, small=encoders.has_small_stem(size, stem)
    )
    if "." in name and timms and prepared.get("central") == timms["central"]:
        said_by = f"timm's configuration of {name}"
    recipe = recipe.changed({"size": image_size or size} | prepared | dict(preparation or {}))
    said_by += ", changed by flags" if preparation else ""
    own = {"encoder": name, "norm": norm, "image_size": size} | ({"stem": stem} if stem else {})
    own |= {k: getattr(recipe, k) for k in PREPARATION} | {"dataset": dataset} | decoding(about)
    built = {key: getattr(report, key, None) for key in ("padding", "epsilon")}
    own |= {key: value for key, value in built.items() if value is not None}
    if pair:
        own |= {"text_encoder": about["text_encoder"]}
        own["max_length"] = list(longest or about["max_length"])
        text = encoder.get_submodule("text")
        if isinstance(text, Transformer):  # a text is a query
            text.check_length(f"--text_encoder {about['text_encoder']}", own["max_length"][:1] * 2)
    return Restored(encoder, recipe, own, file, report, said_by)


def restore_clip(name: str, longest: tuple[int, int] | None) -> Restored:
    """A CLIP that transformers has saved, see `restore`; its folder says how images are prepared.

    Raises:
        ValueError: it has fewer positions than tokens are used.
    """
    clip = read_clip(name)
    used = longest or (clip.longest, clip.longest)
    if used[0] > clip.longest:
        raise ValueError(f"--max_length {used[0]}: ENCODER {name} has {clip.longest} positions")
    about = {"encoder": name, "text_encoder": name, "max_length": list(used)}
    return Restored(clip, Recipe(size=0), about, preparation="as the encoder's folder says")


def towers_of(
    create: Callable[..., nn.Module], file: Path | None, about: Mapping[str, Any], **how: Any
) -> Towers:
    """Both encoders of a run on images and texts, for its weights.

    Args:
        create: makes the encoder of images.
        file: of the weights.
        about: what the file, or its run, says of them.
        how: `create` is called.

    Raises:
        ValueError: the file is of no such run.
    """
    if "text_encoder" not in about:
        raise ValueError(
            f"{file or 'the encoder'} has no encoder of texts; the folder of a run of --method "
            "clip has one, or ENCODER hf:FOLDER of a CLIP that transformers has saved"
        )
    if is_foreign(about["text_encoder"]):
        raise ValueError(
            f"{file} names {about['text_encoder']} as its encoder of texts: code is not imported "
            "because a file names it"
        )
    text = text_encoder(about["text_encoder"], file, about, None)
    size = how["image_size"]
    example = torch.zeros(2, len(about.get("mean", "rgb")), size, size)
    return Towers(create(**how), text, about["width"], example=example)


def text_encoder(
    name: str, file: Path | None, about: Mapping[str, Any], pooling: Pooling | None, **_: Any
) -> nn.Module:
    """An encoder of texts for the weights of a file; without one, with those of its own folder.

    Args:
        name: the encoder's.
        file: of the weights. The folder beside it says how a transformer is built, wherever the
            one is by now that the training started from.
        about: what the file, or its run, says of it.
        pooling: in place of the folder's.
    """
    if is_foreign(name):
        return encoders.import_encoder(name)
    beside = file.with_name(TEXT) if file else None
    if is_transformer(name) and beside is not None and beside.is_dir():
        return from_folder(beside, f"ENCODER {name}", pooling, pretrained=False)
    how = pooling or about.get("pooling")
    return texts.encoder_of(name, pooling=how, pretrained=file is None)


def load_fitting(
    file: Path | None,
    given: str | nn.Module | None,
    sizes: Sequence[int],
    create: Callable[..., nn.Module],
) -> tuple[nn.Module, Report | None, int]:
    """The encoder of the first size at which the file fits, its report, and that size.

    Args:
        file: of the weights; None keeps random ones.
        given: the encoder, if it is a module.
        sizes: of images that it may be built for.
        create: makes the encoder for a size.

    Raises:
        ValueError: the file fits at none of the sizes.
    """
    for size in sizes:
        own = isinstance(given, nn.Module)
        encoder = given if own else create(image_size=size, weights_follow=file is not None)
        try:
            return encoder, checkpoints.load_weights(encoder, file) if file else None, size
        except ValueError:
            if size == sizes[-1]:
                raise
    raise ValueError("there is no size for which the encoder could be built")


def preparation_flags(config: Linear) -> dict[str, Any]:
    """What the flags say of how images are prepared, besides their size."""
    given = {name: getattr(config, name) for name in PREPARATION}
    return {name: value for name, value in given.items() if value is not None}


def decoding(about: Mapping[str, Any]) -> dict[str, Any]:
    """What a file of ours says of how image files become pixels, as flags."""
    found = {name: about[name] for name in DECODING if about.get(name) is not None}
    return {name: tuple(x) if isinstance(x, list) else x for name, x in found.items()}


def decoded_as_trained(config: Linear, file: Path | None) -> Linear:
    """Read image files as those were that an encoder was trained on, where no flag says otherwise.

    Args:
        config: of the evaluation.
        file: with the encoder's weights, if there is one.
    """
    row = dataset_row(config.dataset)
    if file is None or not row["image_files"]:
        return config
    known = decoding(about_file(file))
    other = {k: x for k, x in known.items() if getattr(config, k) is None and x != row.get(k)}
    return replace(config, **other)


def timm_configuration(name: str) -> dict[str, Any]:
    """How timm prepares the images of a model: its tag's, or its first weights'; else nothing."""
    import timm  # a second, and not for ours

    found = None if ":" in name or not timm.is_model(name) else timm.get_pretrained_cfg(name)
    if found is None:
        return {}
    return {
        "size": found.input_size[-1],
        "mean": tuple(found.mean),
        "std": tuple(found.std),
        "central": found.crop_pct,
        "interpolation": "bicubic" if found.interpolation == "bicubic" else "bilinear",
        "tag": found.tag,
    }


def of_weights(
    file: Path | None,
    about: Mapping[str, Any],
    timms: Mapping[str, Any],
    report: Report | None,
    *,
    small: bool,
) -> tuple[dict[str, Any], str]:
    """What the weights say of the preparation of images, and where it is from.

    Args:
        file: of the weights.
        about: what a file of ours says.
        timms: see `timm_configuration`.
        report: how the file's tensors became the encoder's.
        small: the encoder is built for small images, as none of timm's weights is.
    """
    if file is None or about:
        prepared = {name: about[name] for name in PREPARATION if about.get(name) is not None}
        if "text_encoder" in about:  # of captions, whose preset has not always been bicubic
            prepared = {"central": None, "interpolation": "bilinear"} | prepared
        prepared |= {name: tuple(prepared[name]) for name in ("mean", "std") if name in prepared}
        return prepared, "as the file of weights says" if prepared else "as the data set's row says"
    if timms and not small and report is not None and report.layout == "plain":
        prepared = {name: value for name, value in timms.items() if name not in ("size", "tag")}
        return (
            prepared,
            f"a guess: timm's configuration of {timms['tag']}; --mean, --std, ... change it",
        )
    prepared = {"mean": DEFAULTS["mean"], "std": DEFAULTS["std"]}
    return (
        prepared,
        "a guess: ImageNet's, since the file does not say it; --mean, --std, ... change it",
    )


def encoder_name(file: Path | None, given: str | nn.Module | None, said: str | None) -> str:
    """The name of the encoder that is restored.

    Code is not imported because a file names it: an encoder from outside of this package must be
    given.

    Raises:
        ValueError: nothing says which encoder it is, or the file holds another one.
    """
    if isinstance(given, nn.Module):
        return qualified_name(given)
    if given is None and said is None:
        raise ValueError(f"{file} does not say whose weights it holds; give the encoder's name.")
    if given is None and said is not None and is_foreign(said):
        raise ValueError(
            f"{file} holds the weights of {said}, which is not an encoder of this package; give "
            "the encoder: a module that takes the weights, or this name if it needs no arguments."
        )
    if given is not None and said not in (None, given):
        raise ValueError(f"ENCODER {given}: {file} holds the weights of {said}")
    return given or said or ""


def restore_module(encoder: nn.Module, recipe: Recipe) -> Restored:
    """An encoder that is in memory: a copy, so that whatever trains leaves the original alone.

    Raises:
        ValueError: a weight is NaN or infinite.
    """
    checkpoints.check_finite(encoder.state_dict(), "the encoder")
    about = {"encoder": qualified_name(encoder), "image_size": recipe.size}
    about |= {"mean": list(recipe.mean), "std": list(recipe.std)}
    return Restored(copy.deepcopy(encoder).cpu(), recipe, about)


def restore_texts(encoder: nn.Module, longest: tuple[int, int] | None) -> Restored:
    """An encoder of texts that is in memory, a copy of it, see `restore_module`.

    Args:
        encoder: takes tokens.
        longest: tokens of a query and of a document that it gets; None is its own.

    Raises:
        ValueError: a weight is NaN or infinite, or there are no positions for as many tokens.
    """
    checkpoints.check_finite(encoder.state_dict(), "the encoder")
    name = qualified_name(encoder)
    about = {"encoder": name, "max_length": list(lengths(encoder, name, longest))}
    return Restored(copy.deepcopy(encoder).cpu(), Recipe(size=0), about, preparation=TOKENS)


def lengths(encoder: nn.Module, name: str, longest: tuple[int, ...] | None) -> tuple[int, ...]:
    """Tokens of a query and of a document that an encoder gets.

    Args:
        encoder: of texts.
        name: its own, for messages.
        longest: what is asked for; None is its own.

    Raises:
        ValueError: there are no positions for as many.
    """
    if isinstance(encoder, Transformer) and longest:
        encoder.check_length(f"ENCODER {name}", longest)
    if longest:
        return longest
    if isinstance(encoder, Transformer):
        return encoder.lengths(PIECES)
    most = getattr(encoder, "longest", None)
    return tuple(min(each, most or each) for each in default_length(name))


def qualified_name(thing: object) -> str:
    """Where the type of an object is defined.

    >>> qualified_name(nn.ReLU())
    'torch.nn.modules.activation:ReLU'
    """
    return f"{type(thing).__module__}:{type(thing).__qualname__}"


def about_file(file: Path) -> dict[str, Any]:
    """What it takes to build the encoder of a file, by the file or the run around it."""
    return about_run(file) or checkpoints.about_encoder(file)


def about_run(file: Path) -> dict[str, Any]:
    """What it takes to build the encoder of a run's .ckpt, by the configuration beside it."""
    config = file.with_name(runs.CONFIG)
    if file.suffix != ".ckpt" or not config.exists():
        return {}
    try:
        run = from_json(config.read_text())
        # That of a data set in memory is in no file, but texts have no recipes.
        recipes = [] if isinstance(run, Linear) else recipes_in(config)
    except (ValueError, LookupError, TypeError) as error:
        raise ValueError(f"{config}, which says what {file} holds: {error!r}") from error
    if isinstance(run, Linear):
        return about_evaluation(run, file)
    if not recipes:
        own = {"encoder": run.encoder, "max_length": list(run.resolved_max_length)}
        prompts = prompts_of(run.query_prompt, run.document_prompt)
        own |= {"prompts": list(prompts)} if prompts else {}
        return own | {"pooling": run.pooling}
    own = {"encoder": run.encoder, "norm": run.norm, "image_size": run.resolved_image_size}
    own |= {"stem": run.stem} if run.stem else {}
    about = {name: recipes[0].get(name) for name in PREPARATION}
    if run.kind == "image-text":
        own |= {"text_encoder": run.text_encoder, "max_length": list(run.resolved_max_length)}
        own |= {"width": run.method_settings["encoding_size"], "pooling": run.pooling}
    return own | {name: getattr(run, name) for name in DECODING} | about


def recipes_in(config: Path) -> list[dict[str, Any]]:
    """The recipes of a pretraining's images, as its config.json has them; none of texts."""
    return json.loads(config.read_text())["derived"]["recipes"]


def about_evaluation(run: Linear, file: Path) -> dict[str, Any]:
    """The same of an evaluation's, of which only one that learns from images trains an encoder.

    Raises:
        ValueError: there is none in it, or not as one.
    """
    flag, beside = f"--pretrained_feature_extractor {file}", file.with_name(ENCODER)
    if not of_images(run.eval):
        kinds = " ".join(run.eval)
        raise ValueError(f"{flag} holds the classifier of --eval {kinds}; give an encoder.")
    if getattr(run, "lora_rank", None) is not None:
        raise ValueError(f"{flag} holds the parts of --lora_rank; give their sum, {beside}.")
    if not beside.exists():
        raise ValueError(f"{flag} needs its {ENCODER} beside it, which says how it is built.")
    return checkpoints.about_encoder(beside)
