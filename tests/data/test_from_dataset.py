"""Any data set of images becomes a `Source` whose views are those of the same pixels in memory."""

import copy
import os
import pickle
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import (
    ConcatDataset,
    DataLoader,
    Dataset,
    IterableDataset,
    Subset,
    TensorDataset,
    random_split,
)
from torchvision import transforms
from torchvision.datasets import CIFAR10

import cl
from cl.data.augment.recipe import Recipe
from cl.data.loaders.sampler import Sampler
from cl.data.loaders.workers import FileLoader
from cl.data.module import ContrastiveData
from cl.data.sets import TURNED, Images, Source, UnreadableError, as_pair, from_dataset, load
from cl.data.sets import _map_style as map_style
from cl.data.sets._readable import unreadable
from cl.data.sets._sums import data_checksum
from cl.summary import about_data
from tests.data.made import are_rounded, in_memory, picture

N = 40
PIXELS = in_memory(N, 16).pixels
LABELS = np.arange(N) % 4
RECIPES = [Recipe(size=12), Recipe(size=8, views=1)]


class Made(Dataset[Any]):
    """Images in some form, and what an item is made of it."""

    def __init__(self, form: Callable[[np.ndarray], Any], item: Callable[[Any, int], Any]) -> None:
        self.form, self.item = form, item

    def __len__(self) -> int:
        return N

    def __getitem__(self, index: int) -> Any:
        assert PIXELS is not None
        return self.item(self.form(PIXELS[index]), int(LABELS[index]))


