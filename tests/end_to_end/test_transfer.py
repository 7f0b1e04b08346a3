"""Several data sets in one command: a run each, and the mean of their numbers."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from cl import checkpoints
from cl.eval._report import transfer_table
from cl.eval._result import EvalResult
from cl.evaluation import evaluate
from cl.nets import encoders


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    file = tmp_path / "encoder.safetensors"
    about = {"encoder": "resnet6_w4", "norm": "batch", "image_size": 16}
    checkpoints.save_encoder(encoders.create("resnet6_w4", 16), file, about)
    return file


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """A table of 30 images of three colors, each with noise."""
    rng, lines = np.random.default_rng(0), ["path,label"]
    for i in range(30):
        pixels = rng.integers(0, 120, (16, 16, 3), dtype=np.uint8)
        pixels[..., i % 3] += 60
        Image.fromarray(pixels).save(tmp_path / f"{i}.png")
        lines.append(f"{i}.png,{'rgb'[i % 3]}")
    (tmp_path / "table.csv").write_text("\n".join(lines) + "\n")
    return tmp_path / "table.csv"


def test_each_data_set_has_its_run_and_all_a_mean(
    weights: Path,
    table: Path,
    tmp_path: Path,
    linear: Callable[..., Path],
    capsys: pytest.CaptureFixture,
) -> None:
    words = ["digits", "resnet6_w4", "--pretrained_feature_extractor", weights, "--eval", "knn"]
    words += ["logistic", "--num_workers", 1, "--precision", 32]
    linear(*words, "--transfer", f"labeled:{table}", run_id="each")
    said = " ".join(capsys.readouterr().out.translate({ord(line): " " for line in "│┃"}).split())
    found = [json.loads(f.read_text()) for f in sorted(tmp_path.glob("each-*/result.json"))]
    assert len(found) == 2
    means = [sum(each[name]["top1"] for each in found) / 2 for name in ("knn", "logistic")]
    assert "data set knn top1 logistic top1" in said
    assert f"mean of 2 {100 * means[0]:.2f} % {100 * means[1]:.2f} %" in said
    assert found[0]["knn"]["top1"] != found[1]["knn"]["top1"]
    alone = linear(*words, run_id="alone")
    numbers = json.loads((alone / "result.json").read_text())
    assert json.loads((tmp_path / "each-digits/result.json").read_text())["knn"] == numbers["knn"]


def test_where_one_cannot_be_done_there_is_no_mean(
    weights: Path,
    table: Path,
    linear: Callable[..., Path],
    capsys: pytest.CaptureFixture,
) -> None:
    words = ["digits", "resnet6_w4", "--pretrained_feature_extractor", weights, "--eval", "knn"]
    table.write_text(table.read_text() + "absent.png,r\n")
    linear(*words, "--transfer", f"labeled:{table}", "--num_workers", 1, expect=2)
    said = capsys.readouterr()
    assert said.err.startswith(f"error: DATASET labeled:{table}: ")
    assert said.err.count("\n") == 1
    assert "mean of 2 │ - │" in " ".join(said.out.split())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--transfer", "digits"], "--transfer must name each data set once beside DATASET"),
        (["--transfer", "ciphar10"], "unknown data set ciphar10; did you mean cifar10?"),
        (["--transfer", "cifar10", "--devices", "2"], "--transfer runs on one device."),
    ],
)
def test_what_cannot_be_asked_for_is_said(
    words: list[str],
    message: str,
    weights: Path,
    linear: Callable[..., Path],
    capsys: pytest.CaptureFixture,
) -> None:
    first = ["digits", "resnet6_w4", "--pretrained_feature_extractor", weights]
    linear(*first, "--eval", "knn", *words, expect=2)
    said = capsys.readouterr().err
    assert message in said
    assert said.count("error: ") == 1


def test_from_python_each_is_a_call(weights: Path) -> None:
    with pytest.raises(ValueError, match="--transfer is of the command line: call evaluate for"):
        evaluate(weights, "digits", "knn", transfer=("cifar10",))


def test_other_metrics_have_their_names_and_no_mean() -> None:
    results = {
        "digits": {"knn": EvalResult({"top1": 0.9}), "linear": EvalResult({"top1": 0.5})},
        "voc": {"knn": EvalResult({"map": 0.5}), "linear": EvalResult({"top1": 0.7})},
    }
    columns = transfer_table(results).columns
    assert [column.header for column in columns] == ["data set", "knn", "linear top1"]
    assert [*columns[1].cells] == ["top1 90.00 %", "map 50.00 %", "-"]
    assert [*columns[2].cells] == ["50.00 %", "70.00 %", "60.00 %"]
