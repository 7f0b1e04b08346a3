"""Captions of a file, and what a loader of them hands to methods."""

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from cl.data.augment.recipe import Recipe
from cl.data.image_text_data import ImageTextData
from cl.data.sets import Source, load
from cl.data.tokens import NGrams

RECIPE = Recipe(size=8, views=1)


def written(folder: Path, lines: list[Any], name: str = "captions.jsonl") -> str:
    """A file of these lines, with an image of its own color for each that is named."""
    for i in range(12):
        color = Image.new("RGB", (10, 8), (20 * i, 0, 255 - 20 * i))
        color.save(folder / f"{i}.png")
    text = "".join(f"{x if isinstance(x, str) else json.dumps(x)}\n" for x in lines)
    (folder / name).write_bytes(
        gzip.compress(text.encode()) if name.endswith(".gz") else text.encode()
    )
    return f"captions:{name}"


def row(i: int, **more: Any) -> dict[str, Any]:
    captions = ["the same", *(f"number {i} said {j}" for j in range(i % 3))]
    return {"image": f"{i}.png", "captions": captions, **more}


def data(folder: Path, **options: Any) -> ImageTextData:
    name = written(folder, [row(i, split="val" if i > 9 else "train") for i in range(12)])
    source = load(name, str(folder))
    return ImageTextData(source, [RECIPE], NGrams(), longest=50, batch_size=4, **options)


@pytest.mark.parametrize("name", ["captions.jsonl", "captions.jsonl.gz"])
def test_lines_are_images_with_captions(tmp_path: Path, name: str) -> None:
    given = written(tmp_path, [row(i, split="test" if i > 8 else "train") for i in range(12)], name)
    source: Source[Any] = load(given, str(tmp_path))
    assert (len(source.train), len(source.val)) == (9, 3)
    assert source.train.captions[2] == ["the same", "number 2 said 0", "number 2 said 1"]
    assert source.train.images.pixel(3)[0, 0].tolist() == [60, 0, 195]
    assert source.val.judgments[:, 1].tolist() == [0, 1, 1, 2, 2, 2]


def test_a_tenth_of_the_images_is_held_out(tmp_path: Path) -> None:
    source: Source[Any] = load(written(tmp_path, [row(i) for i in range(10)]), str(tmp_path))
    assert (len(source.train), len(source.val)) == (9, 1)


def test_lines_of_one_image_are_one_sample(tmp_path: Path) -> None:
    lines = [{"image": f"{i % 4}.png", "captions": [f"{i}"]} for i in range(8)]
    source: Source[Any] = load(written(tmp_path, lines), str(tmp_path))
    both = sorted([*source.train.captions, *source.val.captions])
    assert both == [["0", "4"], ["1", "5"], ["2", "6"], ["3", "7"]]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ({"image": "none.png", "captions": ["a"]}, "there is no image"),
        ({"image": "1.png", "captions": []}, "at least one text"),
        ({"image": "1.png", "captions": "a"}, "at least one text"),
        ({"image": "1.png"}, "at least one text"),
        ({"image": "1.png", "captions": [" "]}, '"captions" is empty'),
        ({"image": "1.png", "captions": [3]}, '"captions" is not a text'),
        ({"captions": ["a"]}, 'has no "image"'),
        ({"image": "1.png", "captions": ["a"], "split": "some"}, '"split" must be'),
        ({"image": "0.png", "captions": ["a"], "split": "val"}, "in another split"),
        ('{"image": ', "is not JSON"),
        ("[]", "is not a JSON object"),
    ],
)
def test_a_fault_names_flag_file_and_line(tmp_path: Path, line: Any, said: str) -> None:
    name = written(tmp_path, [row(0, split="train"), line])
    with pytest.raises(ValueError, match=said) as error:
        load(name, str(tmp_path))
    assert str(error.value).startswith(f"DATASET {name}: {tmp_path / 'captions.jsonl'}, line 2")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="DATASET captions:none: "):
        load("captions:none", str(tmp_path))


def test_an_image_meets_each_of_its_captions(tmp_path: Path) -> None:
    made = data(tmp_path)
    loader, captions = made.train_dataloader(), made.source.train.captions
    seen = {i: [] for i in range(10)}
    for epoch in range(6):
        loader.sampler.set_epoch(epoch)
        for batch in loader:
            images, tokens = batch.views
            assert images.shape == (1, 4, 3, 8, 8)
            assert tokens.dtype == torch.int64
            for i, x in zip(batch.index.tolist(), tokens[0], strict=True):
                own = x[x >= 0].tolist()
                (at,) = [
                    j for j, c in enumerate(captions[i]) if NGrams()([c], 50).flat.tolist() == own
                ]
                seen[i].append((epoch, at))
            same = [captions[i][seen[i][-1][1]] for i in batch.index.tolist()]
            equal = np.array(same)[:, None] == np.array(same)
            assert (batch.labels[:, None] == batch.labels).numpy().tolist() == equal.tolist()
    for i, found in seen.items():
        starts = {(at - epoch) % len(captions[i]) for epoch, at in found}
        assert len(starts) == 1  # the next one in each epoch


def test_a_batch_does_not_depend_on_processes_and_goes_on_inside_an_epoch(tmp_path: Path) -> None:
    whole = data(tmp_path)
    expected = [b.views[1] for b in whole.train_dataloader()]
    again = whole.train_dataloader()
    again.load_state_dict({"given": 1})
    torch.testing.assert_close([b.views[1] for b in again], expected[1:])
    halves = []
    for rank in range(2):
        half = data(tmp_path)
        half.batch_size = half.images.batch_size = 2
        half.rank_and_world = half.images.rank_and_world = lambda rank=rank: (rank, 2)
        halves.append([b.index for b in half.train_dataloader()])
    both = [torch.cat(pair) for pair in zip(*halves, strict=True)]
    assert [b.tolist() for b in both] == [b.index.tolist() for b in whole.train_dataloader()]


def test_validation_has_every_caption_and_image_once(tmp_path: Path) -> None:
    made = data(tmp_path)
    samples, found = made.source.val, {}
    for batch in made.val_dataloader():
        for place, x in zip(batch.index.tolist(), batch.views[0][0], strict=True):
            assert place not in found
            found[place] = x
        assert (batch.labels == -1).all()
    assert sorted(found) == list(range(made.val_samples)) == list(range(len(samples.texts) + 2))
    assert all(x.is_floating_point() is (i >= len(samples.texts)) for i, x in found.items())
