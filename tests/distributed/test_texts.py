"""Texts on one process and on several: the same loss and gradient, documents shared or not."""

import inspect
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from cl import distributed
from cl.data.batch import Batch
from cl.losses import NAMES, get_loss
from cl.methods._base import Method
from cl.methods.simclr import SimCLR
from cl.nets.lora import LoRA
from cl.nets.texts import Bag
from cl.nets.transformer import Transformer
from tests.distributed.exactness import Step, error

SHARDS = {"1": [24], "2 uneven": [17, 7], "3 uneven": [1, 16, 7]}
PAIRWISE = ("z", "ids", "rows")
LOSSES = [
    name
    for name in NAMES
    if tuple(inspect.signature(get_loss(name)).parameters)[:3] == PAIRWISE
    and name not in ("barlow_twins", "vicreg")  # which know no ids
]
WAYS = {"": {}, ", 5 at a time": {"mini_batch_size": 5}, ", average": {"ema_encoder": 0.9}}


def batch(own: slice, negatives: int) -> Batch:
    """Queries, documents and hard negatives of some of 24 pairs, of which some share a document."""
    g = torch.Generator().manual_seed(0)
    labels = torch.arange(24) % 9
    queries = torch.randint(0, 99, (1, 24, 6), generator=g)
    documents = torch.randint(0, 99, (1 + negatives, 24, 11), generator=g)
    documents[0] = documents[0, :9][labels]
    queries[:, ::3, 4:] = documents[:, 1::2, 7:] = -1
    longest = 11 if own.start % 2 else 7 + 4 * bool((documents[:, own, 7:] >= 0).any())
    views = [queries[:, own], documents[:, own, :longest]]
    return Batch(views, labels[own], torch.arange(24)[own], 2)


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


TRANSFORMERS = {"transformer": transformer, "lora": adapted} if find_spec("transformers") else {}


HARD = ("mnrl", *TRANSFORMERS)  # trained with hard negatives


def made(name: str, dtype: torch.dtype, **options: object) -> Method:
    torch.manual_seed(0)
    if name in TRANSFORMERS:
        encoder, name = TRANSFORMERS[name](), "mnrl"
    else:
        encoder = nn.Sequential(Bag(12, rows=64), nn.Linear(12, 8))
        encoder.num_features = 8  # pyright: ignore[reportArgumentType]
    loss = partial(get_loss(name), temperature=0.3) if has_temperature(name) else get_loss(name)
    return SimCLR(encoder, loss, hidden_mlp=0, supervised=True, **options).to(dtype)


def has_temperature(name: str) -> bool:
    return "temperature" in inspect.signature(get_loss(name)).parameters


def steps(sizes: list[int], rank: int) -> dict[str, list[Tensor]]:
    """Value and gradients of each loss on this process's shard."""
    own, found = slice(sum(sizes[:rank]), sum(sizes[: rank + 1])), {}
    for name in (*LOSSES, *TRANSFORMERS):
        for way, options in WAYS.items():
            step: nn.Module = Step(made(name, torch.float64, **options))
            step = DistributedDataParallel(step) if len(sizes) > 1 else step
            loss = step(batch(own, 2 if name in HARD else 0))
            loss.backward()
            value = distributed.all_reduce_sum(loss.detach()) / len(sizes)
            found[name + way] = [value, *(p.grad for p in step.parameters() if p.grad is not None)]
    return found


def work(rank: int, sizes: list[int], file: Path) -> None:
    torch.set_num_threads(1)
    if len(sizes) > 1:
        store = dist.FileStore(str(file.with_suffix(".store")), len(sizes))
        dist.init_process_group("gloo", store=store, rank=rank, world_size=len(sizes))
    found = steps(sizes, rank)
    if rank == 0:
        torch.save(found, file)
    if len(sizes) > 1:
        dist.destroy_process_group()


@pytest.mark.parametrize("shards", [pytest.param("2 uneven", marks=pytest.mark.slow), "3 uneven"])
def test_value_and_gradient_are_those_of_one_process(shards: str, tmp_path: Path) -> None:
    one = steps(SHARDS["1"], 0)
    mp.spawn(work, (SHARDS[shards], tmp_path / "found.pt"), nprocs=len(SHARDS[shards]))
    many = torch.load(tmp_path / "found.pt", weights_only=True)
    wrong = {k: error(many[k], one[k]) for k in one if max(error(many[k], one[k])) > 1e-10}
    assert not wrong
    assert len(one) == (len(LOSSES) + len(TRANSFORMERS)) * len(WAYS)


def test_a_chunked_batch_has_the_gradient_of_the_whole() -> None:
    found = steps(SHARDS["1"], 0)
    for name in (*LOSSES, *TRANSFORMERS):
        assert max(error(found[f"{name}, 5 at a time"], found[name])) <= 1e-12
