"""One run's folder: its name, what it must not overwrite, how it is continued, what it holds."""

import json
import os
import secrets
import shlex
import shutil
import string
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lightning_fabric.utilities.rank_zero import rank_zero_only
from torch import nn

from cl import checkpoints, distributed
from cl.config.launcher import TORCHRUN, started
from cl.config.programs import called_beside, from_anywhere, from_clone, start_of
from cl.metrics import read_metrics
from cl.runs.files import CARDS, CONFIG, FEATURES, METRICS, RESULT, SKIPPED
from cl.runs.listing import runs_in
from cl.runs.lock import leave, occupy
from cl.schedules import FOLLOWS_LOSS
from cl.terminal import escape_controls


@dataclass(frozen=True)
class Run:
    """A run that has ended.

    Args:
        folder: where it is kept; of a run that was only looked at nothing is there.
        encoder: what was trained, from a view to features `(n d)`.
        method: all that was trained, the LightningModule; None where nothing was to be trained.
        code: 0; 3 where the embeddings collapsed, 4 where they were not finite, 65 after too many
            steps that were not finite, 74 where the last state could not be saved, 75 at the end of
            its time, 128 and the number of the signal that ended it.
    """

    folder: Path
    encoder: nn.Module
    method: Any = None
    code: int = 0

    @property
    def result(self) -> dict[str, dict[str, float]]:
        """Accuracies of the frozen encoder, `untrained` and `trained`; empty without a baseline."""
        file = self.folder / RESULT
        return json.loads(file.read_text()) if file.exists() else {}

    @property
    def history(self) -> list[dict[str, float]]:
        """The rows of metrics.csv, each with the numbers that were measured then."""
        rows = read_metrics(self.folder / METRICS)
        return [{k: float(v) for k, v in row.items() if v} for row in rows]


def new_id(given: str | None) -> str:
    """The run's id: as given, under SLURM the job's, or eight letters and digits like wandb's.

    Processes that Lightning starts inherit the first one's through the environment; those of
    torchrun agree on one through its store, which outlives a restart.

    Raises:
        ValueError: several processes were started that have no means to agree on an id.
    """
    if given:
        return given
    by, met = started(), distributed.rendezvous()
    made = "".join(secrets.choice(string.ascii_lowercase + string.digits) for _ in range(8))
    if "CL_RUN_ID" not in os.environ and by and by.nodes * by.per_node > 1:
        if job := os.environ.get("SLURM_JOB_ID"):  # all its processes know it
            return f"slurm-{job}"
        if met is None:
            raise ValueError(f"--run_id: needed under {by.by}, so that all write one run")
    made = met.settle("run_id", made) if met else made
    return os.environ.setdefault("CL_RUN_ID", made)


def other_rank() -> bool:
    """Whether this process is not the first, which alone writes and speaks."""
    return bool(getattr(rank_zero_only, "rank", 0))


def start(folder: Path, config: str, take_over: bool = False) -> None:
    """Make a new run's folder with its config.json and keep it, on the first process only.

    One that ended before it saved anything is taken over.

    Args:
        folder: the run's.
        config: the text of its config.json.
        take_over: see `occupy`.

    Raises:
        ValueError: the folder holds another run, or a comparison's, or another process writes it.
    """
    if other_rank():
        return
    inside = None if (folder / CONFIG).exists() else next(runs_in(folder, folder, depth=1), None)
    if inside:  # a run's config.json above it would hide it
        raise ValueError(
            f"--run_id {folder.name}: {folder} holds other runs, as {inside.name}; "
            "choose another name"
        )
    folder.mkdir(parents=True, exist_ok=True)
    occupy(folder, later=True, take_over=take_over)
    if saved(folder):
        leave(folder)
        raise ValueError(
            f"--run_id {folder.name}: {folder} exists; --resume_training_from {folder} continues it"
        )
    # In place: the lock is on this file, and of a run that has saved nothing nothing is lost.
    with (folder / CONFIG).open("w") as file:
        file.write(config)


def record(folder: Path, settings: Mapping[str, Any]) -> None:
    """Write settings that a run goes on with into its config.json, on the first process only."""
    if other_rank():
        return
    file = folder / CONFIG
    text = json.dumps(json.loads(file.read_text()) | dict(settings), indent=2) + "\n"
    with file.open("r+") as written:  # in place, as in `start`
        written.write(text)
        written.truncate()


