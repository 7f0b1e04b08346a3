"""Where a run's numbers go: `metrics.csv` always, wandb besides; neither can stop a training."""

import csv
import errno
import io
import os
import re
import warnings
from collections.abc import Iterable, Mapping, Sequence
from netrc import NetrcParseError, netrc
from pathlib import Path
from typing import Any, Literal

from lightning_fabric.utilities.rank_zero import rank_zero_only
from pytorch_lightning.loggers import Logger, TensorBoardLogger, WandbLogger

from cl.config.machine import Hourly, sentence_of
from cl.metrics import COLUMNS, read_metrics

CREDENTIALS = re.compile(r"(?<=://)[^/@\s]*@")  # in http://user:password@host


class CSVLog(Logger):
    """One row a log point, flushed at once; a resumed run goes on behind its last kept row.

    Rows that cannot be written, as on a full disk, wait in memory for the next one.

    Args:
        file: where; rows of an earlier part of the run are kept.
        step: the optimizer step the run starts at; later rows are of a future that is redone.
    """

    def __init__(self, file: Path, step: int = 0) -> None:
        super().__init__()
        self.file, self.columns = file, COLUMNS
        self.waiting: list[dict[str, Any]] = []
        self.failure = Hourly()
        kept = [row for row in read_metrics(file) if int(row["step"]) <= step]
        self.rewrite(kept, kept[0] if kept else ())

    def rewrite(self, rows: list[dict[str, str]], columns: Iterable[str]) -> None:
        """Write the file anew, whole or not at all, with these columns besides the usual ones."""
        columns = tuple(dict.fromkeys((*self.columns, *columns)))
        new = self.file.with_suffix(".new")
        with new.open("w", newline="") as f:
            writer = csv.DictWriter(f, columns, restval="")
            writer.writeheader()
            writer.writerows(rows)
        new.replace(self.file)
        self.columns = columns

    @property
    def name(self) -> str:
        return self.file.parent.name

    @property
    def version(self) -> str:
        return ""

    @rank_zero_only
    def log_hyperparams(self, *_: Any, **__: Any) -> None:
        """Nothing: config.json has them."""

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, int | float], step: int | None = None) -> None:
        row = {k: f"{v:.6g}" if isinstance(v, float) else v for k, v in metrics.items()}
        self.waiting.append({"step": step, **row})
        self.write_waiting()

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Write what still waits for a disk with room."""
        if self.waiting:
            self.write_waiting()

    def write_waiting(self) -> None:
        """Write all rows that wait, or warn."""
        try:
            names = dict.fromkeys(name for each in self.waiting for name in each)
            if columns := [name for name in names if name not in self.columns]:
                self.rewrite(read_metrics(self.file), columns)  # a method with numbers of its own
            self.append(self.waiting)
        except OSError as error:
            self.failure.warn(f"{len(self.waiting)} rows wait to be written: {sentence_of(error)}")
        else:
            self.waiting.clear()

    def append(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Write rows behind the others, all of them or none.

        Raises:
            OSError: they cannot be written.
        """
        text = io.StringIO(newline="")
        csv.DictWriter(text, self.columns).writerows(rows)
        content = text.getvalue().encode()
        with self.file.open("ab", buffering=0) as f:
            size = f.tell()
            try:
                if f.write(content) < len(content):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.file))
            except OSError:
                f.truncate(size)
                raise


def logged_in() -> bool:
    """Whether wandb has a key here; it is looked for, never read into anything of ours."""
    if os.environ.get("WANDB_API_KEY"):
        return True
    host = os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai").rpartition("/")[2]
    try:
        return netrc(os.environ.get("NETRC")).authenticators(host) is not None
    except (FileNotFoundError, NetrcParseError):
        return False


def without_secrets(error: Exception) -> str:
    """An error's message without the key, and without what stands in front of a URL's host."""
    said = CREDENTIALS.sub("", str(error))
    key = os.environ.get("WANDB_API_KEY")
    return said.replace(key, "***") if key else said


class UntilItFails(Logger):
    """A logger besides the first, which on an error of its own says so once and is silent then."""

    broken = False

    @rank_zero_only
    def log_metrics(self, metrics: Any, step: int | None = None) -> None:
        if self.broken:
            return
        try:
            super().log_metrics(metrics, step)
        except Exception as error:  # whatever it raises, hours of training weigh more
            self.broken = True
            which = type(self).__name__.lower()
            said = f"{which} stopped ({without_secrets(error)}); metrics.csv goes on"
            warnings.warn(said, stacklevel=2)


class TensorBoard(UntilItFails, TensorBoardLogger):
    """Lightning's logger of TensorBoard's files."""


class Wandb(UntilItFails, WandbLogger):
    """Lightning's logger of wandb, with what is logged at the end."""

    def close(
        self,
        code: int,
        numbers: Mapping[str, float] | None = None,
        pictures: Sequence[Path] = (),
        encoder: Path | None = None,
    ) -> None:
        """End the run, after its last numbers, its pictures and the encoder's file."""
        import wandb

        try:
            if numbers:
                self.experiment.summary.update(dict(numbers))
            if pictures:
                self.experiment.log({path.stem: wandb.Image(str(path)) for path in pictures})
            if encoder:
                model = wandb.Artifact(f"encoder-{self.experiment.id}", "model")
                model.add_file(str(encoder))
                self.experiment.log_artifact(model)
            self.experiment.finish(exit_code=code)
        except Exception as error:  # the numbers are in the run's folder
            warnings.warn(
                f"wandb stopped ({without_secrets(error)}); the run's folder has it all",
                stacklevel=2,
            )


def wandb_log(
    mode: Literal["auto", "online", "offline", "off"],
    folder: Path,
    *,
    run_id: str,
    name: str | None,
    project: str,
    config: Mapping[str, Any],
    tags: Sequence[str] = (),
    **more: str | None,
) -> Wandb | None:
    """A started wandb run, online when logged in, else offline; None if it cannot start at all.

    Args:
        mode: `auto` asks WANDB_MODE, then for a key; nothing ever asks the user.
        folder: of the run.
        run_id: of the run.
        name: in wandb.
        project: in wandb.
        config: settings, and what follows from them.
        tags: of the run.
        more: other arguments of `wandb.init` that are words: entity, group, notes, job_type.
    """
    if mode == "off" or os.environ.get("WANDB_MODE") == "disabled":
        return None
    if mode == "auto":
        wanted = os.environ.get("WANDB_MODE")
        mode = "online" if wanted == "online" or (not wanted and logged_in()) else "offline"
    try:
        import wandb  # two seconds, and only here
    except ImportError as error:
        said = (
            f"wandb is off ({error}); metrics.csv has all numbers. To log there: pip install wandb"
        )
        warnings.warn(said, stacklevel=2)
        return None
    where: dict[str, Any] = {"dir": str(folder), "id": run_id, "name": name, "project": project}
    where |= more | ({"tags": tags} if tags else {})
    # Git's address of the repository may hold a token, of which wandb strikes out only a password.
    quiet = wandb.Settings(silent=True, console="off", init_timeout=30, disable_git=True)
    for attempt in dict.fromkeys((mode, "offline")):
        try:
            run = wandb.init(
                **where, mode=attempt, config=dict(config), resume="allow", settings=quiet
            )
        except Exception as error:  # no network, no rights, no disk: the training still runs
            warnings.warn(f"wandb does not start {attempt}: {without_secrets(error)}", stacklevel=2)
        else:
            return Wandb(experiment=run)
    return None
