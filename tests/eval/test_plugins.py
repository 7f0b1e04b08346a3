"""An evaluation is a file, or a function that can be imported; no list knows it by name."""

import ast
import inspect
import json
import re
import textwrap
from pathlib import Path

import pytest
import torch

import cl
import main_linear
from cl import checkpoints
from cl import eval as evaluations
from cl.config import Linear, parse_linear
from cl.config.evaluations import about, built_in, meant
from cl.config.helptext import help_of
from cl.eval import NAMES, get_evaluation
from cl.eval._result import EvalResult
from cl.nets import encoders

ROOT = Path(cl.__file__).parent
HOLDERS = (ast.Tuple, ast.List, ast.Set, ast.Dict, ast.Compare, ast.Call, ast.Assign, ast.AnnAssign)
PROBE = '''
    import torch

    from cl.bounds import Share
    from cl.eval._result import EvalResult, score


    def mean_probe(
        train,
        test,
        classes,
        *,
        shrink: Share = 0.5,
        seed: int = 0,
    ):
        """The class whose mean is nearest.

        Args:
            shrink: how far means are moved to the mean of all
        """
        h, labels = train
        means = torch.stack([h[labels == c].mean(dim=0) for c in range(classes)])
        means = means + shrink * (h.mean(dim=0) - means)
        return score(-torch.cdist(test[0], means), test[1])


    def in_place(train, test, classes):
        h, labels = train
        h -= h.mean(dim=0)
        labels.zero_()
        return EvalResult({"largest": float(h.mean(dim=0).abs().max())})


    def broken(train, test, classes):
        raise RuntimeError("the probe is broken")


    def other(h, labels):
        return None
'''


