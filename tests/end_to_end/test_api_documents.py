"""docs/api.md and docs/quickstart.ipynb are run as they stand, the notebook for fewer epochs."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
QUIET = {"PYTHONPATH": str(REPOSITORY), "PYTHONWARNINGS": "ignore"}


def test_the_blocks_of_api_md_are_a_program(tmp_path: Path) -> None:
    text = (REPOSITORY / "docs" / "api.md").read_text(encoding="utf-8")
    program = "\n".join(re.findall(r"```python\n(.*?)```", text, re.DOTALL))
    program = program.replace('wandb="off")', f'wandb="off", output={str(tmp_path)!r})')
    (tmp_path / "program.py").write_text(program, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "program.py"],
        cwd=tmp_path,
        env=os.environ | QUIET,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "torch.Size([200, 32])" in done.stdout
    assert "train/loss" in done.stdout


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_the_notebook_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nbclient = pytest.importorskip("nbclient", reason="the notebook needs pip install nbclient")
    pytest.importorskip("ipykernel", reason="the notebook needs pip install ipykernel")
    import nbformat

    for name, value in QUIET.items():
        monkeypatch.setenv(name, value)
    notebook = nbformat.read(REPOSITORY / "docs" / "quickstart.ipynb", as_version=4)
    for cell in notebook.cells:
        cell.source = cell.source.replace('wandb="off"', f'wandb="off", output={str(tmp_path)!r}')
        cell.source = re.sub(r"epochs=\d+", "epochs=3", cell.source)
    nbclient.NotebookClient(
        notebook, timeout=200, kernel_name="python3", cwd=str(tmp_path)
    ).execute()
    shown = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    pictures = [o for o in shown if "image/png" in o.get("data", {})]
    assert len(pictures) == 2
    (accuracies,) = [o.data["text/plain"] for o in shown if "'linear'" in str(o.get("data", ""))]
    assert all(value > 0.5 for value in eval(accuracies).values())
