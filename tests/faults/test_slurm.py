"""bash_files/run_slurm.sh: its job is told to end in time, is queued again, and goes on."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.distributed.exactness import free_port
from tests.end_to_end.conftest import folder
from tests.faults.processes import same

__all__ = ["folder"]
ROOT = Path(__file__).parents[2]
# Starts two tasks; those of a job with SIGNALED get SIGTERM, with all that they have started.
SRUN = """#!{python}
import os, signal, subprocess, sys, time
from pathlib import Path
flag, *words = sys.argv[1:]
assert flag == "--kill-on-bad-exit=0"  # else the first task to end takes the others with it
tasks = [
    subprocess.Popen([sys.executable, *words[1:]], start_new_session=True, env=os.environ | {{
        "SLURM_PROCID": str(task), "SLURM_LOCALID": str(task), "SLURM_NODEID": "0",
        "SLURM_NTASKS": "2", "SLURM_NTASKS_PER_NODE": "2", "SLURM_NNODES": "1",
        "SLURM_NODELIST": "127.0.0.1",
    }})
    for task in range(2)
]
metrics = Path(os.environ["METRICS"])
while "SIGNALED" in os.environ and any(task.poll() is None for task in tasks):
    if metrics.exists() and metrics.read_bytes().count(b"\\n") > 6:
        for task in tasks:
            os.killpg(task.pid, signal.SIGTERM)
        break
    time.sleep(0.05)
sys.exit(max(task.wait() for task in tasks))
"""
SCONTROL = """#!/bin/sh
echo "$@" >> "$REQUEUED"
"""
FLAGS = (
    "--epochs 3 --global_batch_size 8 --image_size 32 --hidden_mlp 16 --encoding_size 16 "
    "--num_workers 1 --backend torch --precision 32 --no-baseline --wandb off --no-report "
    "--log_every_n_steps 1 --warmup_epochs 1"
).split()


@pytest.mark.slow
def test_a_job_that_is_queued_again_goes_on(folder: Path, tmp_path: Path) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, text in (("srun", SRUN.format(python=sys.executable)), ("scontrol", SCONTROL)):
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    requeued = tmp_path / "requeued"

    def job(number: int, **more: str) -> tuple[int, str]:
        place = tmp_path / "runs"
        done = subprocess.run(
            ["bash", "bash_files/run_slurm.sh", folder, *FLAGS, "--output", place],
            cwd=ROOT,
            env=os.environ
            | {"PATH": f"{programs}:{os.environ['PATH']}", "SLURM_JOB_ID": str(number)}
            | {"REQUEUED": str(requeued), "METRICS": str(place / f"slurm-{number}/metrics.csv")}
            | {"MASTER_PORT": str(free_port()), "OMP_NUM_THREADS": "1", **more},
            capture_output=True,
            text=True,
            timeout=200,
        )
        return done.returncode, done.stdout + done.stderr

    code, said = job(17, SIGNALED="")
    assert code == 143, said
    assert "SIGTERM: step " in said
    assert "Traceback" not in said
    assert requeued.read_text() == "requeue 17\n"
    code, said = job(17, SLURM_RESTART_COUNT="1")
    assert code == 0, said
    assert f"going on with {tmp_path}/runs/slurm-17" in said
    code, said = job(18)
    assert code == 0, said
    assert same(tmp_path / "runs/slurm-17", tmp_path / "runs/slurm-18")
    assert requeued.read_text() == "requeue 17\n"
