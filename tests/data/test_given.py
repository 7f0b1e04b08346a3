"""A DataLoader that makes the views itself: its batches as they are, and a training on them."""

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.utils.data import (
    BatchSampler,
    ConcatDataset,
    DataLoader,
    Dataset,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
    Subset,
    SubsetRandomSampler,
    TensorDataset,
    WeightedRandomSampler,
    random_split,
)
from torch.utils.data.distributed import DistributedSampler

from cl.build import build_method, count_classes
from cl.config import Pretrain, configure
from cl.data.batch import Batch
from cl.data.loaders.given import GivenViews
from cl.data.module import ContrastiveData, GivenData
from cl.methods.simclr import SimCLR
from cl.nets.encoders import create
from cl.summary import steps_per_epoch
from tests.trainers import QUIET_ON_CPU


def views(number: int, n: int = 4, size: int = 8) -> list[Tensor]:
    generator = torch.Generator().manual_seed(size)
    return [torch.randn(n, 3, size, size, generator=generator) for _ in range(number)]


TWO, SMALL, LABELS = views(2), views(3, size=6), torch.tensor([3, 0, 1, 3])
TOKENS = [torch.arange(12).reshape(4, 3), torch.arange(12).reshape(4, 3) + 1]


@pytest.mark.parametrize(
    ("given", "sizes", "labeled"),
    [
        ((TWO, LABELS), [TWO], True),
        ([[*TWO], LABELS], [TWO], True),
        ((*TWO, LABELS), [TWO], True),
        ((torch.stack(TWO), LABELS), [TWO], True),
        ((torch.stack(TWO), LABELS.int()), [TWO], True),
        (TWO, [TWO], False),
        ([TWO], [TWO], False),
        ([torch.stack(TWO)], [TWO], False),
        (torch.stack(TWO), [TWO], False),
        (([*TWO, *SMALL], LABELS), [TWO, SMALL], True),
        (([SMALL[0], *TWO, *SMALL[1:]], LABELS), [SMALL, TWO], True),
        ((TOKENS, LABELS), [TOKENS], True),
        (TOKENS, [TOKENS], False),
        ([TWO, LABELS, ("a", "b", "c", "d")], [TWO], True),  # lightly
        ([torch.arange(4), TWO, LABELS], [TWO], True),  # solo-learn
    ],
)
def test_a_batch_in_any_form(given: Any, sizes: list[list[Tensor]], labeled: bool) -> None:
    first, second = GivenViews([given, given])
    for batch, index in ((first, range(4)), (second, range(4, 8))):
        assert isinstance(batch, Batch)
        assert len(batch.views) == len(sizes)
        for x, expected in zip(batch.views, sizes, strict=True):
            assert torch.equal(x, torch.stack(expected))
        assert batch.labels.tolist() == (LABELS.tolist() if labeled else [-1] * 4)
        assert batch.index.tolist() == [*index]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ((TWO[0], LABELS), "one view of each sample, and methods compare at least two"),
        (([TWO[0], views(1, 3)[0]], LABELS), r"views and labels are of \[3, 4\] samples"),
        ((TWO, LABELS[:2]), r"views and labels are of \[2, 4\] samples"),
        ({"image": TWO[0]}, "it is a dict; a batch must be"),
        ((TWO, "a"), "it has a list, a str; a batch must be"),
        ((LABELS, TWO), r"it has a tensor \(4,\), a list; a batch must be"),
        ([], "it is a list; a batch must be"),
        ((TWO, LABELS.float()), r"it has a list, a tensor \(4,\); a batch must be"),
    ],
)
def test_a_batch_of_no_form_is_named(given: Any, message: str) -> None:
    with pytest.raises(ValueError, match=f"^batch 1 of the DataLoader: .*{message}"):
        list(GivenViews([(TWO, LABELS), given]))


def test_validation_needs_one_view() -> None:
    (batch,) = GivenViews([(TWO[0], LABELS)], least=1)
    assert torch.equal(batch.views[0], TWO[0][None])


class Pairs(Dataset[Any]):
    """Two views of an image and its label, as of a data set with a transform of its own."""

    def __len__(self) -> int:
        return 12

    def __getitem__(self, index: int) -> Any:
        rng = np.random.default_rng(index)
        return [rng.normal(size=(3, 16, 16)).astype(np.float32) for _ in range(2)], index % 3


