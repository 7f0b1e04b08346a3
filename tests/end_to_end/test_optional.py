"""Where the optional packages are missing all else works, and what is missing is told once."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from cl.data.loaders.dali import MISSING
from cl.data.sets._decode import SLOWER
from cl.metrics import read_metrics

REPOSITORY = Path(__file__).parents[2]
# Their import fails as where they are not installed, in worker processes too.
PROGRAM = """
import json, sys
absent = "wandb", "nvidia.dali", "simplejpeg", "beartype", "lightly"
sys.modules.update(dict.fromkeys(absent))
import main_contrastive, main_linear, tests
for program, *words in json.loads(sys.argv[1]):
    print("exit", globals()[program].main(words), file=sys.stderr, flush=True)
"""
DIGITS = "digits resnet6_w4 --batch_size 128 --precision 32 --output OUTPUT"
JPEGS = (
    "imagenet100 resnet6_w4 --data_folder FOLDER --train_dir imagenet-100/train --val_dir "
    "imagenet-100/test --batch_size 8 --image_size 32 --num_workers 2 --precision 32 "
    "--output OUTPUT"
)
SHORT = "--max_steps 3 --hidden_mlp 32 --no-baseline"
EVALUATED = "--epochs 2 --pretrained_feature_extractor OUTPUT"
PIL = f"warning: {SLOWER}"
OFF = (
    "warning: wandb is off (import of wandb halted; None in sys.modules); metrics.csv has all "
    "numbers. To log there: pip install wandb"
)
MODE = "error: --wandb {} needs wandb: pip install wandb, or --wandb off."
COMMANDS = {
    f"main_contrastive {DIGITS} {SHORT} --run_id digits": [OFF, "exit 0"],
    f"main_linear {DIGITS} {EVALUATED}/digits --run_id digits-linear": [OFF, "exit 0"],
    f"main_contrastive {JPEGS} {SHORT} --run_id jpegs": [PIL, OFF, "exit 0"],
    f"main_linear {JPEGS} {EVALUATED}/jpegs --run_id jpegs-linear": [PIL, OFF, "exit 0"],
    f"main_contrastive {DIGITS} --wandb online": [MODE.format("online"), "exit 2"],
    f"main_linear {DIGITS} {EVALUATED}/digits --wandb offline": [MODE.format("offline"), "exit 2"],
    f"main_contrastive {JPEGS} {SHORT} --dali --wandb off": [
        PIL,
        f"error: {MISSING}",
        "exit 2",
    ],
}


@pytest.mark.slow
def test_what_is_missing_is_told_and_all_else_runs(folder: Path, tmp_path: Path) -> None:
    def placed(word: str) -> str:
        return word.replace("FOLDER", str(folder)).replace("OUTPUT", str(tmp_path))

    lines = [[placed(word) for word in line.split()] for line in COMMANDS]
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, json.dumps(lines)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=200,
    )
    told = [
        line
        for line in done.stderr.splitlines()
        if line.startswith(("exit", "error", "warning: wandb", "warning: simplejpeg"))
    ]
    assert told == [line for expected in COMMANDS.values() for line in expected], done.stderr
    for run in ("digits", "digits-linear", "jpegs", "jpegs-linear"):
        assert read_metrics(tmp_path / run / "metrics.csv")
