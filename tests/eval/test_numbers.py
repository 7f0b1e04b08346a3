"""What the files of the evaluations say of their numbers is what their functions give."""

from importlib import import_module

import pytest
import torch

from cl.config.evaluations import about, numbers_of
from cl.eval import NAMES, EvalResult, get_evaluation, score

N, CLASSES = 96, 12
OTHERS = [("retrieval", "text"), ("retrieval", "image-text"), ("sts", "text")]


def of(name: str, kind: str) -> EvalResult:
    """The result of an evaluation of random features."""
    own = torch.Generator().manual_seed(0)
    h, other = torch.randn(N, 8, generator=own), torch.randn(N, 8, generator=own)
    labels = torch.arange(N) % CLASSES
    if about(name).scored:
        return get_evaluation(name)(h, other, torch.rand(N, generator=own))
    if about(name).named:
        return get_evaluation(name)((h, labels), [*"abcdefghijkl"], lambda texts: h[: len(texts)])
    if kind == "text":
        judgments = torch.stack([torch.arange(N), torch.arange(N), torch.ones(N).long()], dim=1)
        return get_evaluation(name, "of_texts")(h, other, judgments)
    if kind == "image-text":
        return get_evaluation(name, "of_captions")(h, other, torch.arange(N))
    if about(name).trains:  # by SGD, for which they need a trainer; they end with `score`
        return score(h @ other[:CLASSES].T, labels)
    return get_evaluation(name)((h, labels), (other, labels), CLASSES)


@pytest.mark.parametrize(
    ("name", "kind"),
    [*((name, "images") for name in NAMES if not about(name).scored), *OTHERS],
)
def test_the_numbers_that_a_comparison_can_have(name: str, kind: str) -> None:
    options = {key: option.default for key, option in about(name).options.items()}
    given = {key for key, value in of(name, kind).numbers.items() if isinstance(value, float)}
    assert {*numbers_of(name, kind, options)} - {"map"} == given


@pytest.mark.parametrize("name", NAMES)
def test_those_of_several_labels(name: str) -> None:
    """The mean average precision, of the evaluations that take images of several classes."""
    options = {key: option.default for key, option in about(name).options.items()}
    several = getattr(import_module(f"cl.eval.{name}"), "MULTILABEL", False)
    assert ("map" in numbers_of(name, "images", options)) == several
    found = score(torch.randn(N, 3), (torch.randn(N, 3) > 0).long()).numbers
    assert [key for key, value in found.items() if isinstance(value, float)] == ["map"]
