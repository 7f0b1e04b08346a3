"""Every evaluation through the program: its numbers, its cards, what it refuses."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from cl.checkpoints import about_encoder, read_encoder
from cl.config import evaluations
from cl.eval import _features as features

Run = Callable[..., Path]
SHORT = ["--num_workers", "1", "--precision", "32", "--batch_size", "128", "--epochs", "3"]
SHORT += ["--lr_decay_steps", "2"]


@pytest.fixture
def run(pretrain: Run, digits: list[str]) -> Path:
    return pretrain(*digits, "--no-baseline", "--max_steps", "11")


def result(folder: Path) -> dict:
    return json.loads((folder / "result.json").read_text())


def test_all_from_one_pass(run: Path, linear: Run, capsys: pytest.CaptureFixture) -> None:
    words = ["digits", "resnet6_w8", "--pretrained_feature_extractor", run, *SHORT]
    grids = ["--lr_grid", "0.1", "1", "--k", "5", "20", "--c", "0.1", "1"]
    done = linear(*words, "--eval", "all", *grids)
    said = capsys.readouterr().out
    assert said.count("one pass") == 2
    found = result(done)
    names = evaluations.meant(["all"])
    assert [*found][: len(names)] == [*names]
    for name in ("linear", "logistic", "knn"):
        numbers = found[name]
        assert 0.5 < numbers["top1"] < numbers["top5"] <= 1
        assert numbers["top1_95"][0] < numbers["top1"] < numbers["top1_95"][1]
        counts = np.loadtxt(done / f"confusion-{name}.csv", delimiter=",")
        assert counts.sum() == 359
        assert counts.trace() / 359 == pytest.approx(numbers["top1"])
        low, high = (100 * bound for bound in numbers["top1_95"])
        span = f"(95 %: {low:.2f} to {high:.2f})"
        share = f"{name:12}top1 {100 * numbers['top1']:.2f} % {span}, mean_per_class"
        assert share in said
    cards = json.loads((done / "cards.json").read_text())["derived"]["cards"]
    by_name = {card["evaluation"]: card for card in cards}
    assert by_name["linear"]["chosen"].keys() == {"lr", "weight_decay"}
    assert by_name["knn"]["chosen"].keys() == {"k", "temperature"}
    assert by_name["logistic"]["chosen"]["c"] in (0.1, 1.0)
    assert by_name["knn"]["numbers"] == found["knn"]
    made = {
        "name": "resnet6_w8",
        "norm": "batch",
        "stem": None,
        "image_size": 16,
        "padding": None,
        "epsilon": None,
    }
    assert by_name["knn"]["encoder"] == made | {"sha256": found["encoder"]}
    assert found["encoder"] == found["encoder_afterwards"]
    assert by_name["knn"]["transform"].startswith("plain 16 of all of the shorter side, (0.")
    parts = by_name["linear"]["parts"]
    assert (parts["train"]["images"], parts["test"]["images"]) == (1438, 359)


def test_cards_are_verified(run: Path, linear: Run, capsys: pytest.CaptureFixture) -> None:
    words = ["digits", "resnet6_w8", "--pretrained_feature_extractor", run, *SHORT]
    done = linear(*words, "--eval", "knn", "linear")
    capsys.readouterr()
    linear("--verify", done, run_id="again")
    said = capsys.readouterr().out
    assert said.count("one pass of the frozen encoder") == 2  # anew, also where they are cached
    assert "knn: the same as then" in said
    assert "linear: the same as then" in said
    linear("--verify", done, "--k", "1", run_id="other", expect=1)
    assert "how.k: 20 then, 1 now" in capsys.readouterr().out
    file = done / "cards.json"
    file.write_text(file.read_text().replace('"top5": 0.9', '"top5": 0.8', 1))
    linear("--verify", done, run_id="changed", expect=2)
    assert "not as it was written" in capsys.readouterr().err


def test_a_grids_rates_are_scaled_as_the_one_of_lr_is(run: Path, linear: Run) -> None:
    """What is chosen on the card is what --lr would be given to get the same numbers."""
    words = ["digits", "resnet6_w8", "--pretrained_feature_extractor", run, *SHORT]
    words[words.index("--batch_size") + 1] = "64"
    words += ["--lr_scaling", "--scheduler", "warmup_cosine", "--warmup_epochs", "1"]
    words += ["--lr", "1e-5", "--warmup_start_lr", "0.05"]
    words = [w for w in words if w not in ("--lr_decay_steps", "2")]
    done = linear(*words, "--lr_grid", "0.4", "1e-5", run_id="grid")
    cards = json.loads((done / "cards.json").read_text())["derived"]["cards"]
    assert cards[0]["chosen"] == {"lr": 0.4, "weight_decay": 0.0}
    assert [each["lr"] for each in cards[0]["how"]["grid"]] == [0.4, 1e-5]
    assert cards[0]["how"]["lr"] == pytest.approx(0.1)
    assert cards[0]["how"]["warmup_start_lr"] == 0.05
    assert (cards[0]["how"]["epochs"], cards[0]["how"]["momentum"]) == (3, 0.9)
    alone = linear(*words, "--lr", "0.4", run_id="alone")
    assert result(alone)["linear"] == result(done)["linear"]


@pytest.mark.parametrize(
    ("kind", "flags"),
    [("linear", "--lr_grid 0.1 1"), ("logistic", "--c 0.1 1"), ("knn", "--k 1 2")],
)
def test_of_one_image_a_class_nothing_is_held_out(
    kind: str, flags: str, run: Path, linear: Run, capsys: pytest.CaptureFixture
) -> None:
    words = ["digits", "resnet6_w8", "--pretrained_feature_extractor", run, *SHORT[:4]]
    linear(*words, "--data_fraction", "10", "--eval", kind, *flags.split(), expect=2)
    said = " ".join(capsys.readouterr().err.split())
    assert f"{flags.split()[0]}" in said
    assert "must be one value: --data_fraction leaves each class one" in said


@pytest.mark.parametrize("batch_size", ["1", "7"])
def test_features_numbers_do_not_depend_on_the_batch(
    run: Path, linear: Run, batch_size: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is not trained by batches: the same numbers at any batch size of the pass."""
    words = ["digits", "resnet6_w8", "--pretrained_feature_extractor", run, *SHORT[:4]]
    words += ["--eval", "knn", "retrieval", "logistic"]
    monkeypatch.setattr("cl.eval._task.PASS", 512)
    whole = linear(*words, run_id="whole")
    shutil.rmtree(run / "features")
    monkeypatch.setattr("cl.eval._task.PASS", int(batch_size))
    again = linear(*words, "--batch_size", batch_size, run_id="again")
    found, expected = (result(folder) for folder in (again, whole))
    for name, number in expected["retrieval"].items():
        assert found["retrieval"][name] == pytest.approx(number, abs=1e-5)  # of rounding
    assert found["knn"] == expected["knn"]
    assert found["logistic"] == expected["logistic"]