class Endless(IterableDataset[Any]):
    def __iter__(self) -> Iterator[Any]:
        while True:
            yield from (Pairs()[i][0] for i in range(12))


def fit(data: GivenData, classes: int = 3, **options: Any) -> dict[str, Tensor]:
    torch.manual_seed(0)
    method = SimCLR(create("resnet6_w8", 16), classes=classes)
    before = {k: v.clone() for k, v in method.encoder.named_parameters()}
    trainer = pl.Trainer(
        **QUIET_ON_CPU,
        use_distributed_sampler=False,
        **options,
    )
    trainer.fit(method, datamodule=data)
    assert any(not torch.equal(before[k], v) for k, v in method.encoder.named_parameters())
    return {**trainer.callback_metrics, "steps": torch.tensor(trainer.global_step)}


@pytest.mark.filterwarnings("ignore:.*does not have many workers")
def test_a_method_trains_on_it_and_validates() -> None:
    val = DataLoader([(torch.randn(3, 16, 16), i % 3) for i in range(5)], batch_size=4)  # pyright: ignore[reportArgumentType]
    data = ContrastiveData.from_loaders(DataLoader(Pairs(), batch_size=4, shuffle=True), val)
    assert data.val_samples == 5
    numbers = fit(data, max_epochs=2, num_sanity_val_steps=0)
    assert numbers["steps"] == 6
    assert 0 <= numbers["val/probe_top1"] <= 1


@pytest.mark.filterwarnings("ignore:.*does not have many workers")
@pytest.mark.filterwarnings("ignore:You defined a .validation_step. but have no .val_dataloader")
@pytest.mark.filterwarnings("ignore:.*IterableDataset. in the dataloader")
def test_a_loader_without_a_length_needs_the_number_of_steps() -> None:
    data = ContrastiveData.from_loaders(DataLoader(Endless(), batch_size=4))
    assert fit(data, max_steps=3)["steps"] == 3
    with pytest.raises(ValueError, match="has no length: the number of steps must be given"):
        fit(data, max_epochs=1)


def test_a_rate_that_falls_by_epochs_needs_a_length() -> None:
    loader = DataLoader(Endless(), batch_size=4)
    run = {"encoder": "resnet6_w8", "dataset": loader, "max_steps": 3}
    assert steps_per_epoch(configure(Pretrain, run), GivenData(loader)) == 3
    with pytest.raises(ValueError, match=r"--scheduler reduce follows the loss .* has no length"):
        steps_per_epoch(configure(Pretrain, {**run, "scheduler": "reduce"}), GivenData(loader))


class Named(Pairs):
    """It says of how many classes it is, or what they are called."""

    def __init__(self, classes: Any) -> None:
        self.classes = classes


class Targets(Pairs):
    """It has its labels in an attribute."""

    targets = (*range(3),) * 4


TENSORS = TensorDataset(torch.zeros(12, 2, 3, 16, 16), torch.arange(12) % 3)


@pytest.mark.parametrize(
    ("data", "classes"),
    [
        (Named(("a", "b", "c")), 3),
        (Named(3), 3),
        (Named(np.int64(3)), 3),
        (Named(None), None),
        (Subset(Named(3), [0, 1]), 3),
        (Subset(Targets(), [0, 1]), 3),  # as the other part of a split has
        (random_split(Named(["a", "b"]), [8, 4])[1], 2),
        (ConcatDataset([Targets(), Subset(Named(5), [0])]), 5),
        (TENSORS, 3),
        (Targets(), 3),
        (Named(1), None),
        (Pairs(), None),
        (ConcatDataset([Targets(), Pairs()]), None),
        (TensorDataset(torch.zeros(12, 2, 3, 16, 16)), None),
        (Endless(), None),
    ],
)
def test_a_loaders_data_set_says_how_many_classes_a_probe_has(
    data: Any, classes: int | None
) -> None:
    assert count_classes(GivenData(DataLoader(data, batch_size=4))) == classes


def test_labels_of_validation_count_too() -> None:
    assert count_classes(GivenData(DataLoader(TENSORS), DataLoader(Named(7)))) == 7


def test_labels_without_a_probe_are_said(capsys: pytest.CaptureFixture) -> None:
    encoder = create("resnet6_w8", 16)
    for data, said in ((Pairs(), True), (Targets(), False), (Endless(), False)):
        given = GivenData(DataLoader(data, batch_size=4))
        config = configure(Pretrain, {"dataset": "digits", "encoder": "resnet6_w8"})
        build_method(config, encoder, count_classes(given), given)
        assert ("the batches have labels" in capsys.readouterr().out) is said


