"""A number that means nothing is not given: NaN, one class, no labels, a list of all classes."""

import inspect
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import cl
from cl import checkpoints
from cl.data.augment.recipe import Recipe
from cl.data.module import PlainLoader
from cl.eval import NAMES, get_evaluation
from cl.eval._baseline import measure_frozen
from cl.eval._call import check_numbers
from cl.eval._features import extract_features
from cl.eval._restore import restore_module
from cl.eval._result import EvalResult, score
from cl.eval.cluster import cluster
from cl.eval.knn import knn
from cl.eval.logistic import logistic
from cl.eval.retrieval import retrieval
from cl.knn import classify
from cl.nets import encoders
from tests.data.made import in_memory

OF_FEATURES = [knn, logistic, retrieval, cluster]
BAD = [math.nan, math.inf, -math.inf]


def part(seed: int, classes: int = 3) -> tuple[Tensor, Tensor]:
    g = torch.Generator().manual_seed(seed)
    return torch.randn(30, 4, generator=g), torch.arange(30) % classes


@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("evaluation", OF_FEATURES, ids=lambda f: f.__name__)
def test_features_that_are_not_finite_are_refused(
    evaluation: Callable[..., Any], bad: float
) -> None:
    train, test = part(0), part(1)
    for broken in (train, test):
        if broken is train and evaluation in (retrieval, cluster):
            continue  # which do not use it
        before = broken[0][7, 2].clone()
        broken[0][7, 2] = bad
        with pytest.raises(ValueError, match="1 of 30 images are not finite"):
            evaluation(train, test, 3)
        broken[0][7, 2] = before
    assert evaluation(train, test, 3).numbers


@pytest.mark.parametrize("bad", BAD)
def test_scores_and_neighbors_that_are_not_finite_are_refused(bad: float) -> None:
    h, labels = part(0)
    scores = torch.zeros(30, 3)
    scores[4, 1] = bad
    with pytest.raises(ValueError, match="scores of the classes are not finite"):
        score(scores, labels)
    h[3, 0] = bad
    for pair in ((h, part(1)[0]), (part(1)[0], h)):
        with pytest.raises(ValueError, match="not finite"):
            classify(pair[0], labels, pair[1])


class Logs(nn.Module):
    """Gives the logarithm of the mean pixel, infinite for a black image."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(2))

    def forward(self, x: Tensor) -> Tensor:
        return (x.flatten(1).mean(dim=1, keepdim=True)).log() * self.scale


def test_the_pass_names_the_image() -> None:
    images = in_memory(11, 16)
    assert images.pixels is not None
    images.pixels[6] = 0
    loader = PlainLoader(images, Recipe(size=16, mean=(0, 0, 0), std=(1, 1, 1)), 4)
    with pytest.raises(ValueError, match="the features of image 6 are not finite"):
        extract_features(Logs(), loader, accelerator="cpu", devices=1)
    with pytest.raises(ValueError, match="the features of image 2 are not finite"):
        cl.embed(Logs(), torch.tensor([1.0, 1.0, 0.0]).view(3, 1, 1, 1).expand(3, 3, 4, 4))


@pytest.mark.parametrize("key", ["stem.conv.weight", "stem.norm.running_var"])
@pytest.mark.parametrize("bad", BAD)
def test_weights_that_are_not_finite_are_refused(key: str, bad: float, tmp_path: Path) -> None:
    encoder = encoders.create("resnet6_w4", 16)
    encoder.state_dict()[key].view(-1)[1] = bad
    said = rf"1 of the encoder's tensors are not finite \(NaN or infinite\): {key}"
    with pytest.raises(ValueError, match=said):
        restore_module(encoder, Recipe(size=16))
    checkpoints.save_encoder(encoder, tmp_path / "encoder.safetensors", {"encoder": "resnet6_w4"})
    with pytest.raises(ValueError, match=said):
        cl.load_encoder(tmp_path / "encoder.safetensors")


def test_of_few_classes_no_top5_and_of_one_nothing() -> None:
    assert score(torch.eye(5), torch.arange(5)).numbers.keys() == {
        "top1",
        "top1_95",
        "mean_per_class",
        "per_class",
    }
    with pytest.raises(ValueError, match="an accuracy needs two classes"):
        score(torch.zeros(4, 1), torch.zeros(4, dtype=torch.long))


@pytest.mark.parametrize("evaluation", OF_FEATURES, ids=lambda f: f.__name__)
def test_one_class_is_refused(evaluation: Callable[..., Any]) -> None:
    h, _ = part(0)
    alike = (h, torch.zeros(30, dtype=torch.long))
    with pytest.raises(ValueError, match="two classes"):
        evaluation(alike, alike, 2)


def test_every_class_weighs_alike_in_the_mean_and_in_float64() -> None:
    labels = torch.tensor([0] * 90 + [1] * 3 + [2] * 7)
    given = torch.tensor([0] * 90 + [1, 0, 0] + [2] * 6 + [0])
    numbers = score(torch.eye(4)[given], labels).numbers
    assert numbers["per_class"] == [1.0, 1 / 3, 6 / 7, None]  # to the last bit
    assert numbers["mean_per_class"] == pytest.approx((1 + 1 / 3 + 6 / 7) / 3, abs=1e-15)
    assert [*numbers][:3] == ["top1", "top1_95", "mean_per_class"]


def test_an_interval_has_a_width() -> None:
    corners = (torch.eye(4).repeat(5, 1), torch.arange(4).repeat(5))
    numbers = retrieval(corners, corners, 4).numbers
    assert numbers["map_r"] == 1
    assert "map_r_95" not in numbers
    spans = [v for k, v in numbers.items() if k.endswith("_95")]
    assert spans
    assert all(low < high for low, high in spans)


def test_preconditions_ask_for_what_their_evaluation_takes() -> None:
    for name in NAMES:
        function = get_evaluation(name)
        check = vars(inspect.getmodule(function)).get("precondition")
        if check is not None:
            flags = {*inspect.signature(function).parameters} - {"train", "test", "classes"}
            asked = [*inspect.signature(check).parameters]
            assert asked[:3] == ["train", "test", "classes"]
            assert {*asked[3:]} <= flags


@pytest.mark.parametrize("bad", BAD)
def test_a_number_that_is_not_finite_is_refused(bad: float) -> None:
    check_numbers(EvalResult({"top1": 0.5, "per_class": [None, 1.0]}))
    with pytest.raises(ValueError, match="its mine came out as NaN or infinite"):
        check_numbers(EvalResult({"top1": 0.5, "mine": bad}))


def test_pretrainings_linear_number_is_that_of_logistic() -> None:
    """One definition of the word: the same classifier, to the last bit."""
    encoder = encoders.create("resnet6_w4", 16)
    loaders = tuple(PlainLoader(in_memory(n, 16), Recipe(size=16), 16) for n in (60, 40))
    hardware = {"accelerator": "cpu", "devices": 1}
    train, test = (extract_features(encoder, loader, **hardware) for loader in loaders)
    classes = int(train[1].max()) + 1
    found = measure_frozen(encoder, loaders, classes, **hardware)
    assert found["linear_top1"] == logistic(train, test, classes).numbers["top1"]
    assert found["knn_top1"] == knn(train, test, classes).numbers["top1"]