def test_what_learns_from_images(run: Path, linear: Run, capsys: pytest.CaptureFixture) -> None:
    """Fine-tuning and training from scratch leave another encoder, the augmented probe the same."""
    given = ["--pretrained_feature_extractor", run]
    before = read_encoder(run / "encoder.safetensors")
    for name, words in {
        "augmented": [*given, "--augment"],
        "finetune": [*given, "--eval", "finetune"],
        "supervised": ["--eval", "supervised"],
    }.items():
        done = linear("digits", "resnet6_w8", *words, *SHORT, run_id=name)
        kind = "linear" if name == "augmented" else name
        assert result(done)[kind]["top1"] > 0.3
        if name == "augmented":
            assert not (done / "encoder.safetensors").exists()
            assert result(done)["encoder"] == result(done)["encoder_afterwards"]
            continue
        after = read_encoder(done / "encoder.safetensors")
        assert before.keys() == after.keys()
        assert not before["stem.conv.weight"].equal(after["stem.conv.weight"])
        capsys.readouterr()
        again = linear(
            *("digits", "resnet6_w8", "--eval", "knn", "--pretrained_feature_extractor", done),
            run_id=f"{name}-knn",
        )
        assert result(again)["knn"]["top1"] > 0.5


def test_lora_leaves_a_plain_encoder_that_moved_in_few_directions(run: Path, linear: Run) -> None:
    words = [
        "digits",
        "resnet6_w8",
        "--eval",
        "finetune",
        "--lora_rank",
        "2",
        *SHORT,
        "--lr",
        "0.01",
    ]
    done = linear(*words, "--pretrained_feature_extractor", run)
    before, after = (read_encoder(folder / "encoder.safetensors") for folder in (run, done))
    assert before.keys() == after.keys()
    moved = {key for key in before if not before[key].equal(after[key])}
    assert moved == {key for key, value in before.items() if value.ndim == 4}
    for key in moved:
        assert torch.linalg.matrix_rank((after[key] - before[key]).flatten(1), rtol=1e-4) <= 2
    assert result(done)["finetune"]["top1"] > 0.5
    knn = ["digits", "resnet6_w8", "--eval", "knn", "--pretrained_feature_extractor", done]
    assert result(linear(*knn, run_id="knn"))["knn"]["top1"] > 0.5


