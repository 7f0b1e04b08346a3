"""The examples of docs/data.md run, and print what they say that they print."""

import re
from pathlib import Path

import pytest
import torch

TEXT = (Path(__file__).parents[2] / "docs" / "data.md").read_text(encoding="utf-8")
SECTION = TEXT[TEXT.index("## From Python") : TEXT.index("## Training and validation part")]
EXAMPLES = re.findall(r"```python\n(.*?)```", SECTION, re.DOTALL)


@pytest.mark.parametrize("example", EXAMPLES, ids=["data set", "arrays", "DataLoader"])
def test_an_example_runs(example: str, capsys: pytest.CaptureFixture) -> None:
    torch.manual_seed(0)
    exec(example, {"__name__": "example"})
    promised = re.findall(r"print\(.*\)  # (.*)\n", example)
    assert promised
    assert capsys.readouterr().out.splitlines() == promised