def channels_first(x: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(x.transpose(2, 0, 1))


def as_tensor(x: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(channels_first(x))


def as_floats(x: np.ndarray) -> torch.Tensor:
    return transforms.ToTensor()(Image.fromarray(x))


def as_array(x: np.ndarray) -> np.ndarray:
    return x


FORMS = [Image.fromarray, as_array, channels_first, as_tensor, as_floats]


def pair(x: Any, c: int) -> Any:
    return x, c


def triple(x: Any, c: int) -> Any:
    return [x, torch.tensor(c), "a caption"]


def row(x: Any, c: int) -> Any:
    return {"img": x, "label": c, "key": "a"}


def alone(x: Any, _: int) -> Any:
    return x


def alone_in_a_row(x: Any, _: int) -> Any:
    return {"pixel_values": x}


ITEMS = [pair, triple, row, alone, alone_in_a_row]


def views_of(source: Source, workers: int = 0) -> dict[int, list[np.ndarray]]:
    """The views of every training sample by its label and place."""
    data = ContrastiveData(source, RECIPES, batch_size=6, seed=3, workers=workers)
    return {
        int(index): [x[:, i].numpy() for x in batch.views]
        for batch in data.train_dataloader()
        for i, index in enumerate(batch.index)
    }


def same_views(a: Source, b: Source, workers: int = 0) -> None:
    first, second = views_of(a, workers), views_of(b)
    assert first.keys() == second.keys()
    for index, views in second.items():
        assert all(np.array_equal(x, y) for x, y in zip(first[index], views, strict=True))


def expected(labels: np.ndarray = LABELS) -> Source:
    """The same pixels by the array."""
    assert PIXELS is not None
    return from_dataset(PIXELS, labels=labels)


@pytest.mark.parametrize("item", ITEMS)
@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_same_images(form: Any, item: Any) -> None:
    source = from_dataset(Made(form, item))
    labeled = item in (pair, triple, row)
    other = expected(LABELS if labeled else np.full(N, -1))
    for part, same in ((source.train, other.train), (source.val, other.val)):
        assert part.pixels is not None
        assert same.pixels is not None
        assert np.array_equal(part.pixels, same.pixels)
        assert np.array_equal(part.labels, same.labels)
    assert len(source.val) == 4
    assert source.classes == (["0", "1", "2", "3"] if labeled else [])
    same_views(source, other)


@pytest.mark.parametrize("memory", [10**9, 0])
@pytest.mark.parametrize("form", FORMS)
def test_only_images_of_pil_may_have_been_turned(
    form: Any, memory: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is said of their decoding: an array has no EXIF. A range of values is said of both."""
    monkeypatch.setattr(map_style, "IN_MEMORY", (16, memory))
    how = replace(TURNED, channels=3)
    images = from_dataset(Made(form, pair), decoding=how).train.subset(np.arange(3))
    said = ", turned as their cameras say (EXIF)" if form is Image.fromarray else ""
    assert images.describe_decoding() == f"3 channels{said}"
    data = ContrastiveData(from_dataset(Made(form, pair)), RECIPES, batch_size=6)
    assert ("pixels" in about_data(data)) == (form is Image.fromarray)


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("form", FORMS)
def test_read_on_demand_the_views_are_the_same(
    form: Any, workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(map_style, "IN_MEMORY", (8, 10**9))
    source = from_dataset(Made(form, pair))
    assert source.train.pixels is None
    found, exact = views_of(pickle.loads(pickle.dumps(source)), workers), views_of(expected())
    assert found.keys() == exact.keys()
    for index, views in exact.items():
        for one, other, recipe in zip(found[index], views, RECIPES, strict=True):
            assert are_rounded(one, other, recipe)
    loader = FileLoader(source.val, RECIPES, Sampler(4, 2, 0), 0)
    assert sum(len(batch.labels) for batch in loader) == 4


def test_views_are_those_of_a_built_in_set() -> None:
    digits = load("digits", "")

    class Digits(Dataset[Any]):
        def __len__(self) -> int:
            return len(digits.train)

        def __getitem__(self, index: int) -> Any:
            return Image.fromarray(digits.train.pixel(index)), digits.train.labels[index]

    source = from_dataset(Digits(), from_dataset_of(digits.val), name="mine")
    assert source.name == "mine"
    assert np.array_equal(source.val.labels, digits.val.labels)
    same_views(source, digits)


def from_dataset_of(images: Images) -> TensorDataset:
    return TensorDataset(
        torch.from_numpy(images.pixels).permute(0, 3, 1, 2), torch.from_numpy(images.labels)
    )


@pytest.mark.parametrize("held", [True, False])
def test_subsets_and_concatenations(held: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a data set that holds its pixels too, whose items are then not all read."""
    assert PIXELS is not None
    base = holding(PIXELS) if held else Made(Image.fromarray, pair)
    odd, even = Subset(base, range(1, N, 2)), Subset(base, np.arange(0, N, 2))
    other = Subset(copy.copy(base), odd.indices)
    both = Subset(ConcatDataset([odd, even]), [0, 20, 1, 21, 39])
    if held:
        monkeypatch.setattr(map_style, "read_all", None)
    source = from_dataset(both, other)
    assert source.train.pixels is not None
    assert np.array_equal(source.train.pixels, PIXELS[[1, 0, 3, 2, 38]])
    assert source.train.labels.tolist() == LABELS[[1, 0, 3, 2, 38]].tolist()
    assert np.array_equal(source.val.labels, LABELS[1::2])
    assert source.name == ("CIFAR10" if held else "Made")
    halves = random_split(base, [30, 10], torch.Generator().manual_seed(0))
    for two in (tuple(halves), halves):
        source = from_dataset(two)
        assert [len(part) for part in (source.train, source.val)] == [30, 10]


def test_a_list_of_two_is_a_pair(tmp_path: Path) -> None:
    """As `random_split` returns it; a list of images or texts stays one."""
    halves = random_split(Made(Image.fromarray, pair), [30, 10])
    how = {"output": tmp_path, "wandb": "off", "num_workers": 1, "precision": "32"}
    loaders = [DataLoader(TensorDataset(torch.zeros(8, 2, 3, 8, 8)), 4) for _ in range(2)]
    assert cl.pretrain(
        "resnet6_w8", loaders, max_steps=0, output=tmp_path, wandb="off"
    ).folder.is_dir()
    run = cl.pretrain("resnet6_w8", halves, max_steps=0, batch_size=8, **how)
    assert "knn" in cl.evaluate(run, halves, "knn", **how)
    for other in ([*PIXELS[:2]], [halves[0]], [("a", "b"), ("c", "d")], loaders[0]):
        assert as_pair(other) is other


def test_parts_that_share_items_are_refused() -> None:
    base, other = (Made(Image.fromarray, pair) for _ in range(2))
    low, high = Subset(base, range(30)), Subset(base, range(30, N))
    odd = Subset(low, range(1, 30, 2))  # of a subset
    for train, val, number in (
        (base, base, N),
        (low, base, 30),
        (odd, low, 15),
        (odd, Subset(base, [1, 3, 4]), 2),
        (odd, Subset(base, [-39]), 1),
        (ConcatDataset([other, odd]), ConcatDataset([high, Subset(base, [29])]), 1),
        (Subset(ConcatDataset([other, base]), range(45)), Subset(base, [4, 5]), 1),
        (ConcatDataset([other, base]), ConcatDataset([base, other]), 2 * N),
    ):
        said = f"Made: {number} items are in the training and in the validation part"
        with pytest.raises(ValueError, match=said):
            from_dataset(train, val)
    for train, val in (
        (odd, high),
        (Subset(ConcatDataset([other, base]), range(35)), low),
        (Subset(ConcatDataset([other, base]), range(N, 70)), ConcatDataset([other, high])),
    ):
        from_dataset(train, val)


class Counted(Made):
    """Images of two sizes, and how many were read."""

    reads = 0

    def __getitem__(self, index: int) -> Any:
        Counted.reads += 1
        return Image.fromarray(picture(16, 16 + index % 2, index)), int(LABELS[index])


def test_an_item_is_read_once_for_its_label_and_its_sum(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(map_style, "PATIENCE", -1.0)
    monkeypatch.setattr(Counted, "reads", 0)
    with pytest.warns(UserWarning, match=r"^Counted train: all 40 items .* attribute `targets`"):
        source = from_dataset(Counted(Image.fromarray, pair))
    sums = data_checksum(source.train), data_checksum(source.val)
    assert Counted.reads == N + 2 * map_style.PROBES
    listed = Counted(Image.fromarray, pair)
    listed.targets = LABELS  # pyright: ignore[reportAttributeAccessIssue]
    source = from_dataset(listed)  # without a warning
    assert Counted.reads == N + 4 * map_style.PROBES
    assert (data_checksum(source.train), data_checksum(source.val)) == sums


def holding(pixels: np.ndarray, transform: Any = None) -> CIFAR10:
    """As torchvision's sets that are read into memory."""
    data = CIFAR10.__new__(CIFAR10)
    data.data, data.targets, data.classes = pixels, LABELS.tolist(), list("abcd")
    data.transform, data.target_transform = transform, None
    return data


def test_held_pixels_are_taken_only_if_the_items_are_these(monkeypatch: pytest.MonkeyPatch) -> None:
    assert PIXELS is not None
    smaller = transforms.Resize(8)
    found = from_dataset(holding(PIXELS, smaller)).train.pixel(0)
    assert found.shape == (8, 8, 3)
    monkeypatch.setattr(map_style, "read_all", None)
    source = from_dataset(holding(PIXELS, transforms.ToTensor()))
    assert source.classes == list("abcd")
    same_views(source, expected())


def test_labels_are_taken_only_if_the_items_have_these() -> None:
    assert PIXELS is not None
    data = holding(PIXELS)
    data.target_transform = lambda label: label // 2
    assert from_dataset(data, copy.copy(data)).train.labels.tolist() == (LABELS // 2).tolist()


@pytest.mark.parametrize("shape", ["n h w 3", "n 3 h w", "n h w"])
@pytest.mark.parametrize("kind", [np.asarray, torch.from_numpy])
def test_arrays(shape: str, kind: Any) -> None:
    assert PIXELS is not None
    gray = shape == "n h w"
    pixels = np.repeat(PIXELS[..., :1], 3, axis=3) if gray else PIXELS
    given = pixels[..., 0] if gray else pixels
    given = given if shape != "n 3 h w" else given.transpose(0, 3, 1, 2)
    x = kind(np.ascontiguousarray(given))
    source = from_dataset(x, x[:9], labels=LABELS, val_labels=torch.from_numpy(LABELS[:9]))
    for part, number in ((source.train, N), (source.val, 9)):
        assert part.pixels is not None
        assert np.array_equal(part.pixels, pixels[:number])
        assert np.array_equal(part.labels, LABELS[:number])


def test_a_held_out_part_is_stratified_and_said() -> None:
    source = from_dataset(Made(Image.fromarray, pair), val_fraction=0.2, classes=list("abcd"))
    assert np.bincount(source.val.labels).tolist() == [2] * 4
    assert source.describe() == "32 train / 8 val (20 %, stratified), 4 classes"
    assert source.protocol() == "it has no validation part: 0.2 of every class is held out"
    without = from_dataset(Made(Image.fromarray, alone))
    assert without.describe() == "36 train / 4 val (10 %), no labels"
    assert without.train.pixels is not None
    assert without.val.pixels is not None
    trained, held_out = ({*map(bytes, x)} for x in (without.train.pixels, without.val.pixels))
    assert not trained & held_out


@pytest.mark.parametrize("classes", [None, 4, np.int64(4)])
def test_classes_that_name_none(classes: Any) -> None:
    data: Any = Made(Image.fromarray, pair)
    data.classes = classes
    source = from_dataset(data)
    assert (source.classes, source.named) == (list("0123"), False)


def test_an_item_that_comes_several_times_is_on_one_side() -> None:
    """To be drawn more often; of those held out each is there once."""
    data, n = Made(Image.fromarray, pair), N
    plain = from_dataset(data, val_fraction=0.25)
    held_out = {image.tobytes() for image in plain.val.pixels}
    twice = [i // 2 for i in range(2 * n)]
    for repeated in (
        ConcatDataset([data, data]),
        Subset(data, twice),
        ConcatDataset([data, Subset(data, range(0, n, 2))]),
    ):
        source = from_dataset(repeated, val_fraction=0.25)
        trains, validates = (
            [image.tobytes() for image in part.pixels] for part in (source.train, source.val)
        )
        assert not {*trains} & {*validates}
        assert len({*validates}) == len(validates) == len(plain.val)
        assert {*validates} == held_out
        assert len({*trains}) == n - len(validates)
        assert len(trains) > len({*trains})


def test_sizes_that_differ_are_read_on_demand() -> None:
    class Sizes(Made):
        def __getitem__(self, index: int) -> Any:
            return Image.fromarray(picture(16, 16 + (index == 7), index)), int(LABELS[index])

    source = from_dataset(Sizes(Image.fromarray, pair))
    assert source.train.pixels is None
    assert sorted([*source.train.labels, *source.val.labels]) == sorted(LABELS)
    assert {source.train.pixel(i).shape for i in range(36)} == {(16, 16, 3), (16, 17, 3)}


class Stream(IterableDataset[Any]):
    def __iter__(self) -> Iterator[Any]:
        yield from []


def normalized(x: np.ndarray) -> torch.Tensor:
    return as_floats(x) * 4 - 2


FLIP = transforms.RandomHorizontalFlip(0.7)
ODD = [
    (Made(normalized, pair), r"Made train, item 0: the values of its image lie in .*Normalize"),
    (Made(lambda x: FLIP(Image.fromarray(x)), pair), r"another image when it is read again"),
    (Made(lambda x: [as_floats(x)] * 2, pair), r"item 0: its image is a list.*from_loaders"),
    (Made(as_array, lambda x, c: (x, float(c))), r"item 0: its label is a float; a label is"),
    (Made(as_array, lambda x, c: {"picture": x}), r"item 0: it has the keys picture; its image"),
    (Made(as_array, lambda x, c: ()), r"item 0: it is empty"),
    (Made(lambda x: x.astype(np.int64), pair), r"item 0: its image is of int64"),
    (Made(lambda x: np.zeros((4, 8, 8), np.uint8), pair), r"item 0: its image has the shape \(4, "),
    (Stream(), r"Stream train: an IterableDataset .*from_loaders"),
    (DataLoader(Made(as_array, pair)), r"DataLoader train: it is a DataLoader.*from_loaders"),
    (7, r"int train: it is a int; it must be a data set"),
    ([], r"list train: it has no items"),
    (np.zeros((4, 8, 8, 3)) - 1, r"ndarray train: the values"),
]


@pytest.mark.parametrize(("data", "message"), ODD)
def test_what_cannot_be_taken_is_said(data: Any, message: str) -> None:
    torch.manual_seed(0)
    with pytest.raises(ValueError, match=message):
        from_dataset(data)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"labels": [1, 2]}, r"labels are int64 of shape \(2,\); 40 images need \(40,\) whole"),
        ({"labels": np.zeros(N)}, r"labels are float64"),
        ({"labels": LABELS, "classes": ["a"]}, r"classes: 1 names are given, .* a label 3"),
        ({"val_fraction": 1.0}, r"val_fraction must be between 0 and 1, not 1.0"),
    ],
)
def test_labels_and_classes_that_do_not_fit(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        from_dataset(PIXELS, **given)


def test_a_number_of_classes_names_none() -> None:
    data = Made(np.asarray, lambda image, label: (image, label))
    data.classes = 10  # pyright: ignore[reportAttributeAccessIssue]
    assert [*from_dataset(data).classes] == ["0", "1", "2", "3"]


class Broken(Made):
    """Item 5 cannot be decoded, item 6 has a fault of the data set's own."""

    fault: type[Exception] = OSError

    def __getitem__(self, index: int) -> Any:
        if index == 5:
            raise self.fault("cut short")
        return super().__getitem__(index)


def test_an_item_that_cannot_be_read_has_its_number_in_the_message(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data = Broken(Image.fromarray, pair)
    source = from_dataset(data, copy.copy(data))
    with pytest.raises(UnreadableError, match="Broken train, item 5 cannot be read"):
        source.train.pixel(5)
    monkeypatch.setattr(Broken, "fault", KeyError)
    with pytest.raises(KeyError) as error:
        from_dataset(data)
    assert error.value.__notes__ == ["This was item 5 of Broken train."]


class Packed(Dataset[Any]):
    """Images in one file, which the first reading opens."""

    side = 80  # not in memory

    def __init__(self, file: Path) -> None:
        self.file, self.opened = file, None
        self.targets = [i % 4 for i in range(len(self))]

    def __len__(self) -> int:
        return 48

    def __getitem__(self, index: int) -> Any:
        if self.opened is None:
            self.opened = os.open(self.file, os.O_RDONLY)
        size = 3 * self.side**2
        os.lseek(self.opened, index * size, os.SEEK_SET)
        time.sleep(0.001)  # in which another reader may seek
        pixels = np.frombuffer(os.read(self.opened, size), np.uint8)
        return pixels.reshape(self.side, self.side, 3), self.targets[index]

    def __del__(self) -> None:
        if self.opened is not None:
            os.close(self.opened)


@pytest.mark.parametrize("wrap", [lambda data: data, lambda data: Subset(data, range(48))])
def test_a_file_that_is_opened_when_it_is_read_has_one_reader(wrap: Any, tmp_path: Path) -> None:
    shape = 48, Packed.side, Packed.side, 3
    np.broadcast_to(np.arange(48, dtype=np.uint8)[:, None, None, None], shape).tofile(
        tmp_path / "pack"
    )
    plain = {"jitter": 0.0, "grayscale": 0.0, "blur": 0.0, "mean": (0.0,) * 3, "std": (1.0,) * 3}
    given = wrap(Packed(tmp_path / "pack"))
    source = from_dataset(given)
    data = ContrastiveData(source, [Recipe(size=8, **plain)], batch_size=4, workers=4)
    files = source.train.files
    assert isinstance(files, map_style.Items)
    for loader in (data.plain(source.train), data.train_dataloader()):  # threads, then processes
        for batch in loader:
            seen = (batch.views[0].mean(dim=(0, 2, 3, 4)) * 255).round().int()
            assert seen.tolist() == files.index[batch.index.numpy()].tolist()
    assert not [*unreadable(source.train, 4, "")]
    assert (given.dataset if isinstance(given, Subset) else given).opened is None
