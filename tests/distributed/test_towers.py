"""Images with captions on one process and on several: the same loss and gradient."""

from functools import partial
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from cl import distributed
from cl.data.batch import Batch
from cl.losses import get_loss
from cl.methods.clip import CLIP
from cl.nets.texts import Bag
from tests.distributed.exactness import Step, error

SHARDS = {"1": [24], "2 uneven": [17, 7], "3 uneven": [1, 16, 7]}
LOSSES = {"clip": "temperature", "sigmoid": "both"}
WAYS = {"": {}, ", 5 at a time": {"mini_batch_size": 5}, ", locked": {"lock": "image"}}


class Pixels(nn.Module):
    """A small encoder of images, without statistics of a batch."""

    num_features = 10

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(48, 10), nn.Tanh())

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


def batch(own: slice) -> Batch:
    """Images and captions of some of 24 pairs, of which some have the same caption."""
    g = torch.Generator().manual_seed(0)
    labels = torch.arange(24) % 9
    images = torch.randn(1, 24, 3, 4, 4, generator=g, dtype=torch.float64)
    captions = torch.randint(0, 99, (1, 9, 6), generator=g)[:, labels]
    captions[:, labels % 2 == 0, 4:] = -1
    return Batch([images[:, own], captions[:, own]], labels[own], torch.arange(24)[own], 2)


def made(name: str, **options: object) -> CLIP:
    torch.manual_seed(0)
    text = Bag(12, rows=64)
    loss = partial(get_loss(name), temperature=0.3)
    how = {"text_encoder": text, "encoding_size": 8, "learn": LOSSES[name]}
    return CLIP(Pixels(), loss, **how, **options).double()


def steps(sizes: list[int], rank: int) -> dict[str, list[Tensor]]:
    """Value and gradients of each loss on this process's shard."""
    own, found = slice(sum(sizes[:rank]), sum(sizes[: rank + 1])), {}
    for name in LOSSES:
        for way, options in WAYS.items():
            step: nn.Module = Step(made(name, **options))
            step = DistributedDataParallel(step) if len(sizes) > 1 else step
            loss = step(batch(own))
            loss.backward()
            value = distributed.all_reduce_sum(loss.detach()) / len(sizes)
            found[name + way] = [value, *(p.grad for p in step.parameters() if p.grad is not None)]
    return found


def work(rank: int, sizes: list[int], file: Path) -> None:
    torch.set_num_threads(1)
    store = dist.FileStore(str(file.with_suffix(".store")), len(sizes))
    dist.init_process_group("gloo", store=store, rank=rank, world_size=len(sizes))
    found = steps(sizes, rank)
    if rank == 0:
        torch.save(found, file)
    dist.destroy_process_group()


@pytest.mark.parametrize("shards", ["2 uneven", "3 uneven"])
def test_value_and_gradient_are_those_of_one_process(shards: str, tmp_path: Path) -> None:
    one = steps(SHARDS["1"], 0)
    mp.spawn(work, (SHARDS[shards], tmp_path / "found.pt"), nprocs=len(SHARDS[shards]))
    many = torch.load(tmp_path / "found.pt", weights_only=True)
    wrong = {k: error(many[k], one[k]) for k in one if max(error(many[k], one[k])) > 1e-10}
    assert not wrong
    assert len(one) == len(LOSSES) * len(WAYS)


def test_a_chunked_batch_has_the_gradient_of_the_whole() -> None:
    found = steps(SHARDS["1"], 0)
    for name in LOSSES:
        assert max(error(found[f"{name}, 5 at a time"], found[name])) <= 1e-12


def test_the_value_is_that_of_plain_loops() -> None:
    """CLIP's: an anchor's positives are all embeddings of its caption's pairs but itself."""
    whole, method = batch(slice(0, 24)), made("clip")
    h = method.embed(whole.views)
    scale = 1 / method.learnable.values()["temperature"]
    sides, total = nn.functional.normalize(h, dim=2), torch.zeros((), dtype=torch.float64)
    for own, other in (sides, sides.flip(0)):
        for i in range(24):
            same = [j for j in range(24) if whole.labels[j] == whole.labels[i]]
            positives = [own[i] @ other[j] for j in same] + [
                own[i] @ own[j] for j in same if j != i
            ]
            others = torch.stack([own[i] @ other[j] for j in range(24)]) * scale
            total = total + others.logsumexp(0) - torch.stack(positives).mean() * scale
    torch.testing.assert_close(method.objective(h, whole.labels), total / 48)