@contextmanager
def withdrawn_if_refused(folder: Path) -> Iterator[None]:
    """Take a run's folder away again where the run is refused by a ValueError.

    Else it would be listed as one that is unfinished. What holds anything to keep stays.

    Args:
        folder: of a run that has just begun.
    """
    try:
        yield
    except ValueError:
        if not (other_rank() or saved(folder)):
            shutil.rmtree(folder / FEATURES, ignore_errors=True)
            for name in (CONFIG, SKIPPED):
                (folder / name).unlink(missing_ok=True)
            with suppress(OSError):  # it holds other files
                folder.rmdir()
        raise


def saved(folder: Path) -> bool:
    """Whether a run's folder holds what cannot be had again by starting it again."""
    kept = (checkpoints.LAST, checkpoints.PREVIOUS, checkpoints.ENCODER, CARDS)
    return any((folder / name).exists() for name in kept)


def started_again() -> bool:
    """Whether torchrun or SLURM have started this program again after its end."""
    counts = ("TORCHELASTIC_RESTART_COUNT", "SLURM_RESTART_COUNT")
    met = distributed.rendezvous()
    again = met is not None and met.number > 1
    return again or any(os.environ.get(name, "0") != "0" for name in counts)


def keep_skipped(folder: Path, names: Sequence[str]) -> None:
    """List the images that were left out as unreadable, on the first process only."""
    if names and not other_rank():
        (folder / SKIPPED).write_text("".join(f"{escape_controls(name)}\n" for name in names))


def folder_of(checkpoint: Path) -> Path:
    """The run that a checkpoint to resume from belongs to.

    Raises:
        ValueError: the file stands outside of a run's folder.
    """
    folder = checkpoint.parent
    if not (folder / CONFIG).exists():
        raise ValueError(f"--resume_training_from {checkpoint}: no {CONFIG} beside it, so no run")
    return folder


def command(program: str, *words: object) -> str:
    """A command line to copy.

    Args:
        program: one of the clone's, which has a name of its own where the package is installed.
        words: behind it; a path runs from the folders from which the program does.
    """
    return shlex.join([*start_of(program), *map(spell_word, words)])


def command_from_here(program: str, *words: str) -> str:
    """A command line to copy, whose words may have paths from the current folder, see `command`.

    It moves there first, since a plan may have such paths too, or nothing but a default one.
    """
    line = command(program, *words)
    try:
        return line if called_beside() else f"cd {shlex.quote(str(Path.cwd()))} && {line}"
    except FileNotFoundError:  # of a folder that was deleted meanwhile
        return line


def spell_word(word: object) -> str:
    """A word of a command line, a path as `from_anywhere` has it."""
    return str(from_anywhere(word) if isinstance(word, Path) else word)


def how_to_go_on(program: str | None, folder: Path, *, slower: bool = False) -> str:
    """What continues a run, or the news that there is nothing to continue yet.

    Args:
        program: whose command it is; None for a run that only a call from Python repeats.
        folder: the run's.
        slower: with half the learning rate, where there is one. It takes a new run where nothing
            was saved, and where the rate follows the loss and so is part of the run's state.
    """
    saved, file = (folder / checkpoints.LAST).exists(), folder / CONFIG
    settings = json.loads(file.read_text()) if slower and file.exists() else {}
    lr = settings.get("lr")
    if not (saved or lr):
        return f"nothing was saved yet in {folder}"
    anew = bool(lr) and (not saved or settings.get("scheduler") == FOLLOWS_LOSS)
    what = "start a new run with half the rate" if anew else "go on with"
    if program is None:
        words = [] if anew else [f"resume_training_from={str(folder)!r}"]
        words += ["override=True"] if lr and not anew else []
        words += [f"lr={lr / 2:g}"] if lr else []
        return f"{what}: cl.pretrain({', '.join(['...', *words])})"
    flags: list[object] = ["--config", file]
    flags += [] if anew else ["--resume_training_from", folder]
    flags += ["--override"] if lr and not anew else []
    flags += ["--lr", f"{lr / 2:g}"] if lr else []
    by = started()
    if by is None or by.nodes * by.per_node == 1:
        return f"{what}: {command(program, *flags)}"
    if by.by == TORCHRUN and by.nodes == 1 and from_clone():
        python, *rest = start_of(program)
        launcher = "-m", "torch.distributed.run", "--nproc-per-node", by.per_node
        return f"{what}: {shlex.join(map(spell_word, (python, *launcher, *rest, *flags)))}"
    return f"started by {by.by} as before, {what}: {command(program, *flags)}"