def test_several_processes_need_a_sampler_that_shares() -> None:
    several: Any = SimpleNamespace(world_size=2)
    data = ContrastiveData.from_loaders(DataLoader(Pairs(), batch_size=4, shuffle=True))
    data.trainer = several
    with pytest.raises(ValueError, match="gives all samples to each of 2 processes"):
        data.train_dataloader()
    sampler = DistributedSampler(Pairs(), 2, 0)
    data = ContrastiveData.from_loaders(DataLoader(Pairs(), batch_size=4, sampler=sampler))
    data.trainer = several
    assert data.train_dataloader().sampler is sampler  # whose epoch Lightning sets


class InOrder(SequentialSampler):
    """A sampler of a user's own."""


class Sharing(SequentialSampler):
    """Likewise, which says that it shares the samples."""

    num_replicas, rank = 2, 0


SAMPLERS: dict[str, tuple[bool, dict[str, Any]]] = {
    "weighted": (False, {"sampler": WeightedRandomSampler([1.0] * 12, 12)}),
    "subset": (False, {"sampler": SubsetRandomSampler(range(6))}),
    "subclass": (False, {"sampler": InOrder(Pairs())}),
    "batches": (False, {"batch_sampler": BatchSampler(RandomSampler(Pairs()), 4, True)}),
    "list": (False, {"batch_sampler": [[0, 1], [2, 3]]}),
    "own": (True, {"sampler": Sharing(Pairs())}),
    "shared": (True, {"batch_sampler": BatchSampler(DistributedSampler(Pairs(), 2, 0), 4, True)}),
}


@pytest.mark.parametrize("name", SAMPLERS)
def test_a_sampler_must_know_of_the_processes(name: str) -> None:
    known, how = SAMPLERS[name]
    data = ContrastiveData.from_loaders(DataLoader(Pairs(), **how))
    data.train_dataloader()  # of one process
    several: Any = SimpleNamespace(world_size=2)
    data.trainer = several
    if known:
        data.train_dataloader()
    else:
        with pytest.raises(ValueError, match=r"a sampler that shares them.*num_replicas and rank"):
            data.train_dataloader()


def test_other_loaders_share_in_their_own_way() -> None:
    several: Any = SimpleNamespace(world_size=2)
    for loader in (DataLoader(Endless(), batch_size=4), [(TWO, LABELS)]):
        data = ContrastiveData.from_loaders(loader)
        data.trainer = several
        data.train_dataloader()


class Stateful(DataLoader[Any]):
    """Goes on behind the batch that it gave last, and records all that it gives."""

    def __init__(self) -> None:
        super().__init__(Pairs(), batch_size=3)
        self.given, self.record = 0, list[int]()

    def __iter__(self) -> Iterator[Any]:  # pyright: ignore[reportIncompatibleMethodOverride]
        for number, batch in enumerate(super().__iter__()):
            if number == self.given:
                self.given += 1
                self.record.append(number)
                yield batch
        self.given = 0

    def state_dict(self) -> dict[str, int]:
        return {"given": self.given}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.given = state["given"]


@pytest.mark.filterwarnings("ignore:.*does not have many workers")
@pytest.mark.filterwarnings("ignore:You defined a .validation_step. but have no .val_dataloader")
def test_a_loader_with_a_state_goes_on_in_the_midst_of_an_epoch(tmp_path: Path) -> None:
    def trainer(steps: int) -> pl.Trainer:
        quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
        return pl.Trainer(accelerator="cpu", max_steps=steps, enable_checkpointing=False, **quiet)

    method, loader = SimCLR(create("resnet6_w8", 16), classes=3), Stateful()
    first = trainer(6)
    first.fit(method, datamodule=ContrastiveData.from_loaders(loader))
    assert loader.record == [0, 1, 2, 3, 0, 1]
    first.save_checkpoint(tmp_path / "a.ckpt")
    resumed = Stateful()
    data, ckpt = ContrastiveData.from_loaders(resumed), str(tmp_path / "a.ckpt")
    trainer(10).fit(method, datamodule=data, ckpt_path=ckpt, weights_only=False)
    assert resumed.record == [2, 3, 0, 1]
    assert not hasattr(GivenViews(DataLoader(Pairs())), "state_dict")
