"""Training steps on texts and on images with captions, of which some processes have a shard each.

`tests/distributed/test_pairs.py` bounds how far they are from one process's, `docs/exactness.md`
writes it down.
"""

import inspect
from collections.abc import Callable, Iterator
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from cl import distributed
from cl.data.batch import Batch
from cl.losses import NAMES, PairwiseLoss, get_loss
from cl.methods import get_method
from cl.methods._base import Method
from cl.methods.clip import CLIP
from cl.methods.simclr import SimCLR
from cl.nets.lora import LoRA
from cl.nets.texts import Bag
from cl.nets.transformer import Transformer
from tests.distributed.exactness import Found, Step

SAMPLES = 24
SHARDS = {
    "1": [24],
    "2": [12, 12],
    "2 uneven": [17, 7],
    "3": [8, 8, 8],
    "3 uneven": [1, 16, 7],
}
PAIRWISE = ("z", "ids", "rows")
LOSSES = [
    name
    for name in NAMES
    if tuple(inspect.signature(get_loss(name)).parameters)[:3] == PAIRWISE
    and name not in ("barlow_twins", "vicreg")  # which know no ids
]
SOME = ("mnrl", "nt_xent", "dcl", "dhel", "clip", "sigmoid")  # of larger encoders
CHUNKED = ", 5 at a time"
WAYS: dict[str, dict[str, Any]] = {
    "": {},
    CHUNKED: {"mini_batch_size": 5},
    ", average": {"ema_encoder": 0.9},
}
LOCKED: dict[str, dict[str, Any]] = {", image locked": {"lock": "image"}}


class Case(NamedTuple):
    """What is trained.

    Args:
        made: the method, with options.
        batch: the samples of a slice.
        ways: options of each way to train it.
    """

    made: Callable[..., Method]
    batch: Callable[[slice], Batch]
    ways: dict[str, dict[str, Any]]


class Pixels(nn.Module):
    """A small encoder of images, without statistics of a batch."""

    num_features = 10

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(48, 10), nn.Tanh())

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


def bag() -> nn.Module:
    encoder = nn.Sequential(Bag(12, rows=64), nn.Linear(12, 8))
    encoder.num_features = 8  # pyright: ignore[reportArgumentType]
    return encoder


def transformer() -> Transformer:
    """One layer of width 12, without dropout, which would differ from process to process."""
    library = import_module("transformers")
    sizes = {"hidden_size": 12, "num_hidden_layers": 1, "num_attention_heads": 2}
    still = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    config = library.BertConfig(vocab_size=99, intermediate_size=16, **sizes, **still)
    return Transformer(library.BertModel(config), None, "mean", "drawn")


def adapted() -> LoRA:
    """Low-rank updates that change the features, as they do after the first step."""
    encoder = LoRA(transformer(), 2)
    for b in encoder.b:
        nn.init.normal_(b, std=0.3)
    return encoder


def texts(own: slice, negatives: int) -> Batch:
    """Queries, documents and hard negatives of some of 24 pairs, of which some share a document."""
    g = torch.Generator().manual_seed(0)
    labels = torch.arange(SAMPLES) % 9
    queries = torch.randint(0, 99, (1, SAMPLES, 6), generator=g)
    documents = torch.randint(0, 99, (1 + negatives, SAMPLES, 11), generator=g)
    documents[0] = documents[0, :9][labels]
    queries[:, ::3, 4:] = documents[:, 1::2, 7:] = -1
    longest = 11 if own.start % 2 else 7 + 4 * bool((documents[:, own, 7:] >= 0).any())
    views = [queries[:, own], documents[:, own, :longest]]
    return Batch(views, labels[own], torch.arange(SAMPLES)[own], 2)


def scored(own: slice) -> Batch:
    """The pairs with scores, of which some are equal, also across processes."""
    return texts(own, 0)._replace(scores=(torch.arange(SAMPLES) * 5 % 7 / 2)[own])


def captioned(own: slice) -> Batch:
    """Images and captions of some of 24 pairs, of which some have the same caption."""
    g = torch.Generator().manual_seed(0)
    labels = torch.arange(SAMPLES) % 9
    images = torch.randn(1, SAMPLES, 3, 4, 4, generator=g, dtype=torch.float64)
    captions = torch.randint(0, 99, (1, 9, 6), generator=g)[:, labels]
    captions[:, labels % 2 == 0, 4:] = -1
    return Batch([images[:, own], captions[:, own]], labels[own], torch.arange(SAMPLES)[own], 2)


def loss_of(name: str) -> PairwiseLoss:
    known = inspect.signature(get_loss(name)).parameters
    return partial(get_loss(name), temperature=0.3) if "temperature" in known else get_loss(name)


def of_texts(encoder: Callable[[], nn.Module], loss: str, **options: Any) -> Method:
    torch.manual_seed(0)
    method = SimCLR(encoder(), loss_of(loss), hidden_mlp=0, supervised=True, **options)
    return method.double()


def of_scores(name: str, **options: Any) -> Method:
    torch.manual_seed(0)
    return get_method(name)(bag(), hidden_mlp=0, **options).double()


def of_captions(text: Callable[[], nn.Module], loss: str, **options: Any) -> CLIP:
    torch.manual_seed(0)
    learn = "both" if loss == "sigmoid" else "temperature"
    how = {"text_encoder": text(), "encoding_size": 8, "learn": learn}
    return CLIP(Pixels(), loss_of(loss), **how, **options).double()


def cases() -> Iterator[tuple[str, Case]]:
    """Each encoder with the losses that it is trained by; MNRL of texts has hard negatives."""
    encoders: dict[str, Callable[[], nn.Module]] = {"bag": bag}
    if find_spec("transformers"):
        encoders |= {"transformer": transformer, "low-rank updates": adapted}
    for name in ("cosent", "angle"):
        yield f"bag, {name}, scores", Case(partial(of_scores, name), scored, WAYS)
    for name, encoder in encoders.items():
        for loss in LOSSES if encoder is bag else SOME:
            batch = partial(texts, negatives=2 if loss == "mnrl" else 0)
            yield f"{name}, {loss}", Case(partial(of_texts, encoder, loss), batch, WAYS)
        for loss in () if encoder is adapted else SOME:
            made = partial(of_captions, encoder, loss)
            yield f"images and {name}, {loss}", Case(made, captioned, WAYS | LOCKED)


def steps(sizes: list[int], rank: int) -> Found:
    """Value and gradients of each case, trained in each way, on this process's shard."""
    own, found = slice(sum(sizes[:rank]), sum(sizes[: rank + 1])), {}
    for name, case in cases():
        for way, options in case.ways.items():
            step: nn.Module = Step(case.made(**options))
            step = DistributedDataParallel(step) if len(sizes) > 1 else step
            loss = step(case.batch(own))
            loss.backward()
            value = distributed.all_reduce_sum(loss.detach()) / len(sizes)
            found[name + way] = [value, *(p.grad for p in step.parameters() if p.grad is not None)]
    return found
