"""The table before a run: memory against bytes counted by hand; schedules and views drawn."""

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from rich.console import Console
from torch import nn

import main_contrastive
from cl import summary, trainer
from cl.config import Pretrain, configure
from cl.data.augment.recipe import Recipe
from cl.data.module import ContrastiveData
from cl.data.sets import Source
from cl.summary import activation_bytes, describe_negatives, memory, show
from tests.data.made import in_memory
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
    assert activation_bytes(nn.Sequential(*layers), sizes) == 4 * sum(numbers(s) for s in sizes)


def test_the_encoder_is_left_alone() -> None:
    encoder = nn.Sequential(conv(3, 4), nn.BatchNorm2d(4))
    before = {k: v.clone() for k, v in encoder.state_dict().items()}
    activation_bytes(encoder, [8])
    assert all(torch.equal(v, before[k]) for k, v in encoder.state_dict().items())
    assert all(p.grad is None for p in encoder.parameters())


def test_a_small_encoder_is_measured_as_a_large_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """On the CPU as on the meta device, and without a change of random numbers."""
    encoder = nn.Sequential(
        *(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(inplace=True), nn.Dropout(0.5)),
        *(nn.MaxPool2d(2), nn.Flatten(), nn.LazyLinear(4), nn.GELU(), nn.LayerNorm(4)),
    )
    encoder(torch.zeros(2, 3, 16, 16))
    state, mean = torch.get_rng_state(), encoder[1].running_mean.clone()
    small = activation_bytes(encoder, [16, 16])
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(encoder[1].running_mean, mean)
    monkeypatch.setattr(summary, "SMALL", 0)
    assert activation_bytes(encoder, [16, 16]) == small > 0


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
    assert describe_negatives(loss, batch, views) == text


@pytest.mark.parametrize("loss", ["barlow_twins", "cosine"])
def test_some_losses_have_no_negatives(loss: str) -> None:
    assert describe_negatives(loss, 8, 2) == "none"


@pytest.mark.parametrize("loss", ["", "cl.losses.cosent:ranking_loss"])
def test_a_loss_may_not_say_its_negatives(loss: str) -> None:
    assert describe_negatives(loss, 8, 2) == "unknown: the loss does not say"


class Asks(nn.Module):
    """An encoder whose forward asks for a value."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.flatten(1) if x.sum().item() < 1 else x.flatten(1).abs()


def test_an_encoder_whose_memory_is_not_known_is_trained(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """On the meta device no value can be asked for."""
    config = configure(Pretrain, {"dataset": "digits", "encoder": "resnet6_w8"})
    images = in_memory(4, 16)
    data = ContrastiveData(Source("mine", ["a"], images, images), [Recipe(size=8)], batch_size=2)
    rows = summary.about_views(config, data, Asks(), Asks(), 2)
    assert [*rows] == ["negatives per anchor", "memory"]
    monkeypatch.setattr(summary, "SMALL", -1)
    rows = summary.about_views(config, data, Asks(), Asks(), 2)
    assert [*rows] == ["negatives per anchor"]


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


def test_a_curve_that_stands_still() -> None:
    assert summary.draw_lines({"a": [2.0] * 5}, columns=4) == "a  2 to 2, ends at 2  ▁▁▁▁"


def test_a_terminal_without_blocks_gets_letters(
    tmp_path: Path, digits_words: Callable[[], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = io.BytesIO()
    console = Console(file=io.TextIOWrapper(file, "ascii", write_through=True), width=200)
    monkeypatch.setattr(trainer, "console", console)
    assert main_contrastive.main([*digits_words(), "--dry_run", str(tmp_path / "a.png")]) == 0
    assert {*file.getvalue().split()[-1].decode()} == {*summary.ASCII}


def test_a_dry_run_leaves_a_picture_and_no_run(
    tmp_path: Path, capsys: pytest.CaptureFixture, digits_words: Callable[[], list[str]]
) -> None:
    words = [*digits_words(), "--method", "sigmoid", "--gamma", "1", "--gamma_steps", "10"]
    words += ["--output", str(tmp_path / "runs"), "--wandb", "off"]
    assert main_contrastive.main([*words, "--dry_run", str(tmp_path / "moves.png")]) == 0
    said = capsys.readouterr().out
    assert [line.split()[0] for line in said.splitlines()[-3:]] == ["lr", "ema_beta", "gamma"]
    assert "gamma" in said
    assert not (tmp_path / "runs").exists()
    with Image.open(tmp_path / "moves.png") as picture:
        assert np.asarray(picture).std() > 5


@pytest.fixture
def digits_words() -> Callable[[], list[str]]:
    return lambda: "digits resnet6_w8 --epochs 2 --batch_size 128 --num_workers 1".split()
