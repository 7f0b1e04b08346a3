"""From Python: an encoder is loaded, embeds and is evaluated as `main_linear.py` does it."""

import json
import logging
import os
import random
import re
import signal
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, TensorDataset

import main_linear
from cl import checkpoints, trainer
from cl.config.evaluations import about
from cl.config.own import Own
from cl.data import sets
from cl.data.augment.recipe import Recipe
from cl.data.module import PlainLoader
from cl.data.sets import Images, Source
from cl.eval import EvalResult, _plots, score
from cl.eval._random import kept_random_states
from cl.eval.knn import knn
from cl.evaluation import Transform, embed, evaluate, load_encoder
from cl.nets import encoders
from cl.runs import Run
from tests.data.made import in_memory

QUIET = {"num_workers": 1, "precision": "32", "wandb": "off"}
SHORT = {"epochs": 2, "lr_decay_steps": (1,)}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A folder with an encoder as a pretraining leaves it."""
    torch.manual_seed(0)
    about = {"encoder": "resnet6_w8", "norm": "batch", "image_size": 16, "dataset": "digits"}
    about |= {"mean": [0.3, 0.3, 0.3], "std": [0.4, 0.4, 0.4]}
    folder = tmp_path / "run"
    folder.mkdir()
    encoder = encoders.create("resnet6_w8", 16)
    encoder(torch.randn(64, 3, 16, 16))  # moves the running statistics
    checkpoints.save_encoder(encoder, folder / checkpoints.ENCODER, about)
    return folder


class Net(nn.Module):
    """An encoder that knows nothing of this package."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.conv, self.norm = nn.Conv2d(3, 24, 5, stride=2), nn.BatchNorm2d(24)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.conv(x)).relu().mean(dim=(2, 3))


class Arrays(Dataset[tuple[Any, int]]):
    """Items that are an array and a label."""

    def __init__(self, images: Images) -> None:
        self.images = images

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, i: int) -> tuple[Any, int]:
        return self.images.pixel(i), int(self.images.labels[i])


def digits() -> Source:
    return sets.load("digits", "data")


@pytest.mark.parametrize("size", [16, 96])
@pytest.mark.parametrize(
    "kind",
    [
        lambda x: x,
        Image.fromarray,
        lambda x: torch.from_numpy(x.copy()).permute(2, 0, 1),
        lambda x: torch.from_numpy(x.copy()).permute(2, 0, 1) / 255,
    ],
    ids=["array", "pil", "uint8", "floats"],
)
def test_a_transform_prepares_as_evaluation_does(kind: Callable[[Any], Any], size: int) -> None:
    """Of every kind of image the same bits as the loader of plain images."""
    images, recipe = in_memory(5, 40), Recipe(size=size)
    (batch,) = PlainLoader(images, recipe, 5)
    prepared = torch.stack([Transform(recipe)(kind(images.pixel(i))) for i in range(5)])
    assert torch.equal(prepared, batch.views[0][0])


def test_a_transform_of_gray_images_repeats_the_channel() -> None:
    gray = in_memory(1, 16).pixel(0)[..., 0].copy()
    transform = Transform(Recipe(size=16))
    expected = transform(np.repeat(gray[..., None], 3, axis=2))
    for image in (gray, gray[..., None], Image.fromarray(gray), torch.from_numpy(gray)[None]):
        assert torch.equal(transform(image), expected)


@pytest.mark.parametrize(
    "image",
    [torch.randn(3, 4, 4), torch.zeros(4, 4, 2), np.zeros((4, 4, 2), np.uint8), "image.png"],
)
def test_what_is_no_image_is_refused(image: Any) -> None:
    with pytest.raises(ValueError, match="its image"):
        Transform(Recipe(size=4))(image)


def test_an_encoder_is_loaded_with_its_transform(run: Path, tmp_path: Path) -> None:
    encoder, transform = load_encoder(run)
    assert not any(module.training for module in encoder.modules())
    assert transform.recipe.size == 16
    assert transform.recipe.mean == (0.3, 0.3, 0.3)
    assert transform.recipe.std == (0.4, 0.4, 0.4)
    for given in (run / checkpoints.ENCODER, str(run)):
        again, _ = load_encoder(given)
        assert checkpoints.fingerprint(again) == checkpoints.fingerprint(encoder)
    torch.save({"state_dict": encoder.state_dict()}, tmp_path / "theirs.pth")
    with pytest.raises(ValueError, match=r"theirs.pth does not say .* give the encoder's name"):
        load_encoder(tmp_path / "theirs.pth")
    theirs, prepared = load_encoder(tmp_path / "theirs.pth", "resnet6_w8", image_size=24)
    assert checkpoints.fingerprint(theirs) == checkpoints.fingerprint(encoder)
    assert prepared.recipe == Recipe(size=24)
    with pytest.raises(ValueError, match="holds the weights of resnet6_w8"):
        load_encoder(run, "resnet18")


