"""Features from Python: of any images, by any encoder."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from cl import hardware
from cl.config import Linear
from cl.config.schema import options_of
from cl.data.batch import Batch
from cl.data.distinct import distinct
from cl.data.loaders.texts import TextLoader
from cl.data.module import PlainLoader
from cl.data.sets import Images, Source, TextPairs, holds_texts
from cl.data.tokens import tokenize
from cl.eval._features import at_all_places, feature_batches
from cl.eval._restore import Side, lengths, load_encoder, qualified_name, transform_of_texts
from cl.eval._result import Features
from cl.eval._transform import TextTransform, Transform
from cl.nets.encoders import in_single
from cl.nets.layers import Layers
from cl.runs import Run

THREADS = 4  # that decode and prepare
NOTHING = "there are no images to embed, and no texts"
FeaturePrecision = Literal["auto", "16", "bf16", "32"]  # features are float32: 64 says no more


def embed(
    encoder: nn.Module | Run | str | Path,
    data: Any,
    *,
    transform: Transform | TextTransform | None = None,
    layer: Sequence[str] = (),
    batch_size: int = 256,
    device: str | torch.device | None = None,
    precision: FeaturePrecision = "32",
    side: Side | None = None,
    prompt: str | None = None,
) -> Features:
    """Extract the features of images or texts, as `evaluate` does: bit for bit in its precision.

    Args:
        encoder: `(n c h w)` images, or `(n l)` tokens of texts, to `(n d)` features; it runs in
            evaluation mode and is left as it was; or a run, its folder, id or file, see
            `load_encoder`, whose transform prepares what no other one does.
        data: one part of a `Source`; or a torch `Dataset`, an array `(n h w 3)` or a tensor
            `(n 3 h w)` of images, with or without labels: an item is an image or (image, label); or
            a `DataLoader` of prepared batches. Or texts, such as a list of `str`, likewise.
        transform: prepares each sample, see `load_encoder`. Without one images are taken as they
            are: tensors of one size that their own data set has prepared; and of texts the encoder
            says how tokens are made, of which a transformer gets 256, others 1024.
        layer: features of these layers of an encoder of images, named as `--layer` does.
        batch_size: samples that the encoder gets at a time.
        device: where the encoder runs; by default where its weights are.
        precision: of the encoder's arithmetic, as `--precision` has it; "auto" is what `evaluate`
            takes by default, bf16 where the hardware computes it.
        side: `query` or `document`: what texts are, for their prompt and length; of a run on images
            and texts `image` or `text`, see `load_encoder`. A transform says it itself.
        prompt: what stands before each text, or the name of one of the encoder's prompts, in place
            of that of the side.

    Returns:
        Features `(n d)` in float32 and labels `(n)`, -1 where there are none, on the CPU.

    Raises:
        ValueError: there are no samples or no such layer, or nothing says how they are prepared.
    """
    if isinstance(data, TextPairs):
        raise ValueError("a part has texts on two sides: embed its .queries or its .documents")
    texts = holds_texts([*data] if isinstance(data, tuple) else data)
    check_side(side, prompt, transform, of_texts=texts or not isinstance(encoder, nn.Module))
    if not isinstance(encoder, nn.Module):
        encoder, own = load_encoder(encoder, side=side, prompt=prompt)
        transform = own if transform is None and not isinstance(data, DataLoader) else transform
    elif texts and transform is None:
        transform = text_transform(encoder, side, prompt)
    encoder = in_single(encoder)
    features_of = choose_layers(encoder, layer, texts=texts)
    where = placed(device_of(encoder, device), precision)
    if texts:
        return embed_texts(features_of, texts_and_labels(data), transform, batch_size, where)
    batches = batches_of_images(data, transform, batch_size)
    every = [*feature_batches(features_of, batches, **where)]
    if not every:
        raise ValueError(NOTHING)
    h, labels, _ = (torch.cat(each) for each in zip(*every, strict=True))
    return h, labels


def check_side(side: str | None, prompt: str | None, transform: object, *, of_texts: bool) -> None:
    """Check that there is a use for what texts are, see `embed`.

    Raises:
        ValueError: there is none.
    """
    if side is None and prompt is None:
        return
    if transform is not None:
        raise ValueError("side and prompt cannot be used with a transform, which says it itself")
    if not of_texts:
        raise ValueError("side and prompt need texts, or a run in place of a module")


def batches_of_images(
    data: Any, transform: Transform | TextTransform | None, batch_size: int
) -> Iterable[Batch]:
    """Images in their order, prepared, see `embed`.

    Raises:
        ValueError: they are no images of one part, or nothing says how they are prepared.
    """
    if isinstance(transform, TextTransform):
        raise ValueError("the encoder takes texts, and the data are none")
    if isinstance(data, Images):
        if transform is None:
            raise ValueError("transform is missing: load_encoder returns that of an encoder")
        return PlainLoader(data, transform.recipe, batch_size, THREADS)
    if isinstance(data, Source):
        raise ValueError(f"{data.name} has two parts: embed its .train or its .val")
    if isinstance(data, DataLoader):
        if transform is not None:
            raise ValueError("transform cannot be used with a DataLoader, whose batches are ready")
        return map(one_view, data)
    return batches_of_items(data, transform, batch_size)


def choose_layers(encoder: nn.Module, layer: Sequence[str], *, texts: bool) -> nn.Module:
    """What gives the features: the encoder, or layers of it.

    Args:
        encoder: of images, or of texts.
        layer: see `embed`.
        texts: it takes texts.

    Raises:
        ValueError: it has no such layers.
    """
    chosen = options_of(Linear)["layer"].check(layer)
    if chosen and texts:
        raise ValueError("--layer needs an encoder of images, and this one takes texts")
    return Layers(encoder, chosen) if chosen else encoder


def texts_and_labels(data: Any) -> list[tuple[str, int]]:
    """The texts of a list or data set, each with its label, -1 where it has none.

    Raises:
        ValueError: an item is neither a text nor (text, label), or there is none.
    """
    pairs = [item if isinstance(item, tuple | list) else (item, -1) for item in data]
    for at, (text, label, *_) in enumerate(pairs):
        if not isinstance(text, str) or isinstance(label, str):
            raise ValueError(f"item {at} is no text and no (text, label); embed one side of pairs")
    if not pairs:
        raise ValueError(NOTHING)
    return [(text, int(label)) for text, label, *_ in pairs]


def embed_texts(
    encoder: nn.Module,
    given: Sequence[tuple[str, int]],
    how: Transform | TextTransform | None,
    batch_size: int,
    where: Mapping[str, Any],
) -> Features:
    """Features of texts in their order, of which equal ones are encoded once.

    Args:
        encoder: of texts.
        given: each with its label.
        how: their tokens are made.
        batch_size: texts that the encoder gets at a time.
        where: device and precision, see `placed`.

    Raises:
        ValueError: it is the transform of images.
    """
    if not isinstance(how, TextTransform):
        raise ValueError("transform is one of images, and the data are texts")
    each = distinct([text for text, _ in given])
    what = each.describe("given texts")
    tokens = tokenize(each.texts, how.tokenizer, how.longest, what, "")
    loader = TextLoader([tokens], batch_size, by_length=True, places=each.first)
    out = None
    for h, _, places in at_all_places(feature_batches(encoder, loader, **where), each):
        out = h.new_empty(len(given), h.shape[1]) if out is None else out
        out[places] = h
    assert out is not None
    return out, torch.tensor([label for _, label in given])


def text_transform(
    encoder: nn.Module, side: str | None = None, prompt: str | None = None
) -> TextTransform:
    """What an encoder of texts itself says of how they are prepared, see `embed`."""
    name = qualified_name(encoder)
    return transform_of_texts(encoder, name, lengths(encoder, name, None), side, prompt)


def batches_of_items(data: Any, transform: Transform | None, batch_size: int) -> Iterator[Batch]:
    """The items of a map-style data set or an array in its order, prepared."""
    for start in range(0, len(data), batch_size):
        items = [data[i] for i in range(start, min(start + batch_size, len(data)))]
        pairs = [item if isinstance(item, tuple | list) else (item, -1) for item in items]
        images = [prepared_item(pair[0], transform) for pair in pairs]
        yield one_view((torch.stack(images), torch.tensor([int(pair[1]) for pair in pairs])))


def prepared_item(image: Any, transform: Transform | None) -> Tensor:
    """An image as the encoder takes it.

    Raises:
        ValueError: it is not prepared, and nothing says how to.
    """
    if transform is not None:
        return transform(image)
    if isinstance(image, Tensor) and image.is_floating_point():
        return image
    raise ValueError(
        f"transform is missing: an item is a {type(image).__name__}, not a prepared tensor of "
        "floats; load_encoder returns the transform of an encoder"
    )


def one_view(found: Any) -> Batch:
    """What a DataLoader gives, as a batch of one view: images `(n 3 h w)`, or (images, labels).

    Raises:
        ValueError: it is neither.
    """
    if isinstance(found, Batch):
        return found
    images, labels = found[:2] if isinstance(found, tuple | list) and found[1:] else (found, None)
    if not isinstance(images, Tensor):
        raise ValueError(f"a batch holds a {type(images).__name__}, not a tensor of images")
    labels = torch.full((len(images),), -1) if labels is None else torch.as_tensor(labels)
    return Batch([images[None]], labels.long(), torch.arange(len(images)))


def device_of(
    encoder: nn.Module, given: str | torch.device | None, flag: str = "device"
) -> torch.device:
    """The device that was given, or that of the encoder's weights.

    Raises:
        ValueError: there is no such device.
    """
    if given is not None:
        try:
            return torch.empty(0, device=given).device
        except (RuntimeError, AssertionError):  # the latter in a build without CUDA
            there = f", cuda or cuda:0 to cuda:{torch.cuda.device_count() - 1}"
            here = f"cpu{there if torch.cuda.device_count() else ''}"
            raise ValueError(f"{flag} {given}: this machine has {here}") from None
    tensors = (*encoder.parameters(), *encoder.buffers())
    return tensors[0].device if tensors else torch.device("cpu")


def placed(device: torch.device, precision: FeaturePrecision) -> dict[str, Any]:
    """A device and a precision as Lightning's Fabric takes them."""
    gpu = device.type == "cuda"
    said = {"precision": hardware.precision(precision, gpu)}
    if not gpu:
        return said | {"accelerator": device.type, "devices": 1}
    return said | {"accelerator": "gpu", "devices": [device.index or 0]}
