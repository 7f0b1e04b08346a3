"""The table before a run: memory against bytes counted by hand, negatives against loops."""

import io
from collections.abc import Callable

import pytest
import torch
from rich.console import Console
from torch import nn

from cl.preflight import activations, memory, negatives, show
from tests.references import DENOMINATORS


def conv(i: int, o: int) -> nn.Conv2d:
    return nn.Conv2d(i, o, 3, padding=1)


@pytest.mark.parametrize("sizes", [[8], [16, 16, 8]])
@pytest.mark.parametrize(
    ("layers", "numbers"),  # what is kept of an image of 3 x s x s for the backward, each once
    [
        ([conv(3, 4), conv(4, 5)], lambda s: (3 + 4) * s * s),
        ([conv(3, 4), nn.GELU(), conv(4, 5)], lambda s: (3 + 4 + 4) * s * s),
        ([conv(3, 4), nn.ReLU(), conv(4, 5)], lambda s: (3 + 4) * s * s),
        (  # a mean keeps nothing, the layer after it keeps the mean
            [conv(3, 4), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5)],
            lambda s: 3 * s * s + 4,
        ),
    ],
)
def test_activations_are_those_counted_by_hand(
    layers: list[nn.Module], numbers: Callable[[int], int], sizes: list[int]
) -> None:
    assert activations(nn.Sequential(*layers), sizes) == 4 * sum(numbers(s) for s in sizes)


def test_the_encoder_is_left_alone() -> None:
    encoder = nn.Sequential(conv(3, 4), nn.BatchNorm2d(4))
    before = {k: v.clone() for k, v in encoder.state_dict().items()}
    activations(encoder, [8])
    assert all(torch.equal(v, before[k]) for k, v in encoder.state_dict().items())
    assert all(p.grad is None for p in encoder.parameters())


@pytest.mark.parametrize("states", [1, 2])
@pytest.mark.parametrize("batch", [1, 64])
def test_memory_is_weights_gradients_states_and_activations(states: int, batch: int) -> None:
    encoder = nn.Sequential(conv(3, 4), conv(4, 5))
    module = nn.ModuleDict({"encoder": encoder, "head": nn.Linear(5, 2)})
    parameters = (3 * 9 * 4 + 4) + (4 * 9 * 5 + 5) + (5 * 2 + 2)
    kept = (3 + 4) * (8 * 8 + 6 * 6)
    expected = 4 * (parameters * (1 + 1 + states) + kept * batch)
    assert memory(module, encoder, [8, 6], batch, states) == expected


@pytest.mark.parametrize("loss", DENOMINATORS)
@pytest.mark.parametrize(("batch", "views"), [(1, 2), (5, 2), (7, 3), (600, 2)])
def test_negatives_are_the_other_samples_in_the_denominator(
    loss: str, batch: int, views: int
) -> None:
    count = sum(
        DENOMINATORS[loss](0, 0, 0, w, j, j) and j != 0 for w in range(views) for j in range(batch)
    )
    text = f"{count:,} of other samples" if count else "none"
    assert negatives(loss, batch, views) == text


@pytest.mark.parametrize("loss", ["barlow_twins", "cosine"])
def test_some_losses_have_no_negatives(loss: str) -> None:
    assert negatives(loss, 8, 2) == "none"


@pytest.mark.parametrize("loss", ["", "cl.losses.cosent:ranking_loss"])
def test_a_loss_may_not_say_its_negatives(loss: str) -> None:
    assert negatives(loss, 8, 2) == "unknown: the loss does not say"


ROWS = {"batch": 1_234_567, "rate": 0.3, "place": f"a/{'long/' * 30}path", "steps": "22 (11)"}


@pytest.mark.parametrize("width", [40, 200])
def test_all_rows_are_printed(width: int) -> None:
    file = io.StringIO()
    show("run abc", ROWS, Console(file=file, width=width))
    title, *lines = file.getvalue().splitlines()
    assert title.strip() == "run abc"
    cells = [[c.strip() for c in line[1:-1].split("│")] for line in lines if "│" in line]
    found: list[list[str]] = []
    for name, value in cells:
        if name:
            found.append([name, value])
        else:  # a long value goes on in lines without a name
            found[-1][1] += value
    assert found == [[k, f"{v:,}" if k == "batch" else str(v)] for k, v in ROWS.items()]


def test_brackets_are_no_markup() -> None:
    file = io.StringIO()
    show("run [a]", {"encoder": "runs/[b]/[/c]/encoder.safetensors"}, Console(file=file, width=99))
    assert "run [a]" in file.getvalue()
    assert "runs/[b]/[/c]/encoder.safetensors" in file.getvalue()
