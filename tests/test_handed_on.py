"""A run that is named says what the line does not: its settings, data, encoder, and its place."""

from dataclasses import replace
from pathlib import Path

import pytest

from cl.config import ConfigError, Pretrain, to_json
from cl.config.parse import parse_linear, parse_pretrain


def made_run(folder: Path, line: str, run_id: str = "first") -> Path:
    """The folder of a run, with the configuration of a line."""
    run = folder / "runs" / run_id
    run.mkdir(parents=True)
    config: Pretrain = parse_pretrain([*line.split(), "--output", str(folder / "runs")])
    (run / "config.json").write_text(to_json(config))
    return run


def test_an_evaluation_needs_only_the_run(tmp_path: Path) -> None:
    data = tmp_path / "my data"
    words = f"folder resnet6_w8 --data_folder {tmp_path}/data --train_dir t --image_size 24"
    run = made_run(tmp_path, words)
    config = parse_linear(["--pretrained_feature_extractor", str(run), "--epochs", "3"])
    assert (config.dataset, config.encoder, config.train_dir) == ("folder", "resnet6_w8", "t")
    assert config.data_folder == f"{tmp_path}/data"
    assert config.epochs == 3
    assert config.image_size is None  # the file of weights says it
    other = parse_linear(["digits", "--pretrained_feature_extractor", str(run)])
    assert (other.dataset, other.encoder, other.data_folder) == ("digits", "resnet6_w8", "data")
    file = parse_linear(["--pretrained_feature_extractor", str(run / "encoder.safetensors")])
    assert file.dataset == "folder"
    given = ["digits", "resnet18", "--pretrained_feature_extractor", str(run)]
    assert parse_linear(given).encoder == "resnet18"
    assert not data.exists()


def test_texts_are_searched(tmp_path: Path) -> None:
    run = made_run(tmp_path, "wordnet bag_w8")
    config = parse_linear(["--pretrained_feature_extractor", str(run)])
    assert (config.dataset, config.encoder, config.eval) == ("wordnet", "bag_w8", ("retrieval",))


@pytest.mark.parametrize("words", ["os:path resnet6_w8", "digits os:path"])
def test_no_code_is_imported_because_a_run_names_it(tmp_path: Path, words: str) -> None:
    run = made_run(tmp_path, "digits resnet6_w8")
    dataset, encoder = words.split()
    text = (run / "config.json").read_text().replace('"resnet6_w8"', f'"{encoder}"')
    (run / "config.json").write_text(text.replace('"dataset": "digits"', f'"dataset": "{dataset}"'))
    with pytest.raises(ConfigError, match="is missing"):
        parse_linear(["--pretrained_feature_extractor", str(run)])


def test_a_run_is_called_by_its_id(tmp_path: Path) -> None:
    run, out = made_run(tmp_path, "digits resnet6_w8 --epochs 7"), ["--output", f"{tmp_path}/runs"]
    evaluated = parse_linear(["--pretrained_feature_extractor", "first", *out])
    assert evaluated.pretrained_feature_extractor == str(run)
    again = parse_pretrain(["--config", "first", *out])
    assert again == replace(parse_pretrain(["--config", str(run), *out]))
    assert again.epochs == 7
    resumed = parse_pretrain(["--resume_training_from", "first", *out])
    assert (resumed.dataset, resumed.epochs) == ("digits", 7)
    assert resumed.resume_training_from == str(run)


def test_a_path_that_is_there_is_meant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made_run(tmp_path, "digits resnet6_w8")
    monkeypatch.chdir(tmp_path)
    Path("first").mkdir()
    config = parse_linear(
        ["digits", "resnet6_w8", "--pretrained_feature_extractor", "first", "--output", "runs"]
    )
    assert config.pretrained_feature_extractor == "first"


def test_a_resumed_run_needs_nothing_else(tmp_path: Path) -> None:
    run = made_run(tmp_path, "digits resnet6_w8 --lr 0.7 --batch_size 32")
    config = parse_pretrain(["--resume_training_from", str(run / "last.ckpt")])
    assert (config.lr, config.global_batch()) == (0.7, 32)
    named = parse_pretrain(["digits", "resnet6_w8", "--resume_training_from", str(run)])
    assert named.lr != 0.7  # a whole line says everything, and is compared


def test_a_folder_that_is_no_run_is_one_fault(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"--resume_training_from must be a run's folder"
    ) as wrong:
        parse_pretrain(["--resume_training_from", str(tmp_path)])
    assert len(wrong.value.args) == 1
