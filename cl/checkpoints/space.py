"""How much of a disk a run's files take, which is known before the run begins."""

import errno
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, nn

from cl.config.machine import ADVICE
from cl.config.paths import existing_parent

MOMENTS = {"sgd": 1, "lars": 1, "adam": 2, "adamw": 2}  # numbers an optimizer keeps of a weight
NEWEST = 3  # the last checkpoint, the one before, and the one that is being written


@dataclass(frozen=True)
class Space:
    """What a run needs of the disk that its folder is on, in bytes.

    Args:
        folder: the run's, or that of all runs.
        checkpoint: a single one.
        most: all files of weights, at the moment when there are the most of them.
        there: those of them that the folder holds already.
        free: what the disk has left.
    """

    folder: Path
    checkpoint: int
    most: int
    there: int
    free: int

    def describe(self) -> str:
        """One line: what is needed, and what is there."""
        each, all_files, free = map(say_bytes, (self.checkpoint, self.most, self.free))
        return f"a checkpoint takes {each}, all files of weights {all_files}; {free} are free"

    @property
    def is_short(self) -> bool:
        """Whether the disk will be full before the run has ended."""
        return self.most - self.there > self.free

    def check(self) -> None:
        """Check that there is room for a checkpoint, without which a run is lost.

        Raises:
            ValueError: there is none.
        """
        if self.checkpoint > self.free:
            raise ValueError(
                f"{self.folder}: a checkpoint takes {say_bytes(self.checkpoint)}, and "
                f"{say_bytes(self.free)} are free; {ADVICE[errno.ENOSPC]} (--output)"
            )


def plan_space(
    folder: Path, method: nn.Module, saved: Iterable[nn.Module], optimizer: str, kept: int
) -> Space:
    """Plan the space of a run.

    Args:
        folder: the run's, which need not be there yet.
        method: all that is trained.
        saved: the encoders that are also written alone.
        optimizer: its name.
        kept: checkpoints that are kept besides the newest.

    Raises:
        OSError: the folder's disk cannot be asked.
    """
    trained = bytes_of(p for p in method.parameters() if p.requires_grad)
    checkpoint = bytes_of(method.state_dict().values()) + MOMENTS[optimizer] * trained
    encoders = sum(bytes_of(each.state_dict().values()) for each in saved)
    files = [*folder.glob("*.ckpt"), *folder.glob("*.safetensors")]
    there = sum({s.st_ino: s.st_size for s in (file.stat() for file in files)}.values())
    most = (NEWEST + kept) * checkpoint + 2 * encoders
    return Space(folder, checkpoint, most, there, shutil.disk_usage(existing_parent(folder)).free)


def bytes_of(tensors: Iterable[Tensor]) -> int:
    """What tensors take on a disk; one that several names have is there once."""
    return sum({t.data_ptr(): t.numel() * t.element_size() for t in tensors}.values())


def say_bytes(number: int) -> str:
    """A number of bytes for people.

    >>> say_bytes(34_500_000), say_bytes(2_340_000_000)
    ('34.5 MB', '2.3 GB')
    """
    return f"{number / 1e9:,.1f} GB" if number >= 1e9 else f"{number / 1e6:,.1f} MB"
