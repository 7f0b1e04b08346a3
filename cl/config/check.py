"""What the settings need of the machine: paths that exist, GPUs and packages that are there."""

import os
import subprocess
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from cl.config.launcher import started
from cl.config.paths import faults_of_paths
from cl.config.programs import Linear, Pretrain
from cl.config.schema import spell
from cl.config.store import ConfigError


def check_environment(config: Pretrain | Linear) -> None:
    """Look for all that the configuration names.

    Raises:
        ConfigError: with a line for each thing that is not there.
    """
    wrong = [
        *faults_of_paths(config),
        *absent_gpus(config),
        *other_processes(config),
        *absent_packages(config),
    ]
    if wrong:
        raise ConfigError(*wrong)


def absent_gpus(config: Pretrain | Linear) -> Iterator[str]:
    """A message if a GPU is asked for that the machine does not have."""
    if not config.gpus:
        return
    there = gpus_here()
    if max(config.gpus) >= there:
        numbers = f"0 to {there - 1}" if there > 1 else "0"
        said = f"{there} GPU{'s' * (there > 1)}, {numbers}" if there else "no GPU"
        use = "" if there else "; without --gpus the CPU is used."
        yield f"--gpus {spell(config.gpus)}: this machine has {said}{use or '.'}"


def absent_packages(config: Pretrain | Linear) -> Iterator[str]:
    """Messages if a package is asked for and not installed; wandb's `auto` is off then."""
    if config.logger and not installed(config.logger):
        yield f"--logger {config.logger} needs {config.logger}: pip install {config.logger}."
    if config.wandb in ("online", "offline") and not installed("wandb"):
        yield f"--wandb {config.wandb} needs wandb: pip install wandb, or --wandb off."
    if isinstance(config, Linear) and config.scatter == "umap" and not installed("umap"):
        yield "--scatter umap needs umap-learn: pip install umap-learn."


def installed(package: str) -> bool:
    """Whether a package can be found; it is not loaded."""
    try:
        return find_spec(package) is not None
    except ImportError:  # of a finder that forbids it
        return False


def other_processes(config: Pretrain | Linear) -> Iterator[str]:
    """Messages where torchrun or SLURM started other processes than the settings want."""
    launcher = started()
    if launcher is None:
        if config.nodes > 1:
            yield (
                f"--num_nodes {config.nodes} needs torchrun or SLURM to start this program on the "
                "nodes: bash_files/run_torchrun.sh, bash_files/run_slurm.sh."
            )
        return
    by, nodes, per_node = launcher
    if by == "SLURM" and nodes * per_node > 1 and "SLURM_NTASKS_PER_NODE" not in os.environ:
        yield (
            f"srun's --ntasks does not say where the processes are; give --ntasks-per-node "
            f"{per_node} in its place."
        )
    if config.nodes != nodes:
        yield f"--num_nodes must be the {nodes} that {by} started, not {config.nodes}."
    if config.devices_per_node != per_node:
        flag, given = ("gpus", config.gpus) if config.gpus else ("devices", config.devices)
        yield (
            f"--{flag} must fit the {per_node} processes that {by} started on a node, not "
            f"{spell(given)}."
        )


def gpus_here() -> int:
    """How many GPUs CUDA will see, without loading it."""
    try:
        found = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=20)
        number = sum(line.startswith("GPU ") for line in found.stdout.splitlines())
    except (OSError, subprocess.TimeoutExpired):
        number = len([*Path("/proc/driver/nvidia/gpus").glob("*")])
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None or not number:
        return number
    names = [name.strip() for name in visible.split(",")]
    hidden = [i for i, name in enumerate(names) if name in ("", "-1")]  # CUDA stops reading there
    return hidden[0] if hidden else len(names)
