"""What a call from Python gives, as the program has it: a configuration, a data set, an encoder."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from torch import nn

from cl import checkpoints
from cl.config import Linear, configure
from cl.config.datasets import READING, kind_of
from cl.config.encoders import has_weights
from cl.config.evaluations import default, untrained
from cl.config.handed_on import by_place, inherited
from cl.data import sets
from cl.data.augment.recipe import preset
from cl.data.sets import (
    TURNED,
    Captioned,
    Decoding,
    Source,
    TextPairs,
    as_pair,
    from_texts,
    holds_texts,
)
from cl.data.tokens import tokenizer_of
from cl.eval._restore import (
    Restored,
    about_file,
    encoder_name,
    find_run,
    preparation_flags,
    qualified_name,
    restore_module,
    restore_texts,
)
from cl.eval._transform import TextTransform, Transform


@dataclass(frozen=True)
class Request:
    """An evaluation that was asked for from Python.

    Args:
        config: as checked.
        source: the data set; None is loaded by its name.
        restored: the encoder; None is restored from its file.
    """

    config: Linear
    source: Source[Any] | None
    restored: Restored | None


def request(
    encoder: Any,
    data: Any,
    evaluations: Sequence[str | Callable[..., Any]] | None,
    transform: Transform | TextTransform | None,
    flags: Mapping[str, Any],
) -> Request:
    """Check what `evaluate` was given.

    Args:
        encoder: a module, a run, its id or folder, or a file.
        data: of the evaluation.
        evaluations: their names; None leaves them to the file of `config`.
        transform: how images are prepared.
        flags: of the command line.

    Raises:
        ValueError: with all that is wrong with it.
    """
    if flags.get("transfer"):
        raise ValueError("--transfer is of the command line: call evaluate for each data set")
    of_images = transform if isinstance(transform, Transform) else None
    decoding = of_images.reads if of_images else TURNED
    source = None if isinstance(data, str) else source_of(data, flags, decoding)
    of_texts = (
        kind_of(str(data), flags.get("data_folder", Linear.data_folder)) == "text"
        if source is None
        else isinstance(source.train, TextPairs)
    )
    check_transform(encoder, transform, of_texts=of_texts)
    own_data = source is not None and source.name.partition(":")[0] not in sets.NAMES
    dataset = data if source is None else source if own_data else source.name
    values = {**flags, "dataset": dataset}
    names = named_by_file(flags) if evaluations is None else evaluations
    if evaluations is not None:
        values["eval"] = list(evaluations)
    if of_images and isinstance(data, str) and sets.dataset_row(data)["image_files"]:
        known = asdict(of_images.decoding).items()
        values = {name: x for name, x in known if x is not None} | values
    if isinstance(encoder, str) and has_weights(encoder):
        return Request(configure(Linear, values | {"encoder": encoder}), source, None)
    if not isinstance(encoder, nn.Module):
        return Request(configure(Linear, values | of_file(encoder, flags)), source, None)
    size = {} if of_images is None else {"image_size": of_images.recipe.size}
    values = size | values | {"encoder": encoder}
    if not {*names} <= {*untrained()}:  # where the weights come from
        values["pretrained_feature_extractor"] = qualified_name(encoder)
    config = configure(Linear, values)
    if of_texts:
        longest = config.max_length
        if longest is None and isinstance(transform, TextTransform):
            longest = transform.max_length or (transform.longest, transform.longest)
        return Request(config, source, restore_texts(encoder, longest))
    recipe = of_images.recipe if of_images else preset(config.dataset)
    native = recipe.size
    if of_images is None and own_data and source is not None:  # as pretraining takes them
        native = min(*source.train.pixel(0).shape[:2], native)
    recipe = recipe.changed({"size": config.image_size or native} | preparation_flags(config))
    return Request(config, source, restore_module(encoder, recipe))


def named_by_file(flags: Mapping[str, Any]) -> Sequence[str]:
    """The evaluations of the file of `config` or `verify`; the default one without a file."""
    given = {k: str(flags[k]) for k in ("config", "verify", "output") if flags.get(k)}
    return inherited(Linear, by_place(given), [], {}).get("eval", (default(),))


def check_transform(
    encoder: Any, transform: Transform | TextTransform | None, *, of_texts: bool
) -> None:
    """Refuse a transform that is not taken.

    Raises:
        ValueError: it is of the other kind of samples, the encoder is no module and says itself how
            samples are prepared, or makes other tokens.
    """
    if transform is None:
        return
    if not isinstance(encoder, nn.Module):
        raise ValueError("transform cannot be used with a file or a name, which says it itself")
    if isinstance(transform, TextTransform) != of_texts:
        kinds = "images, and the data are texts" if of_texts else "texts, and the data are images"
        raise ValueError(f"transform is one of {kinds}")
    if isinstance(transform, TextTransform):
        own = tokenizer_of(qualified_name(encoder), encoder)
        if str(own) != str(transform.tokenizer):
            raise ValueError(
                f"transform makes tokens by {transform.tokenizer}, and the encoder's are {own}"
            )


def of_file(given: Any, flags: Mapping[str, Any]) -> dict[str, Any]:
    """The flags that name the encoder of a run, by its folder or id, or of a file.

    Raises:
        ValueError: nothing says which encoder it is.
    """
    file = checkpoints.encoder_file(find_run(given, flags.get("output")), "the encoder")
    name = encoder_name(file, flags.get("encoder"), about_file(file).get("encoder"))
    return {"encoder": name, "pretrained_feature_extractor": str(file)}


def source_of(data: Any, flags: Mapping[str, Any], decoding: Decoding) -> Source[Any]:
    """The labeled images, the texts or the images with captions of a data set in memory.

    Args:
        data: see `evaluate`.
        flags: those that were given.
        decoding: how the items of a data set become pixels.

    Raises:
        ValueError: a flag is of reading one, or there are no labels.
    """
    if misplaced := [f"--{name}" for name in READING if name in flags]:
        raise ValueError(f"{', '.join(misplaced)} cannot be used with a data set in memory")
    data = as_pair(data)
    if not isinstance(data, Source) and holds_texts(data):
        return from_texts(data)
    if isinstance(getattr(data, "train", None), TextPairs | Captioned):
        return data
    if not isinstance(data, Source):
        parts = data if isinstance(data, tuple) else (data,)
        data = sets.from_dataset(*parts, decoding=decoding)
    source = replace(data, train=data.train.with_labels(), val=data.val.with_labels())
    if not (source.classes and len(source.train) and len(source.val)):
        raise ValueError(f"{source.name}: no labeled images in one of its parts")
    return source
