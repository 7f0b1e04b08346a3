"""A run that is named says what the line does not: its settings, data, encoder, and its place."""

from dataclasses import fields, replace
from pathlib import Path

import pytest

from cl.config import ConfigError, Pretrain, to_json
from cl.config.handed_on import OF_DATA, data_places, words_of_evaluation
from cl.config.options import DataOptions
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


# Settings that say nothing of how a sample is read, or that the file of weights says.
OF_OTHERS = {
    *(
        "encoder",
        "data_fraction",
        "val_fraction",
        "batch_size",
        "global_batch_size",
        "num_workers",
        "backend",
    ),
    *("last_batch_fill", "image_size", "max_length", "pooling", "download"),
    *("query_prompt", "document_prompt"),
}


def test_all_that_says_how_data_are_read_is_handed_on() -> None:
    assert {*OF_DATA} == {field.name for field in fields(DataOptions)} - OF_OTHERS


READ = {
    "folder": "--train_dir t --val_dir v --class_list c.txt --channels 4 --value_range 0 100",
    "labeled:a.csv": "--image_column x --label_column y --label_separator ; --no-exif_orientation "
    "--skip_corrupt --max_pixels 1000",
}


@pytest.mark.parametrize("dataset", READ)
def test_the_printed_line_reads_the_data_as_the_run_did(
    dataset: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("t", "v"):
        (tmp_path / "data" / name).mkdir(parents=True)
    for name in ("c.txt", "data/a.csv"):
        (tmp_path / name).write_text("a\n")
    monkeypatch.chdir(tmp_path)
    line = f"{dataset} resnet6_w8 --data_folder data {READ[dataset]}"
    run = made_run(tmp_path, line)
    config = parse_pretrain([*line.split(), "--output", "runs"])
    printed = words_of_evaluation(config, run)
    assert printed == ["--pretrained_feature_extractor", str(run)]
    read = parse_linear(printed)
    assert [getattr(read, name) for name in OF_DATA] == [getattr(config, name) for name in OF_DATA]


@pytest.mark.parametrize("names", ["flowers:read resnet6_w8", "flowers:read nets:Own"])
def test_the_printed_line_names_what_is_ones_own(
    names: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And says all, where that makes it a whole line."""
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "flowers.py").write_text("def read(name, where): ...")
    (tmp_path / "nets.py").write_text("class Own: ...")
    (tmp_path / "my data").mkdir()
    words = [*names.split(), "--data_folder", f"{tmp_path}/my data", "--value_range", "0", "9.5"]
    config = parse_pretrain(words)
    run = tmp_path / "run"
    run.mkdir()
    (run / "config.json").write_text(to_json(config))
    printed = words_of_evaluation(config, run)
    read = parse_linear(printed)
    assert (read.dataset, read.encoder, read.value_range) == (*names.split(), (0.0, 9.5))
    assert read.data_folder == f"{tmp_path}/my data"
    assert ("--data_folder" in printed) is ("nets:Own" in names)
    monkeypatch.chdir(tmp_path)
    words[words.index("--data_folder") + 1] = "my data"  # the line runs from any folder
    assert words_of_evaluation(parse_pretrain(words), run) == printed


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


def test_the_data_of_a_run_is_found_from_any_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Settings are kept as they were typed, and the whole paths beside them."""
    (tmp_path / "my data/train/a").mkdir(parents=True)
    (tmp_path / "classes.txt").write_text("a\n")
    (tmp_path / "run").mkdir()
    monkeypatch.chdir(tmp_path)
    line = "folder resnet6_w8 --train_dir train --val_dir train --class_list classes.txt"
    config = parse_pretrain([*line.split(), "--data_folder", "my data"])
    (tmp_path / "run/config.json").write_text(to_json(config, {"places": data_places(config)}))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    found = parse_linear(["--pretrained_feature_extractor", str(tmp_path / "run")])
    assert found.data_folder == str(tmp_path / "my data")
    assert found.class_list == str(tmp_path / "classes.txt")


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