def test_a_grids_rates_are_scaled_as_lr_is(run: Path, linear: Run) -> None:
    """What each reached on the held-out part, and the one that is trained, are of lr times 1/2."""
    words = ["digits", "resnet6_w8", "--pretrained_feature_extractor", run, *SHORT, "--eval"]
    found = []
    for lr, more in (("0.02", ["--lr_scaling"]), ("0.01", [])):
        done = linear(*words, "linear", "--lr_grid", lr, "1e-4", *more, run_id=f"of-{lr}")
        (card,) = json.loads((done / "cards.json").read_text())["derived"]["cards"]
        best = card["how"]["grid"][0]["held_out_top1"]
        found.append((card["how"]["lr"], best, card["numbers"]))
    assert found[0] == found[1]
    assert found[0][0] == pytest.approx(0.01)


@pytest.mark.parametrize("flag", ["--channels_last", "--no-channels_last"])
def test_the_layout_reaches_the_pass(
    flag: str, run: Path, linear: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    extract, seen = features.extract_features, []

    def spy(*args: Any, channels_last: bool = True, **options: Any) -> features.Features:
        seen.append(channels_last)
        return extract(*args, channels_last=channels_last, **options)

    monkeypatch.setattr(features, "extract_features", spy)
    linear("digits", "resnet6_w8", "--pretrained_feature_extractor", run, "--eval", "knn", flag)
    assert seen == [flag == "--channels_last"] * 2


def test_a_runs_checkpoint_is_its_encoder(pretrain: Run, digits: list[str], linear: Run) -> None:
    """By the configuration beside it also where the norm is not the usual one."""
    run = pretrain(*digits, "--no-baseline", "--max_steps", "3", "--norm", "group")
    words = ["digits", "resnet6_w8", *SHORT[:4], "--eval", "knn", "--pretrained_feature_extractor"]
    of_file, of_run = (
        result(linear(*words, given, run_id=f"of-{given.name}"))
        for given in (run / "last.ckpt", run)
    )
    assert of_file["encoder"] == of_run["encoder"]
    assert of_file["knn"] == of_run["knn"]


def test_a_fine_tuned_checkpoint_is_its_encoder(
    run: Path, linear: Run, capsys: pytest.CaptureFixture
) -> None:
    """What an evaluation left is loaded as what it was, or refused in words."""
    given = ["--pretrained_feature_extractor", run]
    words = ["digits", "resnet6_w8", *SHORT, "--max_steps", "2"]
    tuned = linear(*words, *given, "--eval", "finetune", run_id="tuned")
    knn = ["digits", "resnet6_w8", *SHORT[:4], "--eval", "knn", "--pretrained_feature_extractor"]
    of_file, of_run = (
        result(linear(*knn, path, run_id=f"of-{path.name}"))
        for path in (tuned / "last.ckpt", tuned)
    )
    assert of_file["encoder"] == of_run["encoder"]
    assert of_file["knn"] == of_run["knn"]
    (tuned / "encoder.safetensors").unlink()
    linear(*knn, tuned, run_id="bare", expect=2)
    assert "needs its encoder.safetensors beside it" in capsys.readouterr().err
    lora = linear(*words, *given, "--eval", "finetune", "--lora_rank", "1", run_id="lora")
    linear(*knn, lora / "last.ckpt", run_id="parts", expect=2)
    assert "holds the parts of --lora_rank" in capsys.readouterr().err
    probe = linear(*words, *given, run_id="probe")
    linear(*knn, probe, run_id="none", expect=2)
    assert "holds the classifier of --eval linear" in capsys.readouterr().err


def test_anothers_encoder_on_other_data(
    run: Path, linear: Run, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    """The layout of somebody else's file is told by its keys; half of one is refused."""
    encoder = read_encoder(run / "encoder.safetensors")
    file = tmp_path / "solo.ckpt"
    state = {f"backbone.{k}": v for k, v in encoder.items()}
    torch.save({"state_dict": state | {"classifier.bias": torch.zeros(3)}}, file)
    words = ["digits", "resnet6_w8", *SHORT[:4], "--eval", "knn", "--pretrained_feature_extractor"]
    done = linear(*words, file, run_id="solo")
    said = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert "tensors, solo-learn's layout; left out: classifier 1" in said
    own = result(linear(*words, run, run_id="own"))
    assert result(done)["encoder"] == own["encoder"]
    state.pop("backbone.stem.conv.weight")
    torch.save({"state_dict": state}, file)
    linear(*words, file, run_id="half", expect=2)
    assert "1 missing (stem.conv.weight)" in " ".join(capsys.readouterr().err.split())


def test_features_of_a_file_of_no_run_are_kept_beside_all_runs(
    run: Path, linear: Run, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    """The next evaluation finds them; where nothing can be written they are its own."""
    file = tmp_path / "elsewhere" / "encoder.safetensors"
    file.parent.mkdir()
    shutil.copy(run / file.name, file)
    words = ["digits", "resnet6_w8", *SHORT[:4], "--eval", "knn", "--pretrained_feature_extractor"]
    first = linear(*words, file, run_id="first")
    assert len([*(tmp_path / "features").glob("*.npy")]) == 4
    assert not (first / "features").exists()
    capsys.readouterr()
    linear(*words, file, run_id="second")
    assert capsys.readouterr().out.count(f"cached in {tmp_path / 'features'}") == 2
    shutil.rmtree(tmp_path / "features")
    (tmp_path / "features").touch()
    third = linear(*words, file, "--image_size", "96", run_id="third")
    assert len([*(third / "features").glob("*.npy")]) == 4
    cards = json.loads((third / "cards.json").read_text())["derived"]["cards"]
    assert cards[0]["transform"].startswith("plain 96 of the central 0.875 of the shorter side")


def test_pictures_and_another_format(
    run: Path, linear: Run, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["digits", "resnet6_w8", *SHORT[:4], "--eval", "knn", "--pretrained_feature_extractor"]
    monkeypatch.setattr("cl.export.PACKAGES", ("nowhere",))
    linear(*words, run, "--export", "onnx", run_id="none", expect=2)
    assert "--export onnx needs nowhere: pip install nowhere" in capsys.readouterr().err
    written: list[Path] = []

    said: dict[str, str] = {}

    def onnx(_: torch.nn.Module, size: int, path: Path, channels: int, metadata: Any) -> float:
        written.append(path)
        said.update(metadata)
        return 0.0

    monkeypatch.setattr("cl.export.PACKAGES", ())
    monkeypatch.setattr("cl.export.export_onnx", onnx)
    done = linear(*words, run, "--export", "onnx", "--pictures", run_id="all")
    assert written == [done / "encoder.onnx"]
    about = about_encoder(run / "encoder.safetensors")
    assert {key: json.loads(value) for key, value in said.items()} == {
        "encoder": "resnet6_w8",
        "size": about["image_size"],
        "channels": 3,
        "mean": about["mean"],
        "std": about["std"],
        "central": 1.0,
        "interpolation": "bilinear",
    }
    names = {"features", "spectrum", "neighbors", "confusion-knn"}
    assert {path.stem for path in done.glob("*.png")} == names
    assert "features.png, spectrum.png" in capsys.readouterr().out


def test_what_is_exported_is_what_was_trained(
    run: Path, linear: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[dict[str, torch.Tensor]] = []

    def onnx(encoder: torch.nn.Module, *_: object) -> float:
        written.append(encoder.state_dict())
        return 0.0

    monkeypatch.setattr("cl.export.PACKAGES", ())
    monkeypatch.setattr("cl.export.export_onnx", onnx)
    words = ["digits", "resnet6_w8", *SHORT, "--max_steps", "2", "--eval", "finetune"]
    words += ["--export", "onnx", "--pretrained_feature_extractor", run]
    for name, more in {"whole": [], "lora": ["--lora_rank", "1"]}.items():
        saved = read_encoder(linear(*words, *more, run_id=name) / "encoder.safetensors")
        exported = written.pop()
        assert exported.keys() == saved.keys()
        assert all(exported[key].equal(value) for key, value in saved.items())


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--eval knn", "--pretrained_feature_extractor is missing"),
        (
            "--eval supervised --pretrained_feature_extractor /",
            "cannot be used with --eval supervised",
        ),
        ("--eval knn all --pretrained_feature_extractor /", "must stand alone, not in knn all."),
        ("--eval knn --c 1 --pretrained_feature_extractor /", "--c needs --eval logistic or all."),
        ("--eval knn --augment --pretrained_feature_extractor /", "--augment needs --eval linear."),
        (
            "--eval all --lr_grid 0.1 1 --scheduler reduce --pretrained_feature_extractor /",
            "--scheduler reduce cannot be used with --lr_grid.",
        ),
        ("--eval knn nearest", "unexpected word nearest"),
        ("--verify /nowhere", "--verify must be a run's cards.json; /nowhere: No such file"),
    ],
)
def test_contradictions_are_refused(
    words: str, said: str, linear: Run, capsys: pytest.CaptureFixture
) -> None:
    linear("digits", "resnet6_w8", *words.split(), expect=2)
    assert said in capsys.readouterr().err