@pytest.fixture
def probes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A package with evaluations that lies in a folder on the path."""
    package = tmp_path / "library" / "mypackage"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("raise_if_parsed = 1\n")
    (package / "probes.py").write_text(textwrap.dedent(PROBE))
    monkeypatch.syspath_prepend(tmp_path / "library")
    return "mypackage.probes"


def random_weights(folder: Path) -> Path:
    """A file of an encoder with random weights."""
    torch.manual_seed(0)
    about = {"encoder": "resnet6_w4", "image_size": 16, "dataset": "digits"}
    about |= {"mean": [0.3] * 3, "std": [0.4] * 3}
    file = folder / "encoder.safetensors"
    checkpoints.save_encoder(encoders.create("resnet6_w4", 16), file, about)
    return file


@pytest.mark.parametrize("name", NAMES)
def test_a_file_is_an_evaluation(name: str) -> None:
    """Its function has its name, returns an `EvalResult`, and says what its arguments are."""
    function = get_evaluation(name)
    assert inspect.signature(function).return_annotation is EvalResult
    doc = inspect.getdoc(function)
    for section in ("Args:", "Returns:"):
        assert section in doc
    for parameter in inspect.signature(function).parameters:
        assert f"    {parameter}: " in doc


def test_the_sources_say_what_is_imported() -> None:
    assert list(built_in()) == NAMES
    assert Linear.eval == (evaluations.DEFAULT,)
    assert meant(["all"])
    for name in NAMES:
        first = next(iter(inspect.signature(get_evaluation(name)).parameters))
        assert about(name).of_images == (first in ("encoder", "untrained"))
        assert (name in meant(["all"])) == (first == "train")


def test_a_plugin_is_parsed_and_helped(probes: str, capsys: pytest.CaptureFixture) -> None:
    name = f"{probes}:mean_probe"
    line = ["digits", "resnet6", "--pretrained_feature_extractor", "x", "--eval", "knn", name]
    config = parse_linear([*line, "--shrink", "0.25", "--k", "3"])
    assert config.eval == ("knn", name)
    assert (config.shrink, config.k) == (0.25, (3,))
    assert isinstance(config, Linear)
    with pytest.raises(SystemExit):
        parse_linear([*line, "--help"])
    shown = " ".join(capsys.readouterr().out.split())
    assert "--shrink X how far means are moved to the mean of all (default: 0.5)" in shown
    assert f"options of --eval {name}:" in shown
    assert "--shrink" not in help_of(Linear)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--eval {0}:mean_probe --shrink 2", "--shrink must be from 0 to 1, not 2."),
        ("--eval {0}:absent", "probes.py has no function absent"),
        (
            "--eval {0}:other",
            "must take (train, test, classes), (encoder, data, classes), (untrained, data, ",
        ),
        ("--eval nowhere.to:be_found", "no module nowhere.to"),
        ("--eval knn --shrink 0.1", "unknown flag --shrink"),
    ],
)
def test_what_is_no_plugin_is_said(words: str, said: str, probes: str) -> None:
    line = ["digits", "resnet6", "--pretrained_feature_extractor", "x"]
    with pytest.raises(ValueError, match=re.escape(said)):
        parse_linear([*line, *words.format(probes).split()])


def run(tmp_path: Path, *words: object, expect: int = 0, run_id: str = "probe") -> Path:
    line = ["digits", "resnet6_w8", "--num_workers", "1", "--precision", "32", "--wandb", "off"]
    argv = [*line, "--output", str(tmp_path), "--run_id", run_id, *map(str, words)]
    assert main_linear.main(argv) == expect
    return tmp_path / run_id


@pytest.fixture
def encoder(tmp_path: Path) -> Path:
    """The file of an untrained encoder."""
    from cl.checkpoints import save_encoder
    from cl.nets import encoders

    file = tmp_path / "encoder.safetensors"
    save_encoder(encoders.create("resnet6_w8", 16), file, {})
    return file


def test_a_plugin_runs_beside_others(
    probes: str, tmp_path: Path, encoder: Path, capsys: pytest.CaptureFixture
) -> None:
    """Its number has a card that says what it was given; the card is verified."""
    name, given = f"{probes}:mean_probe", ["--pretrained_feature_extractor", encoder]
    done = run(tmp_path, *given, "--eval", name, "knn", "--shrink", "0.25")
    result = json.loads((done / "result.json").read_text())
    assert result[name]["top1"] > 0.3
    cards = json.loads((done / "cards.json").read_text())["derived"]["cards"]
    (card,) = [card for card in cards if card["evaluation"] == name]
    images = {"batch": 256, "channels_last": True, "precision": "32-true"}
    assert card["given"] == {"shrink": 0.25, "seed": 0, "images": images}
    assert card["numbers"] == result[name]
    assert (done / "confusion-mypackage.probes-mean_probe.csv").exists()
    capsys.readouterr()
    verified = ["--verify", str(done), "--output", str(tmp_path), "--run_id", "again"]
    assert main_linear.main(["digits", "resnet6_w8", *verified]) == 0
    assert f"{name}: the same as then" in capsys.readouterr().out


def test_one_that_works_in_place_changes_nothing_for_others(probes: str, tmp_path: Path) -> None:
    """Of features that are mapped from a file as soon as they are extracted."""
    own, file = f"{probes}:in_place", random_weights(tmp_path)
    flags = {"num_workers": 1, "precision": "32", "wandb": "off", "output": str(tmp_path)}
    found = cl.evaluate(file, "digits", (own, "knn"), **flags)
    assert found[own].numbers["largest"] < 1e-5
    alone = cl.evaluate(file, "digits", "knn", **flags)
    assert found["knn"].numbers == alone["knn"].numbers


def test_one_that_cannot_be_done_leaves_the_others(
    probes: str, tmp_path: Path, encoder: Path, capsys: pytest.CaptureFixture
) -> None:
    """Whatever it is: a user's error in a line, any other with its traceback."""
    given, name = ["--pretrained_feature_extractor", encoder], f"{probes}:broken"
    done = run(tmp_path, *given, "--eval", name, "knn", expect=2)
    said = capsys.readouterr()
    assert f"error: --eval {name}: the probe is broken" in said.err
    assert "Traceback" in said.err
    assert "knn         top1" in said.out
    assert json.loads((done / "result.json").read_text()).keys() >= {"knn", "encoder"}
    run(tmp_path, *given, "--eval", name, expect=2, run_id="alone")
    assert not (tmp_path / "alone" / "result.json").exists()
    with pytest.raises(RuntimeError, match="the probe is broken"):
        run(tmp_path, *given, "--eval", name, "--debug", run_id="debugged")
