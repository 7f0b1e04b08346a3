"""Zero-shot classification and retrieval of captions against plain loops in float64."""

import math
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from torch import Tensor

from cl.data.sets import Images, Source, from_dataset
from cl.eval._pair_task import check_names, spoken
from cl.eval.retrieval import of_captions, resampled
from cl.eval.zeroshot import zeroshot

NAMES = ["cat", "a {dog}", "tree", "river bed", "book", "song", "star"]
PROMPTS = ("a photo of a {}.", "the {}, a {}", "{}")


def vector(text: str) -> list[float]:
    rng = np.random.default_rng([ord(letter) for letter in text])
    return (rng.normal(size=6) * rng.uniform(0.1, 9)).tolist()


def embed(texts: Sequence[str]) -> Tensor:
    return torch.tensor([vector(text) for text in texts])


def unit(v: Sequence[float]) -> list[float]:
    length = math.sqrt(sum(x * x for x in v))
    return [x / length for x in v]


@pytest.mark.parametrize("prompts", [PROMPTS[:1], PROMPTS])
def test_predictions_are_those_of_plain_loops(prompts: tuple[str, ...]) -> None:
    h = torch.randn(60, 6, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(60) % len(NAMES)
    labels[-1] = -1
    expected = []
    for image in h.double().tolist():
        cosines = []
        for name in NAMES:
            own = [unit(torch.tensor(vector(p.replace("{}", name))).tolist()) for p in prompts]
            mean = unit([sum(each) / len(own) for each in zip(*own, strict=True)])
            cosines.append(sum(a * b for a, b in zip(unit(image), mean, strict=True)))
        expected.append(max(range(len(NAMES)), key=cosines.__getitem__))
    found = zeroshot((h, labels), NAMES, embed, prompt=prompts)
    assert found.predictions is not None
    assert found.predictions[:, 1].tolist() == expected[:-1]
    right = [a == b for a, b in zip(expected, labels.tolist(), strict=True)][:-1]
    assert found.numbers["top1"] == pytest.approx(sum(right) / 59)
    assert {"top1_95", "top5", "mean_per_class"} <= found.numbers.keys()
    assert found.how == {"similarity": "cosine", "prompts": list(prompts)}


def test_scale_of_a_prompt_does_not_matter() -> None:
    """Each prompt is normalized before the mean, so that none outweighs the others."""
    h, labels = torch.eye(2), torch.arange(2)
    rows = {"cat 0": [1.0, 0], "cat 1": [0, 0.9], "dog 0": [0, 0.01], "dog 1": [0, 100]}

    def by_hand(texts: Sequence[str]) -> Tensor:
        return torch.tensor([rows[text] for text in texts])

    found = zeroshot((h, labels), ["cat", "dog"], by_hand, prompt=("{} 0", "{} 1"))
    assert found.numbers["top1"] == 1


def test_names_as_one_says_them() -> None:
    assert spoken(["golden_retriever", "apple  pie"]) == ["golden retriever", "apple pie"]
    assert spoken(["n01440764", "n02012849"]) == ["tench", "crane"]


def test_numbers_are_no_names() -> None:
    pixels, labels = np.zeros((8, 4, 4, 3), np.uint8), np.arange(8) % 2
    pixels[:] = np.arange(8)[:, None, None, None]
    check_names(from_dataset(pixels, labels=labels, classes=["0", "1"], val_fraction=0.5))
    with pytest.raises(ValueError, match="DATASET made numbers its 2 classes"):
        check_names(from_dataset(pixels, labels=labels, val_fraction=0.5, name="made"))
    images = Images(labels, pixels)
    check_names(Source("made", ["0", "1"], images, images))


def test_recall_of_captions_is_that_of_plain_loops() -> None:
    g = torch.Generator().manual_seed(0)
    image_of = torch.tensor([i for i in range(30) for _ in range(1 + i % 4)])
    images = torch.randn(30, 5, generator=g)
    captions = images[image_of] + 2.0 * torch.randn(len(image_of), 5, generator=g)
    found = of_captions(captions, images, image_of).numbers
    c, x = (torch.nn.functional.normalize(h.double(), dim=1) for h in (captions, images))
    cosines = (c @ x.T).tolist()
    for k in (1, 5, 10):
        right = []
        for i, row in enumerate(cosines):
            first = sorted(range(30), key=row.__getitem__, reverse=True)[:k]
            right.append(int(image_of[i]) in first)
        assert found[f"recall{k}_t2i"] == pytest.approx(sum(right) / len(right))
        low, high = found[f"recall{k}_t2i_95"]
        assert low < found[f"recall{k}_t2i"] < high
        right = []
        for j in range(30):
            column = [row[j] for row in cosines]
            first = sorted(range(len(column)), key=column.__getitem__, reverse=True)[:k]
            right.append(j in {int(image_of[i]) for i in first})
        assert found[f"recall{k}_i2t"] == pytest.approx(sum(right) / 30)


def test_an_interval_has_no_width_only_where_all_are_found() -> None:
    h, image_of = torch.eye(4), torch.arange(4)
    found = of_captions(h, h, image_of).numbers
    assert found["recall1_t2i"] == found["recall1_i2t"] == 1
    assert "recall1_t2i_95" not in found
    assert found["recall1_i2t_95"][0] < 1


def test_captions_of_an_image_are_resampled_together() -> None:
    """Ten captions of one fate are worth one: the interval is as wide as that of the images."""
    right = torch.tensor([1.0, 0.0] * 20)
    alone = resampled(right, torch.arange(40), 40)
    copied = resampled(right.repeat_interleave(10), torch.arange(40).repeat_interleave(10), 40)
    assert copied == pytest.approx(alone)