def test_a_file_imports_nothing_and_a_module_gets_its_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "named_by_a_file.py").write_text("from tests.eval.test_python import Net\n")
    monkeypatch.syspath_prepend(tmp_path)
    file, net = tmp_path / checkpoints.ENCODER, Net()
    about = {"encoder": "named_by_a_file:Net", "image_size": 16, "norm": "batch"}
    checkpoints.save_encoder(net, file, about)
    with pytest.raises(ValueError, match="not an encoder of this package; give the encoder"):
        load_encoder(file)
    assert "named_by_a_file" not in sys.modules
    mine = Net()
    for parameter in mine.parameters():
        parameter.data.zero_()
    loaded, _ = load_encoder(file, mine)
    assert loaded is mine
    assert checkpoints.fingerprint(mine) == checkpoints.fingerprint(net)
    theirs, _ = load_encoder(file, "named_by_a_file:Net")
    assert checkpoints.fingerprint(theirs) == checkpoints.fingerprint(net)


@pytest.mark.parametrize("installed", [False, True])
def test_an_encoder_is_found_by_its_runs_id(
    installed: bool, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the folder where runs are kept, beside a clone's programs or in the current one."""
    monkeypatch.setattr("cl.config.programs.PROGRAMS", run.parent / "clone")
    monkeypatch.setattr("cl.config.programs.from_clone", lambda: not installed)
    monkeypatch.chdir(run.parent)
    runs = run.parent.joinpath("" if installed else "clone", "trained_models")
    runs.mkdir(parents=True)
    run.rename(runs / "abc")
    assert load_encoder("abc")[1].recipe.size == 16
    for output in ("elsewhere", str(runs)):
        evaluate("abc", "digits", "knn", **QUIET, output=output, report=False)
    with pytest.raises(ValueError, match=r"^the encoder abd: no such file or folder"):
        load_encoder("abd")


@pytest.mark.parametrize("module", [False, True])
def test_a_file_of_settings_names_the_evaluations(module: bool, run: Path, tmp_path: Path) -> None:
    encoder = load_encoder(run)[0] if module else run
    quiet = {**QUIET, "output": str(tmp_path / "runs"), "report": False}
    evaluate(encoder, "digits", "knn", k=(3, 5), run_id="one", **quiet)
    file = tmp_path / "runs" / "one" / "config.json"
    again = evaluate(encoder, "digits", config=file, run_id="two", **quiet)
    assert again.keys() == {"knn"}
    assert json.loads((tmp_path / "runs" / "two" / "config.json").read_text())["eval_options"][
        "k"
    ] == [3, 5]


def test_embeddings_are_the_features_of_evaluation(run: Path, tmp_path: Path) -> None:
    """Bit for bit, of each way to give the images; labels come along."""
    output = {"output": str(tmp_path / "runs"), "run_id": "one"}
    evaluate(run, "digits", "knn", **QUIET, **output)
    arrays = [*(tmp_path / "runs" / "features").glob("*.npy")]
    (file,) = [f for f in arrays if len(np.load(f)) == 359 and ".labels" not in f.name]
    expected = torch.from_numpy(np.load(file))
    encoder, transform = load_encoder(run)
    images = digits().val
    prepared = torch.stack([transform(images.pixel(i)) for i in range(359)])
    labels = torch.from_numpy(images.labels)
    ways = {
        "images": (images, transform),
        "data set": (Arrays(images), transform),
        "array": (images.pixels, transform),
        "prepared": (TensorDataset(prepared, labels), None),
        "loader": (DataLoader(TensorDataset(prepared, labels), batch_size=256), None),
        "batches": (PlainLoader(images, transform.recipe, 256), None),
    }
    for way, (data, prepares) in list(ways.items())[:-1]:
        h, known = embed(encoder, data, transform=prepares)
        assert torch.equal(h, expected), way
        assert torch.equal(known, labels if way != "array" else torch.full((359,), -1)), way


def test_layers_have_features_and_cards_of_their_own(run: Path, tmp_path: Path) -> None:
    """The encoder on the card is the same; a layer has one name in the cache."""
    output = tmp_path / "runs"
    found = {}
    for i, layer in enumerate([(), ("1",), ("stage1",), ("-1",), ("0", "2")]):
        flags = {"layer": layer, "output": str(output), "run_id": f"r{i}"} | QUIET
        found[layer] = evaluate(run, "digits", "knn", **flags)["knn"].numbers["top1"]
    widths = [np.load(f).shape[1] for f in (output / "features").glob("*[!s].npy")]
    assert sorted(widths) == [16, 16, 32, 32, 32, 32, 40, 40]
    assert found[()] == found["-1",] != found["1",] == found["stage1",]
    cards = [json.loads((output / f"r{i}/cards.json").read_text()) for i in range(5)]
    first, second, *_, last = (each["derived"]["cards"][0] for each in cards)
    assert first["encoder"]["sha256"] == last["encoder"]["sha256"]
    assert "layers" not in first["encoder"]
    assert second["encoder"]["layers"] == [["stage1", ""]]
    assert (first["layer"], last["layer"]) == ("the encoder's output", "0 2")
    message = "--layer 3: there are 0 to 2, or -1 to -3: stem, stage1"
    with pytest.raises(ValueError, match=message):
        evaluate(run, "digits", "knn", layer=("3",), output=str(tmp_path / "none"), **QUIET)
    assert not (tmp_path / "none").exists()
    encoder, transform = load_encoder(run)
    with pytest.raises(ValueError, match=message):
        embed(encoder, digits().val, transform=transform, layer=("3",))
    with pytest.raises(ValueError, match="--layer cannot be used with --augment"):
        evaluate(run, "digits", "linear", layer=("1",), augment=True, **QUIET)


def test_layers_are_embedded_as_they_are_evaluated(run: Path) -> None:
    encoder, transform = load_encoder(run)
    images = digits().val
    both, _ = embed(encoder, images, transform=transform, layer=("stage1", "-1"))
    with torch.no_grad():
        whole, _ = embed(encoder, images, transform=transform)
        first = transform(images.pixel(0))[None]
        middle = encoder.stage1(encoder.stem(first)).mean(dim=(2, 3))
    assert torch.equal(both[:, -whole.shape[1] :], whole)
    torch.testing.assert_close(both[:1, : middle.shape[1]], middle)
    with pytest.raises(ValueError, match="--layer must be a list of names, not -1"):
        embed(encoder, images, transform=transform, layer="-1")


def test_what_no_evaluation_can_be_done_of_leaves_nothing(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With one that can be done, the folder is there, and the other is said behind the table."""
    output = tmp_path / "runs"
    flags = {"output": str(output), "shots": (300,)} | QUIET
    with pytest.raises(ValueError, match="smaller --ways or --shots need less"):
        evaluate(run, "digits", "fewshot", **flags)
    assert not output.exists()
    capsys.readouterr()
    found = evaluate(run, "digits", ("fewshot", "knn"), **flags)
    assert [*found] == ["knn"]
    assert capsys.readouterr().err.count("error: ") == 1
    assert len([*output.glob("*/result.json")]) == 1


def test_an_encoder_that_embeds_is_left_as_it_was() -> None:
    """Modes, layout and bits; features can be learned from."""
    net = Net()
    net.norm.eval()
    strides = [p.stride() for p in net.parameters()]
    before, objects = checkpoints.fingerprint(net), [*map(id, net.parameters())]
    h, labels = embed(net, torch.rand(7, 3, 12, 12), batch_size=3)
    assert h.shape == (7, 24)
    assert labels.tolist() == [-1] * 7
    assert (net.training, net.norm.training) == (True, False)
    assert [p.stride() for p in net.parameters()] == strides
    assert [*map(id, net.parameters())] == objects
    assert checkpoints.fingerprint(net) == before
    assert not h.is_inference()


def test_a_run_embeds_by_its_own_transform(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(run.parent)
    images, (encoder, transform) = in_memory(5, 24), load_encoder(run)
    expected = embed(encoder, images, transform=transform)[0]
    for named in (run, str(run), Run(run, encoder), run / checkpoints.ENCODER):
        assert torch.equal(embed(named, images)[0], expected)
    other = Transform(Recipe(size=24))
    by_other = embed(encoder, images, transform=other)[0]
    assert torch.equal(embed(run, images, transform=other)[0], by_other)
    ready = DataLoader([transform(images.pixel(i)) for i in range(5)], 5)
    assert torch.equal(embed(run, ready)[0], expected)


@pytest.mark.filterwarnings("ignore:--precision bf16")
@pytest.mark.parametrize("precision", ["32", "bf16"])
def test_an_encoder_in_double_precision_is_that_of_the_run(precision: Any, tmp_path: Path) -> None:
    """A copy of it; in float64 alone where that is asked for."""
    net, how = Net(), {"eval": "knn", "image_size": 16, "output": tmp_path}
    images = torch.rand(8, 3, 12, 12)
    single = embed(net, images, precision=precision)[0]
    how |= QUIET | {"precision": precision}
    expected = evaluate(net, "digits", **how)["knn"].numbers
    assert torch.equal(embed(net.double(), images, precision=precision)[0], single)
    assert evaluate(net, "digits", **how)["knn"].numbers == expected
    assert {p.dtype for p in net.parameters()} == {torch.float64}


def test_what_cannot_be_embedded_is_said() -> None:
    net, images, transform = Net(), in_memory(3, 16), Transform(Recipe(size=16))
    source = Source("mine", ["a"], images, images)
    for data, given, said in (
        (images, None, "transform is missing"),
        (images.pixels, None, "transform is missing: an item is a ndarray"),
        (source, transform, r"mine has two parts: embed its \.train"),
        (DataLoader(Arrays(images)), transform, "cannot be used with a DataLoader"),
        (torch.rand(0, 3, 4, 4), None, "no images to embed"),
    ):
        with pytest.raises(ValueError, match=said):
            embed(net, data, transform=given)


def test_evaluation_from_python_is_that_of_the_program(run: Path, tmp_path: Path) -> None:
    """The same numbers, and the same cards."""
    line = ["digits", "resnet6_w8", "--pretrained_feature_extractor", str(run), "--eval"]
    line += ["knn", "linear", "--k", "5", "--num_workers", "1", "--precision", "32"]
    line += ["--epochs", "2", "--lr_decay_steps", "1", "--output", str(tmp_path)]
    assert main_linear.main([*line, "--run_id", "program", "--wandb", "off"]) == 0
    found = evaluate(
        run,
        "digits",
        ("knn", "linear"),
        k=(5,),
        **QUIET,
        **SHORT,
        output=str(tmp_path),
        run_id="python",
    )
    ours, theirs = (
        json.loads((tmp_path / name / "cards.json").read_text())["derived"]["cards"]
        for name in ("python", "program")
    )
    assert ours == theirs
    assert {k: v.numbers for k, v in found.items()} == {
        card["evaluation"]: card["numbers"] for card in theirs
    }


def test_a_size_beside_a_transform_is_taken(tmp_path: Path) -> None:
    place = {"output": str(tmp_path), "run_id": "own", "image_size": 8}
    evaluate(Net(), digits(), "knn", transform=Transform(Recipe(size=16)), **QUIET, **place)
    (card,) = json.loads((tmp_path / "own" / "cards.json").read_text())["derived"]["cards"]
    assert card["transform"].startswith("plain 8 of ")


def test_items_are_read_as_the_transform_says(tmp_path: Path) -> None:
    """Values of 16 bits between the two that become black and white."""
    values = np.random.default_rng(0).integers(0, 1000, (24, 12, 12)).astype(np.uint16)
    items = [(Image.fromarray(x), i % 2) for i, x in enumerate(values)]
    how = sets.Decoding(value_range=(0, 1000))
    found = []
    for transform, data in (
        (Transform(Recipe(size=8), how), (items[:16], items[16:])),
        (Transform(Recipe(size=8)), sets.from_dataset(items[:16], items[16:], decoding=how)),
    ):
        numbers = evaluate(Net(), data, "retrieval", transform=transform, **QUIET, output=tmp_path)
        found.append(numbers["retrieval"].numbers)
    assert found[0] == found[1]


def centroid(train: Any, test: Any, classes: int, *, cosine: bool = True, power=1.0) -> EvalResult:
    """The class whose mean is nearest."""
    (h, labels), (g, truth) = train, test
    means = torch.stack([h[labels == c].mean(0) for c in range(classes)]) ** power
    if cosine:
        g, means = (x / x.norm(dim=1, keepdim=True) for x in (g, means))
    return score(g @ means.T, truth)


def test_an_evaluation_is_passed_as_a_function(run: Path, tmp_path: Path) -> None:
    """Alone or in a list; its parameters are flags, and one of `cl` is that of its name."""
    how = QUIET | {"output": tmp_path}
    (name, result), *none = evaluate(run, "digits", centroid, cosine=False, **how).items()
    assert (name, none) == (f"{__name__}:centroid", [])
    both = evaluate(run, "digits", [centroid, knn], cosine=False, power=2.0, k=(5,), **how)
    assert list(both) == [name, "knn"]
    assert both[name].numbers != result.numbers
    with pytest.raises(ValueError, match=r"must take \(train, test, classes\).*not \(x, y\)"):
        evaluate(run, "digits", lambda x, y: None, **how)

    def again(train: Any, test: Any, classes: int) -> EvalResult: ...

    first = Own(again)

    def again(train: Any, test: Any, classes: int, *, power: float = 1.0) -> EvalResult: ...

    assert first == Own(again)  # as a notebook's cell that is run again
    assert [len(about(word).options) for word in (first, Own(again))] == [0, 1]


def test_an_encoder_and_a_data_set_of_ones_own(tmp_path: Path) -> None:
    """Numbers are those of their features, the module is left as it is, cards say what it was."""
    source, net = digits(), Net()
    before = checkpoints.fingerprint(net)
    transform = Transform(Recipe(size=16, mean=(0.3, 0.3, 0.3), std=(0.4, 0.4, 0.4)))
    pair = Arrays(source.train), Arrays(source.val)
    place = {"output": str(tmp_path), "run_id": "own"}
    found = evaluate(net, pair, ("knn", "logistic"), transform=transform, **QUIET, **place)
    parts = [embed(net, part, transform=transform) for part in (source.train, source.val)]
    from cl.eval.knn import knn
    from cl.eval.logistic import logistic

    assert found["knn"].numbers == knn(*parts, 10).numbers
    assert found["logistic"].numbers == logistic(*parts, 10).numbers
    assert checkpoints.fingerprint(net) == before
    assert net.training
    cards = json.loads((tmp_path / "own" / "cards.json").read_text())["derived"]["cards"]
    assert cards[0]["encoder"]["name"] == "tests.eval.test_python:Net"
    assert cards[0]["encoder"]["sha256"] == before
    assert cards[0]["parts"]["test"]["images"] == 359


class OneChannel(nn.Sequential):
    """An encoder that does not say the width of its features."""

    def __init__(self) -> None:
        super().__init__(nn.Conv2d(1, 8, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())


def test_an_encoder_of_one_channel_is_fine_tuned(tmp_path: Path) -> None:
    gray, g = sets.Decoding(channels=1), np.random.default_rng(0)
    images = g.integers(0, 255, (32, 8, 8, 1)).astype(np.uint8)
    source = sets.from_dataset(images, labels=np.arange(32) % 2, decoding=gray)
    transform = Transform(Recipe(size=8).of_channels((0.5,), (0.5,)), gray)
    place = {"output": str(tmp_path), "epochs": 1, "batch_size": 8}
    found = evaluate(OneChannel(), source, "finetune", transform=transform, **QUIET, **place)
    assert 0 <= found["finetune"].numbers["top1"] <= 1


def test_features_of_ones_own_encoder_are_taken_anew(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    """Another forward of the same weights gives other features; no cache says otherwise."""

    class Other(Net):
        def forward(self, x: Tensor) -> Tensor:
            return self.conv(x).mean(dim=(2, 3)).sum(dim=1, keepdim=True)

    Other.__qualname__, Other.__module__ = Net.__qualname__, Net.__module__
    transform, found = Transform(Recipe(size=16)), []
    for net in (Net(), Other()):
        place = {"output": str(tmp_path), "image_size": 16}
        (result,) = evaluate(net, digits(), "knn", transform=transform, **QUIET, **place).values()
        found.append(result.numbers["top1"])
    assert found[0] > found[1]
    assert capsys.readouterr().out.count("one pass") == 4
    assert len([*tmp_path.iterdir()]) == 2  # a run each, though no id was given
    assert not [*tmp_path.rglob("features")]  # which would stay for nobody


def test_a_command_goes_on_with_what_is_in_no_memory_alone(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    programs = []
    monkeypatch.setattr(trainer, "fit", lambda *given, **_: programs.append(given[4]) or 3)
    for encoder in (Net(), run):
        with pytest.raises(RuntimeError, match="exit code 3"):
            evaluate(encoder, "digits", "linear", **QUIET, **SHORT, output=str(tmp_path))
    assert programs == [None, "main_linear.py"]


def test_one_of_several_that_cannot_be_done(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """The others' results come back; alone it raises."""
    source = digits()
    alone = source.val.subset(np.array([0, 1]))  # two classes, an image each
    few = Source("digits", source.classes, source.train, alone)
    place, transform = {"output": str(tmp_path)}, Transform(Recipe(size=16))
    found = evaluate(Net(), few, ("retrieval", "knn"), transform=transform, **QUIET, **place)
    assert [*found] == ["knn"]
    assert "error: --eval retrieval needs two test images" in capsys.readouterr().err
    with pytest.raises(ValueError, match="--eval retrieval needs two test images"):
        evaluate(Net(), few, "retrieval", transform=transform, **QUIET, **place)


def test_what_cannot_be_asked_for_is_said(run: Path) -> None:
    transform, source = Transform(Recipe(size=16)), digits()
    for encoder, data, given, flags, said in (
        (run, "digits", transform, {}, "transform cannot be used with a file"),
        (Net(), source, transform, {"data_fraction": 0.1}, "--data_fraction cannot be used with"),
        (run / "nowhere", "digits", None, {}, "nowhere"),
    ):
        with pytest.raises(ValueError, match=said):
            evaluate(encoder, data, "knn", transform=given, **flags)


def process_state() -> dict[str, Any]:
    """What of a process a call might change."""
    return {
        "torch": torch.get_rng_state().tolist(),
        "numpy": np.random.get_state()[1].tolist(),  # noqa: NPY002
        "dtype": torch.get_default_dtype(),
        "grad": torch.is_grad_enabled(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "threads": torch.get_num_threads(),
        "signals": [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)],
        "warnings": (warnings.showwarning, list(warnings.filters)),
        "levels": [logging.getLogger(n).level for n in ("pytorch_lightning", "lightning_fabric")],
        "environment": dict(os.environ),
        "backend": __import__("matplotlib").rcParams["backend"],
    }


def test_random_states_are_kept() -> None:
    before = random.getstate()
    with kept_random_states():
        random.seed(5)
    assert random.getstate() == before


@pytest.mark.parametrize("precision", [pytest.param("32", marks=pytest.mark.slow), "64"])
def test_the_process_is_left_as_it_was(run: Path, tmp_path: Path, precision: str) -> None:
    place = {"output": str(tmp_path), "pictures": True}
    flags = QUIET | SHORT | place | {"precision": precision}
    before = process_state()
    evaluate(run, "digits", ("linear", "knn"), **flags)
    after = process_state()
    assert {k for k in before if before[k] != after[k]} == set()
    assert "matplotlib.pyplot" not in vars(_plots)


NOTEBOOK = """
import asyncio, sys

del sys.modules["__main__"].__file__

async def cell():
    import torch
    from torch import nn

    import cl.data.sets
    from cl.evaluation import Transform, embed, evaluate
    from cl.data.augment.recipe import Recipe

    source = cl.data.sets.load("digits", "data")
    net = nn.Sequential(nn.Flatten(), nn.LazyLinear(16))
    net(torch.zeros(1, 3, 16, 16))
    transform = Transform(Recipe(size=16))
    flags = {"output": OUTPUT, "wandb": "off", "num_workers": 1, "precision": "32"}
    for _ in range(2):
        found = evaluate(net, source, ("linear", "knn"), transform=transform, epochs=1, **flags)
    print("found", *found)

asyncio.run(cell())
"""


@pytest.mark.slow
def test_in_a_notebook(tmp_path: Path) -> None:
    """In a running event loop, without a file of the program, twice."""
    code = NOTEBOOK.replace("OUTPUT", repr(str(tmp_path)))
    done = subprocess.run([sys.executable, "-c", "__file__ = ''\n" + code], capture_output=True)
    assert done.returncode == 0, done.stderr.decode()
    assert "found linear knn" in done.stdout.decode()
    assert len([*tmp_path.iterdir()]) == 2


def test_the_document_runs(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """The Python of docs/evaluation.md, with this run in the place of RUN_ID."""
    text = (Path(main_linear.__file__).parent / "docs" / "evaluation.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    code = code.replace("trained_models/RUN_ID", str(run))
    code = code.replace("epochs=10", f"epochs=1, output={str(tmp_path)!r}, wandb='off'")
    exec(code, {"__name__": "document"})
    assert "{'k': " in capsys.readouterr().out
