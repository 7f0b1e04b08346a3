"""A slice of `python -m tests.faults.fuzz`, and what longer runs of it have found."""

import json
import warnings
from itertools import accumulate
from pathlib import Path

import numpy as np
import pytest

from cl import logs
from cl.config import ConfigError, parse_pretrain
from cl.data.sets import load
from cl.metrics import read_metrics, read_newest
from tests.faults.fuzz import fuzz
from tests.faults.made_sets import arrays

ROWS = "step,epoch,train/loss\n1,0,0.5\n2,0,nan\n"


@pytest.mark.timeout(300)
@pytest.mark.filterwarnings("ignore")
def test_damaged_input_of_every_kind_is_refused_in_words() -> None:
    made = fuzz(200)
    assert not made.found
    assert len(made.counts) >= 11
    assert sum(made.counts.values()) >= 200


def test_a_flag_of_a_list_with_no_before_it() -> None:
    with pytest.raises(ConfigError):
        parse_pretrain(["digits", "resnet6_w8", "--no-value_range"])


@pytest.mark.parametrize("name", ["x.npy", "x.npz"])
def test_arrays_with_a_damaged_header(name: str, tmp_path: Path) -> None:
    """numpy raises errors of zip files and of Python's own grammar."""
    arrays(tmp_path)
    file = tmp_path / name
    raw = file.read_bytes()
    if name.endswith("y"):
        file.write_bytes(raw.replace(b"shape': (", b"shape': [[", 1))
    else:
        file.write_bytes(raw[:-30])
    with pytest.raises(ValueError, match=rf"{name} holds no images: "):
        load(f"unlabeled:{name}", str(tmp_path))


def test_a_damaged_offset_of_a_saved_table_ends_no_process(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets", reason="Hugging Face's datasets is not installed")
    texts = [f"text {i}" for i in range(40)]
    pairs = datasets.Dataset.from_dict({"query": texts, "positive": texts})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pairs.save_to_disk(str(tmp_path / "set"))
    (file,) = (tmp_path / "set").glob("*.arrow")
    offsets = np.array([0, *accumulate(len(text) for text in texts)], np.int32).tobytes()
    damaged = offsets[:40] + b"\xff\xff\xff\x7f" + offsets[44:]
    assert offsets in file.read_bytes()
    file.write_bytes(file.read_bytes().replace(offsets, damaged))
    with pytest.raises(ValueError, match="holds no saved data set"):
        load("huggingface:set", str(tmp_path))


@pytest.mark.parametrize("tail", ["x,0,1\n", "\0\0\0\n", "3,0,a\n", "3,0\n", "3,0,1,1\n"])
def test_damaged_rows_are_left_out(tail: str, tmp_path: Path) -> None:
    file = tmp_path / "metrics.csv"
    file.write_text(ROWS + tail, newline="")
    with pytest.warns(UserWarning, match="1 damaged lines are left out"):
        assert [row["step"] for row in read_metrics(file)] == ["1", "2"]
    read_newest(file)
    with pytest.warns(UserWarning, match="damaged lines"):
        logs.CSVLog(file, 5)
    assert [row["train/loss"] for row in read_metrics(file)] == ["0.5", "nan"]


def test_objects_that_are_nested_too_deep(tmp_path: Path) -> None:
    rows = [json.dumps({"query": f"a {i}", "positive": f"b {i}"}) for i in range(12)]
    (tmp_path / "a.jsonl").write_text("\n".join([*rows, '{"query":' * 100_000]))
    with pytest.raises(ValueError, match="line 13 is not JSON that can be read"):
        load("pairs:a.jsonl", str(tmp_path))
