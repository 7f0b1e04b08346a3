"""How much memory evaluations of features take, which is known before the work begins."""

import inspect
import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import torch

from cl import hardware
from cl.checkpoints.space import say_bytes
from cl.config.evaluations import meant
from cl.eval import get_evaluation
from cl.eval._call import arguments
from cl.eval._task import Task
from cl.eval._training import training_of
from cl.nets import encoders

MEMINFO = Path("/proc/meminfo")
CGROUP, OWN_GROUP = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")
ADVICE = "a smaller --data_fraction needs less, and so does one value of what is selected"


@dataclass(frozen=True)
class Memory:
    """What evaluations need of the memory, in bytes.

    Args:
        needed: by evaluation.
        free: what the device has left.
        size: of the training features, in words.
    """

    needed: dict[str, int]
    free: int
    size: str

    def describe(self) -> str:
        """One line: what is needed at most, of what, and what is there."""
        name = max(self.needed, key=lambda each: self.needed[each])
        most, free = say_bytes(self.needed[name]), say_bytes(self.free)
        return f"{name} takes about {most} for {self.size} features; {free} are free"

    def check(self, name: str) -> None:
        """Check that there is enough for an evaluation.

        Raises:
            ValueError: there is not.
        """
        if (needed := self.needed.get(name, 0)) > self.free:
            raise ValueError(
                f"it takes about {say_bytes(needed)} of memory for {self.size} features, and "
                f"{say_bytes(self.free)} are free; {ADVICE}"
            )


def plan_memory(task: Task) -> Memory | None:
    """What the evaluations of a task need; None where they are not of the features of images.

    An evaluation's own part is said by the function `working_memory` beside it: `(train, test,
    width, classes)`, numbers of images, of dimensions and of classes, with those of the
    evaluation's keyword-only arguments that it asks for. One without such a function is not
    planned. Features are mapped from files, and stay there but on a GPU and while several processes
    extract them.
    """
    if task.together or not task.of_features:
        return None
    device = hardware.torch_device(task.options)
    kind = device.type
    train, test = len(task.source.train), len(task.source.val)
    example = encoders.example_for(task.encoder, task.recipe.channels, task.recipe.size)
    width = encoders.width(task.feature_encoder, example)
    several = task.config.processes > 1
    features = 4 * width * (train + test) if kind == "cuda" else 4 * width * train * several
    needed = {}
    for name in meant(task.config.eval):
        own = own_memory(name, task, (train, test, width, task.classes))
        if own is not None:
            needed[name] = own + features if kind == "cuda" else max(own, features)
    size = f"{train:,} x {width:,}"
    return Memory(needed, free_memory(device), size) if needed else None


def own_memory(name: str, task: Task, sizes: tuple[int, int, int, int]) -> int | None:
    """What an evaluation says that it takes; None if it does not say it."""
    function = get_evaluation(name)
    plan = getattr(import_module(function.__module__), "working_memory", None)
    if plan is None:
        return None
    given = arguments(function, task.config, training_of(task, name, torch.device("cpu"), []))
    asked = inspect.signature(plan).parameters
    return plan(*sizes, **{k: v for k, v in given.items() if k in asked})


def free_memory(device: torch.device) -> int:
    """Bytes that a device has left; of a host also those that its control group leaves."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    try:
        lines = MEMINFO.read_text(encoding="ascii").splitlines()
        free = int(next(line for line in lines if line.startswith("MemAvailable:")).split()[1])
        free *= 1024
    except (OSError, StopIteration):  # not Linux
        free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return int(min(free, *(left_by_group(folder) for folder in control_groups())))


def control_groups() -> Iterator[Path]:
    """Folders of this process's control group (version 2) and of those that it lies in."""
    yield CGROUP
    try:
        lines = OWN_GROUP.read_text(encoding="ascii").splitlines()
    except OSError:
        return
    for line in lines:
        if line.startswith("0::/"):
            path = Path(line[4:])
            yield from (CGROUP / each for each in (path, *path.parents))


def left_by_group(folder: Path) -> float:
    """Bytes that the limit of a control group leaves, the cache of files not counted."""
    try:
        limit, used = ((folder / f"memory.{name}").read_text() for name in ("max", "current"))
        stat = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
        return int(limit) - int(used) + int(stat["inactive_file"]) + int(stat["active_file"])
    except (OSError, ValueError, KeyError):  # no such group, or no limit: "max"
        return math.inf
