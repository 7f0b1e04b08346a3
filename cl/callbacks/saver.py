"""The run's checkpoint: each epoch or as often as asked for, on a signal, always between steps."""

import math
import signal
import socket
import time
import warnings
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Checkpoint

from cl import checkpoints, distributed
from cl.callbacks.finite import finite_steps
from cl.callbacks.peers import Peers
from cl.checkpoints.background import Background, Write, Writes
from cl.checkpoints.files import NotFiniteError, NotSavedError
from cl.config.machine import Hourly
from cl.interrupts import CODE, Stop, interrupts
from cl.optim import step_limit

EXCHANGED = 8  # steps between two questions on several GPUs whether one of them got a signal
LONG = 60.0  # s of work that a validation must not put at risk
OUT_OF_TIME = 75  # exit code of --max_time, sysexits.h's "try again"
FAILED, WRONG = 1, 2  # exit codes of an error of the program and of what it was given
BROKEN = 4  # exit code of weights, features or embeddings that are not finite
NOT_FINITE = 65  # exit code of --max_bad_steps, sysexits.h's "data error"
NOT_SAVED = 74  # exit code of a run whose last state is not on the disk, sysexits.h's "I/O error"
Unit = Literal["steps", "epochs", "minutes"]


@dataclass(frozen=True, kw_only=True)
class Saving:
    """When the checkpoint is written, and which ones are kept.

    Args:
        every: so many `unit`s lie between two; the run's end has its own.
        unit: of `every`.
        best: how many of the best epochs are kept as `best-epoch=E.ckpt`.
        by: names of validation numbers, of which the first that a run has says what is best.
        epochs: whose checkpoints are kept as `epoch=E.ckpt`.
        minutes: after which the run is saved and ended; None: no limit.
    """

    every: float = 1
    unit: Unit = "epochs"
    best: int = 0
    by: Sequence[str] = (
        *("val/knn_top1", "val/probe_top1", "val/mrr10", "val/recall1_t2i", "val/spearman"),
    )
    epochs: Sequence[int] = ()
    minutes: float | None = None


@dataclass(frozen=True, kw_only=True)
class KeptFiles:
    """What stays in the folder besides the newest checkpoint, once that is written.

    Args:
        best: names of files, and how good they are.
        names: under which the newest checkpoint is kept as well.
        surplus: names of those that are kept no longer.
    """

    best: dict[str, float] = field(default_factory=dict)
    names: list[str] = field(default_factory=list)
    surplus: list[str] = field(default_factory=list)

    def apply(self, newest: Path) -> None:
        """Keep `newest` under its other names, by links, which take no disk's space.

        Raises:
            NotSavedError: a name cannot be made; nothing is removed then.
        """
        try:
            for name in self.names:
                checkpoints.keep_as(newest, newest.with_name(name))
        except OSError as error:
            raise NotSavedError(f"{', '.join(self.names)} is NOT kept: {error}") from error
        for name in self.surplus:
            file = newest.with_name(name)
            for each in (file, checkpoints.sum_of(file)):
                each.unlink(missing_ok=True)


def failure(error: Exception | None) -> tuple[str, str, int] | None:
    """The message of an error for the other processes: host, cause in a line, exit code."""
    if error is None:
        return None
    lines = str(error).strip().splitlines()  # the last one of a worker's traceback is its cause
    why = lines[-1] if lines else type(error).__name__
    return socket.gethostname(), why, WRONG if isinstance(error, ValueError) else FAILED


def left_out_in_row(trainer: pl.Trainer) -> int:
    """How many of the newest steps were left out, as `FiniteSteps` counts them."""
    finite = finite_steps(trainer)
    return finite.state_dict()["in_row"] if finite else 0


def random_states() -> dict[str, torch.Tensor]:
    """The states of torch's generators."""
    states = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_initialized():  # whether there is one takes a look for NVIDIA's library
        states["gpu"] = torch.cuda.get_rng_state()
    return states


def peers_of(trainer: pl.Trainer) -> Peers | None:
    """The Trainer's `Peers`, if it has one."""
    each = trainer.callbacks  # pyright: ignore[reportAttributeAccessIssue]
    return next((callback for callback in each if isinstance(callback, Peers)), None)


