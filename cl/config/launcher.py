"""The processes that torchrun or SLURM have started, as their environment variables say."""

import os
import sys
from typing import NamedTuple

TORCHRUN = "torchrun"


class Started(NamedTuple):
    """Who started this process together with others, and how many of them."""

    by: str
    nodes: int
    per_node: int


def started() -> Started | None:
    """None where nobody did: then Lightning starts what is missing on this machine."""
    e = os.environ
    if "TORCHELASTIC_RUN_ID" in e:
        per_node = int(e.get("LOCAL_WORLD_SIZE", "1"))
        return Started(TORCHRUN, int(e.get("WORLD_SIZE", "1")) // per_node, per_node)
    interactive = e.get("SLURM_JOB_NAME") in ("bash", "interactive")  # Lightning's rule
    if "SLURM_PROCID" in e and not interactive:
        nodes = int(e.get("SLURM_NNODES", "1"))
        return Started("SLURM", nodes, int(e.get("SLURM_NTASKS", "1")) // nodes)
    return None


def is_first() -> bool:
    """Whether this is the first of all processes, which speaks for them."""
    return all(os.environ.get(name, "0") == "0" for name in ("RANK", "LOCAL_RANK", "SLURM_PROCID"))


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
