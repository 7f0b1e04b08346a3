"""`python -m cl.doctor`: whether this machine can do what a run needs, a line for each question."""

import logging
import math
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from datetime import timedelta
from importlib.util import find_spec
from pathlib import Path

from cl.terminal import escape_controls
from cl.versions import LIBRARIES, versions

ROOM = 5 * 2**30  # bytes of a disk, fewer of which a run with its checkpoints may fill
WAIT = timedelta(seconds=10)  # for two processes to find each other
Finding = tuple[str, str]  # "ok", "warning" or "error", and a sentence
OK, WARNING, ERROR = "ok", "warning", "error"


def check_libraries() -> Iterator[Finding]:
    """Versions of what computes."""
    found = versions()
    for name in LIBRARIES:
        if name not in found:
            yield ERROR, f"{name} is not installed: pip install -r requirements.txt"
    yield OK, ", ".join(f"{name} {number}" for name, number in found.items())


def check_processes() -> Iterator[Finding]:
    """Whether two processes on this machine can sum a number."""
    import torch
    from lightning_fabric import Fabric
    from lightning_fabric.strategies.ddp import DDPStrategy

    from cl import distributed

    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)  # which its import has set

    def add(fabric: Fabric) -> float:
        own = torch.tensor(float(fabric.global_rank + 1))
        return float(distributed.all_reduce_sum(own))

    # Forked before anything asks for GPUs, so that no second torch is loaded.
    strategy = DDPStrategy(start_method="fork", process_group_backend="gloo", timeout=WAIT)
    found = Fabric(accelerator="cpu", devices=2, strategy=strategy).launch(add)
    said = f"two processes sum 1 and 2 to {found:g} through gloo"
    yield (OK, said) if found == 3 else (ERROR, f"{said}; look for a firewall on the loopback")


def check_loss() -> Iterator[Finding]:
    """Whether a loss has the value that a formula gives."""
    import torch

    from cl.losses.nt_xent import nt_xent

    found = float(nt_xent(torch.eye(2).expand(2, 2, 2), temperature=1.0))
    expected = math.log(math.e + 2) - 1  # two samples at right angles whose views agree
    said = f"NT-Xent is {found:.6f}, the formula {expected:.6f}"
    yield (OK, said) if abs(found - expected) < 1e-5 else (ERROR, f"{said}; reinstall torch")


def check_devices() -> Iterator[Finding]:
    """What a run would use."""
    import torch

    if not torch.cuda.is_available():
        yield OK, "no GPU; runs use the CPU"
        if shutil.which("nvidia-smi") and os.environ.get("CUDA_VISIBLE_DEVICES") != "":
            said = f"there is a driver, but torch {torch.__version__} sees no GPU"
            yield WARNING, f"{said}: install one with CUDA, https://pytorch.org/get-started"
    for i in range(torch.cuda.device_count()):
        about = torch.cuda.get_device_properties(i)
        yield OK, f"GPU {i}: {about.name}, {about.total_memory / 2**30:.0f} GiB"


def check_precision() -> Iterator[Finding]:
    """What `--precision auto` is here."""
    from cl import hardware

    gpu = hardware.on_gpu(())
    yield OK, f"--precision auto is {hardware.precision('auto', gpu)}"


def check_threads() -> Iterator[Finding]:
    """Whether the cores are used."""
    import torch

    from cl.config.launcher import cores

    used, there = torch.get_num_threads(), cores()
    said = f"torch computes with {used} of {there} cores"
    if used < there / 2:
        yield WARNING, f"{said}: unset OMP_NUM_THREADS, or give it the number of cores"
    else:
        yield OK, said


def check_allocator() -> Iterator[Finding]:
    """Whether what training frees is kept for the next step."""
    if platform.libc_ver()[0] == "glibc":
        yield OK, "glibc, which each run tells to keep the memory that it frees"
    else:
        yield WARNING, "no glibc: training on the CPU faults its memory in again in each step"


def check_dali() -> Iterator[Finding]:
    """Whether `--backend dali` can be chosen, and under which driver."""
    if shutil.which("nvidia-smi"):
        ask = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
        answer = subprocess.run(ask, capture_output=True, text=True, timeout=5, check=False)
        if answer.returncode == 0 and answer.stdout.strip():
            yield OK, f"NVIDIA driver {answer.stdout.splitlines()[0].strip()}"
        else:
            yield WARNING, "nvidia-smi finds no driver: install one, or take the CPU"
    if find_spec("nvidia") and find_spec("nvidia.dali"):
        import nvidia.dali  # pyright: ignore[reportMissingImports]

        yield OK, f"DALI {nvidia.dali.__version__}"
    else:
        yield OK, "DALI is not installed, which --backend dali alone needs"


def check_wandb() -> Iterator[Finding]:
    """Where runs would be logged besides; a key is looked for and never read."""
    from cl import logs

    mode = os.environ.get("WANDB_MODE")
    if not find_spec("wandb"):
        yield OK, "wandb is not installed; metrics.csv has all numbers"
    elif mode:
        yield OK, f"wandb: WANDB_MODE is {mode}"
    elif logs.logged_in():
        yield OK, "wandb: logged in, runs are logged online"
    else:
        yield WARNING, "wandb: not logged in, runs are logged offline; wandb login changes that"


def check_disk() -> Iterator[Finding]:
    """Whether a run can be written."""
    from cl.config import Pretrain

    for name, folder in (
        ("runs", Pretrain(dataset="", encoder="").runs_folder),
        ("temporary files", Path(tempfile.gettempdir())),
    ):
        there = next(each for each in (folder, *folder.absolute().parents) if each.exists())
        try:
            with tempfile.TemporaryFile(dir=there) as file:
                file.write(bytes(2**20))
        except OSError as error:
            yield ERROR, f"{name} cannot be written to {folder}: {error.strerror}; see --output"
            continue
        free = shutil.disk_usage(there).free
        said = f"{free / 2**30:.0f} GiB are free for {name} in {folder}"
        yield (OK, said) if free > ROOM else (WARNING, f"{said}: delete some, or see --output")


QUESTIONS = (
    check_libraries,
    check_processes,
    check_loss,
    check_devices,
    check_precision,
    check_threads,
    check_allocator,
    check_dali,
    check_wandb,
    check_disk,
)


def ask(question: Callable[[], Iterator[Finding]]) -> list[Finding]:
    """What a question finds; one that fails has found an error."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return list(question())
    except Exception as error:  # whatever is broken here is what is looked for
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        return [(ERROR, f"{question.__name__.removeprefix('check_')} cannot be checked: {reason}")]


def main() -> int:
    """Answer all questions; 1 where one of them found an error."""
    states = set()
    for question in QUESTIONS:
        for state, sentence in ask(question):
            states.add(state)
            sys.stdout.write(f"{state:9}{escape_controls(sentence)}\n")
            sys.stdout.flush()
    return int(ERROR in states)


if __name__ == "__main__":
    sys.exit(main())
