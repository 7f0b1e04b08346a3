"""A slice of `python -m tests.faults.fuzz`, and what longer runs of it have found."""

import json
from pathlib import Path

import pytest

from cl import logs
from cl.config import ConfigError, parse_pretrain
from cl.data.sets import load
from cl.metrics import read_metrics, read_newest
from tests.faults.fuzz import fuzz

ROWS = "step,epoch,train/loss\n1,0,0.5\n2,0,nan\n"


@pytest.mark.timeout(300)
@pytest.mark.filterwarnings("ignore")
def test_damaged_input_of_every_kind_is_refused_in_words() -> None:
    made = fuzz(200)
    assert not made.found
    assert len(made.counts) >= 8
    assert sum(made.counts.values()) >= 200


def test_a_flag_of_a_list_with_no_before_it() -> None:
    with pytest.raises(ConfigError):
        parse_pretrain(["digits", "resnet6_w8", "--no-value_range"])


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