class Saver(Checkpoint):
    """Writes `last.ckpt` and `encoder.safetensors`, and ends a run that is asked to end.

    A signal is only noted when it comes (`cl.interrupts`); the step in progress is finished and
    saved, then the run ends with the exit code that is usual for the signal. One that comes while
    the run validates saves the step before it, and the resumed run validates again. After an
    exception the step before it is saved too, unless the optimizer's step has begun: what a forward
    and a backward pass have changed is put back as `FiniteSteps` has kept it. Of several processes
    each leaves its part by `Peers`; on GPUs they have gone on to queue the optimizer's step, and
    nothing is saved.

    What is written is copied first, and the training goes on meanwhile; a write that failed is said
    by the next one, or at the end.

    Args:
        folder: the run's.
        about: what `cl.checkpoints.save_encoder` writes beside the encoder's weights; none is saved
            without it.
        saving: see there.
    """

    def __init__(
        self, folder: Path, about: dict[str, Any] | None = None, saving: Saving | None = None
    ) -> None:
        self.folder, self.about, self.saving = folder, about, saving or Saving()
        self.newest = self.began = time.monotonic()
        self.tried, self.whole = -1, False  # the newest checkpoint's step, and whether it is there
        self.held = 0  # the step of the newest one that has its weights, saved or not
        self.trains = self.validates = False
        self.common = 0  # validation batches that every process has
        self.random: dict[str, torch.Tensor] = {}
        self.before: dict[str, torch.Tensor] = {}  # random states before the step in progress
        self.untouched = False  # whether all can be as it was before the step in progress
        self.postponed = False  # until a step is not left out
        self.kept = self.kept_before = (
            KeptFiles()
        )  # with the newest checkpoint, and with the one before
        self.background = Background()
        self.unsaved = ""  # why the newest checkpoint is not on the disk
        self.broken = ""  # why the newest step is no checkpoint
        self.failure = Hourly()
        self.unmeasured = False  # whether it was said that an epoch has no number to be best by

    def state_dict(self) -> dict[str, Any]:
        """What is kept besides."""
        return asdict(self.kept)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.kept = KeptFiles(**state_dict)

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.keep_again(trainer)  # also where nothing is left to train

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self.random:
            torch.set_rng_state(self.random["cpu"])
            if "gpu" in self.random:
                torch.cuda.set_rng_state(self.random["gpu"])
        self.newest, self.held = time.monotonic(), trainer.global_step
        if peers := peers_of(trainer):
            peers.part = partial(self.part, trainer, pl_module)
            peers.writes = self.background.is_busy
        self.trains = True  # all that a checkpoint holds is there, on a resumed run too
        interrupts.wait()

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Random states of every process: dropout goes on where it was; data needs none."""
        own = self.before if self.untouched else random_states()
        checkpoint["random"] = distributed.gather_objects(own)
        if self.validates:  # Lightning goes on with the validation in whose first batch it was
            begun = {"ready": 1, "started": 1, "processed": 0, "completed": 0}
            progress = checkpoint["loops"]["fit_loop"]["epoch_loop.val_loop.batch_progress"]
            progress.update(total=dict(begun), current=dict(begun), is_last_batch=False)

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        states = checkpoint["random"]
        self.random = states[distributed.rank() % len(states)]

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        if distributed.world_size() == 1:
            interrupts.end_wait()
        self.finish()
        if isinstance(exception, Exception) and self.trains:
            try:
                self.save_step_before(trainer, pl_module)
            except Exception as error:  # the one that ends the run is to be told
                warnings.warn(f"step {trainer.global_step} is NOT saved: {error}", stacklevel=2)

    def save_step_before(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Save the step before an exception, where it is whole on all processes."""
        done = trainer.fit_loop.epoch_loop.batch_progress.total
        others = nullcontext()
        if distributed.world_size() > 1:
            own, peers = self.place(trainer, pl_module), peers_of(trainer)
            if own is None or peers is None or not trainer.is_global_zero:
                return
            parts = peers.collect()
            if any(part is None or part[0] != own for part in parts[1:]):
                return
            trainer.strategy.barrier = lambda *_, **__: None  # nobody comes to it any more
            others = distributed.given_objects([part[1] if part else [] for part in parts])
        elif not self.untouched and done.ready != done.completed:
            return
        if self.untouched:
            self.take_back(trainer)
        if 0 < trainer.global_step != self.tried:
            with others:
                self.save(trainer, pl_module)
            self.finish()

    def place(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule
    ) -> tuple[int, bool, bool] | None:
        """Where this process is, whose state can be saved as that of the step before; else None."""
        whole = self.untouched or self.validates
        parts = any(map(distributed.is_sharded, pl_module.parameters()))  # which others have
        if not whole or parts or pl_module.device.type != "cpu":
            return None
        return trainer.global_step, self.untouched, self.validates

    def part(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule
    ) -> tuple[Any, list[object]] | None:
        """What this process sends for a checkpoint of the step before, and of which step it is."""
        place = self.place(trainer, pl_module)
        if place is None:
            return None
        with distributed.kept_objects() as own:
            trainer._checkpoint_connector.dump_checkpoint(weights_only=False)
        return place, own

    def take_back(self, trainer: pl.Trainer) -> None:
        """Put all as it was before the step in progress; its batch will be the next one."""
        finite, loader, loop = finite_steps(trainer), trainer.train_dataloader, trainer.fit_loop
        assert finite is not None
        finite.kept.put_back()
        loader.take_back()  # pyright: ignore[reportOptionalMemberAccess]
        loop.epoch_loop.batch_progress.is_last_batch = False
        optimizer = loop.epoch_loop.automatic_optimization.optim_progress.optimizer
        for progress in (loop.epoch_loop.batch_progress, optimizer.step, optimizer.zero_grad):
            for count in (progress.total, progress.current):
                count.reset_on_restart()

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Hear whether a process has no batch: all save the step before, and end.

        Raises:
            Stop: one has none.
        """
        self.before = random_states()
        known = finite_steps(trainer) is not None
        self.untouched = known and hasattr(trainer.train_dataloader, "take_back")
        if distributed.world_size() == 1:
            return
        if not distributed.any_of(torch.tensor(interrupts.failed is not None)):
            return
        each: list[Any] = distributed.gather_objects(failure(interrupts.failed))
        rank = next(rank for rank, found in enumerate(each) if found)
        self.take_back(trainer)
        if 0 < trainer.global_step != self.tried:
            self.save(trainer, pl_module)
        self.finish_for_all()
        interrupts.end_wait()
        host, why, code = each[rank]
        saved = self.describe(trainer)
        raise Stop(f"process {rank} of {len(each)} on {host}: {why}; {saved}", code)

    def on_before_optimizer_step(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: torch.optim.Optimizer
    ) -> None:
        self.untouched = False

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        if trainer.is_last_batch:  # the last batch's checkpoint is the epoch's
            return
        due = self.saving.unit == "steps" and trainer.global_step % self.saving.every == 0
        asks = trainer.global_step % EXCHANGED == 0 or not self.waits_for_device(pl_module)
        if self.saving.unit == "minutes" and asks:
            due = self.is_due(pl_module)
        due = due or self.postponed
        self.postponed = due and left_out_in_row(trainer) > 0
        if due and not self.postponed:
            self.save(trainer, pl_module)
        if asks:
            self.end_if_asked(trainer, pl_module)

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.state.fn != "fit" or trainer.sanity_checking:
            return
        self.validates = True
        batches = trainer.num_val_batches[0]  # infinite of a loader that does not know
        fewest = torch.tensor(-(batches if batches < math.inf else 0), device=pl_module.device)
        self.common = -int(distributed.all_reduce_max(fewest))
        long = torch.tensor(time.monotonic() - self.newest >= LONG, device=pl_module.device)
        if distributed.all_reduce_max(long.int()):
            self.save(trainer, pl_module)

    def on_validation_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        asks = batch_idx % EXCHANGED == 0 or not self.waits_for_device(pl_module)
        if self.validates and asks and dataloader_idx == 0 and batch_idx < self.common:
            self.end_if_asked(trainer, pl_module)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.validates = False

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.validates = False
        epoch, every = trainer.current_epoch + 1, self.saving.every
        ended = epoch == trainer.max_epochs or trainer.global_step == step_limit(trainer)
        due = ended or (self.saving.unit == "epochs" and epoch % every == 0)
        due = due or (self.saving.unit == "minutes" and self.is_due(pl_module))
        due = due or (self.saving.unit == "steps" and trainer.global_step % every == 0)
        kept = self.choose(trainer, epoch)
        if due or kept.names:
            self.save(trainer, pl_module, kept)
        self.end_if_asked(trainer, pl_module)
        if ended:  # what is measured now can be measured again: a signal ends it
            self.finish()
            self.end_if_asked(trainer, pl_module)  # during the last write
            interrupts.end_wait()

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        self.finish()

    def is_due(self, pl_module: pl.LightningModule) -> bool:
        """Whether so many minutes have passed; all processes say the same."""
        passed = time.monotonic() - self.newest >= 60 * self.saving.every
        due = torch.tensor(passed, device=pl_module.device)
        return bool(distributed.all_reduce_max(due.int()))

    def waits_for_device(self, pl_module: pl.LightningModule) -> bool:
        """Whether to ask the other processes is to wait for all work on the GPU."""
        return distributed.world_size() > 1 and pl_module.device.type != "cpu"

    def end_if_asked(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Every process hears of a signal to one of them, and all save the same step.

        Raises:
            Stop: a signal came, the time is over, or too many steps in a row were left out.
        """
        finite = finite_steps(trainer)
        if finite is not None and finite.over:
            self.save(trainer, pl_module)
            self.finish_for_all()
            interrupts.end_wait()
            kept = (self.folder / checkpoints.LAST).exists()
            before = "the newest checkpoint is kept" if kept else "there is no checkpoint before"
            before = "the weights before them are saved" if self.whole else before
            raise Stop(
                f"--max_bad_steps {finite.limit}: more steps in a row, up to step "
                f"{trainer.global_step}, had a loss or gradient that is not finite; {before}",
                NOT_FINITE,
            )
        minutes = self.saving.minutes
        late = minutes is not None and time.monotonic() - self.began >= 60 * minutes
        number = interrupts.came or (CODE if late else 0)
        if distributed.world_size() > 1:
            number = int(distributed.all_reduce_max(torch.tensor(number, device=pl_module.device)))
        if not number:
            return
        if self.tried != trainer.global_step or self.validates:
            self.save(trainer, pl_module)
        self.finish_for_all()
        interrupts.end_wait()
        step = self.broken or self.unsaved or self.describe(trainer)
        if number == CODE:
            raise Stop(f"--max_time: after {minutes:g} minutes {step}", OUT_OF_TIME)
        raise Stop(f"{signal.Signals(number).name}: {step}", CODE + number)

    def describe(self, trainer: pl.Trainer) -> str:
        """Whether the newest step is saved, in words."""
        if self.tried < 0 and trainer.global_step == self.held:
            return "no step was done"
        saved = self.whole and self.tried == trainer.global_step
        return f"step {trainer.global_step} is {'' if saved else 'NOT '}saved"

    def save(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        kept: KeptFiles | None = None,
    ) -> None:
        """Write checkpoint and encoder, unless a weight is not finite or the disk is full.

        That is found and done beside the training, from a copy; the training goes on and the
        checkpoint before stays where it fails. Nothing is written after two steps in a row that
        were left out, or where all since the newest one were: weights of which no loss is finite
        must not take the place of good ones.

        Args:
            trainer: Lightning's.
            pl_module: what is trained.
            kept: what stays besides; by default what stays now.
        """
        self.finish()
        self.newest, self.tried, self.whole = time.monotonic(), trainer.global_step, False
        in_row = left_out_in_row(trainer)
        if in_row and trainer.global_step - self.held <= in_row:
            return
        if in_row > 1:
            self.broken = (
                f"step {trainer.global_step} is NOT saved: the newest {in_row} steps were left "
                "out, so that its weights may be no good ones"
            )
            return
        self.broken = ""
        self.held = trainer.global_step  # the same on all processes, also where it is not saved
        self.kept_before, self.kept = self.kept, kept or KeptFiles(best=self.kept.best)
        io, none = trainer.strategy.checkpoint_io, Writes()
        with io.defer() if isinstance(io, checkpoints.SafeIO) else nullcontext(none) as writes:
            trainer.save_checkpoint(self.folder / checkpoints.LAST)
        self.whole = not trainer.is_global_zero
        if trainer.is_global_zero:
            if self.about is not None:
                only: Any = {checkpoints.ENCODER: pl_module.evaluated}
                for name, module in getattr(pl_module, "saved", only).items():
                    file = self.folder / name
                    write = checkpoints.write_of_encoder(module, file, self.about, writes.copies)
                    writes.append(write)
            self.background.start(partial(self.write, trainer.global_step, writes))

    def write(self, step: int, writes: Sequence[Write]) -> None:
        """Write all files of a step; what is kept of them is kept only then."""
        try:
            for write in writes:
                write()
        except NotFiniteError as error:
            raise NotFiniteError(f"step {step} is NOT saved: {error}") from error
        except (OSError, MemoryError) as error:
            raise NotSavedError(f"step {step} is NOT saved: {error}") from error
        self.whole = True
        self.kept.apply(self.folder / checkpoints.LAST)

    def finish(self) -> None:
        """Wait until the newest checkpoint is written, and warn where it could not be."""
        try:
            self.background.wait()
        except NotFiniteError as error:
            self.kept, self.broken, self.unsaved = self.kept_before, str(error), ""
            warnings.warn(self.broken, stacklevel=2)
        except OSError as error:
            self.kept = self.kept_before
            self.unsaved = "" if self.whole else str(error)
            self.failure.warn(str(error))
        else:
            self.unsaved = "" if self.whole else self.unsaved

    def finish_for_all(self) -> None:
        """Wait until the first process has written: a launcher may end it when another one ends."""
        self.finish()
        distributed.barrier()

    def outcome(self) -> tuple[int, str]:
        """The exit code of a run that came to its end, and why it is not 0."""
        if self.broken:
            return BROKEN, self.broken
        return (NOT_SAVED if self.unsaved else 0), self.unsaved

    def choose(self, trainer: pl.Trainer, epoch: int) -> KeptFiles:
        """What stays besides this epoch's checkpoint; all processes say the same."""
        names = [f"epoch={epoch}.ckpt"] * (epoch in self.saving.epochs)
        found = (trainer.callback_metrics.get(name) for name in self.saving.by)
        score = next((float(value) for value in found if value is not None), float("nan"))
        if not self.saving.best:
            return KeptFiles(best=self.kept.best, names=names)
        if score != score and not self.unmeasured and trainer.is_global_zero:
            self.unmeasured = True
            warnings.warn(
                f"--keep_best keeps no epoch that has none of {', '.join(self.saving.by)}, as this "
                "one; --keep_epochs keeps those of given epochs",
                stacklevel=2,
            )
        self.finish()  # what was not saved is not kept either, which one process knows
        before = distributed.broadcast_object(self.kept.best)
        own = {f"best-epoch={epoch}.ckpt": score} if score == score else {}
        best = before | own
        order = sorted(best, key=lambda name: -best[name])  # of two alike the earlier one is better
        stay = order[: self.saving.best]
        return KeptFiles(
            best={name: best[name] for name in stay},
            names=[*names, *(own.keys() & stay)],
            surplus=[name for name in before if name not in stay],
        )

    def keep_again(self, trainer: pl.Trainer) -> None:
        """Do what a kill between a write and its links has left undone.

        A run that goes on from another folder's checkpoint has nothing of it in its own.
        """
        if not trainer.ckpt_path:
            return
        given = Path(trainer.ckpt_path)
        if given.resolve().parent != self.folder.resolve():
            self.kept = KeptFiles()
        elif trainer.is_global_zero:
            files = [self.folder / name for name in self.kept.names]
            missing = [file.name for file in files if not (file.exists() and file.samefile(given))]
            if missing and not checkpoints.is_whole(given):
                return  # what was loaded is the one before, and kept
            try:
                replace(self.kept, names=missing).apply(given)
            except NotSavedError as error:
                self.failure.warn(str(error))
