"""Steps whose loss or gradient is not finite: all processes leave them out together."""

import warnings
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback
from torch import Tensor

from cl import distributed
from cl.nets.ema import Ema
from cl.nets.kept import Kept
from cl.nets.learnable import Learnable
from cl.nets.queue import Queue

LOOKED = 8  # steps between two looks at what a GPU has counted
FUSED = (torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW)  # their kernels take the flag


def unless(bad: bool | Tensor, value: Any, instead: Any) -> Any:
    """`value`, or `instead` of a step that is left out; a flag on a GPU is not read for it."""
    if isinstance(bad, bool):
        return instead if bad else value
    return torch.where(bad, instead, value)


def finite_steps(trainer: pl.Trainer) -> "FiniteSteps | None":
    """The Trainer's `FiniteSteps`, if it has one."""
    each = trainer.callbacks  # pyright: ignore[reportAttributeAccessIssue]
    return next((callback for callback in each if isinstance(callback, FiniteSteps)), None)


class FiniteSteps(Callback):
    """Leaves out a step whose loss or gradient is NaN or infinite, as if it had not been.

    Weights, the optimizer's state, running statistics, moving averages and queues are then bit for
    bit those before the step; the data and the schedules move on. A loss that is not finite makes
    its gradient so, and DDP's sum brings that to all processes: they agree without a word.

    On a CPU the gradient is looked at before the optimizer's step. On a GPU nothing waits for the
    answer: the optimizer's kernels take it as a flag on the device, and what they do not know of is
    put back by the same flag. float16's scaler has its own way with gradients that overflow, which
    is not counted: there the loss alone is asked, and read, as the scaler reads its flag too.

    Args:
        limit: so many steps in a row may be left out; with one more the run is `over`, and `Saver`
            ends it.
        reads: whether each step's flag is read; None: where no device is waited for.
    """

    def __init__(self, limit: int, reads: bool | None = None) -> None:
        self.limit, self.reads = limit, reads
        self.in_row = self.total = 0  # left out since the last step that was not, and in all
        self.over = False
        self.loss = self.found = torch.zeros(())
        self.kept = Kept([])
        self.counts = torch.zeros(3, dtype=torch.long)  # on a GPU: in a row, in all, whether over
        self.pending: tuple[Tensor, torch.cuda.Event | None] | None = None

    def state_dict(self) -> dict[str, int]:
        """Both counts; those of a device are left to `look`, which says what is new in them."""
        known = self.in_row, self.total
        in_row, total = self.counts[:2].tolist() if self.reads is False else known
        return {"in_row": in_row, "total": total}

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        self.in_row, self.total = state_dict["in_row"], state_dict["total"]
        if self.in_row > self.limit:  # a run that they ended has its chance again
            self.in_row = 0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        (optimizer,) = trainer.optimizers
        device = pl_module.device
        if self.reads is None:
            known = isinstance(optimizer, FUSED) or type(optimizer).__name__ == "Lars"
            parts = any(map(distributed.is_sharded, pl_module.parameters()))
            self.reads = (
                device.type == "cpu" or not known or parts or scaler_of(trainer) is not None
            )
        modules = [*pl_module.modules()]
        queues = [m for m in modules if isinstance(m, Queue)]
        kept = [b for m in modules if m not in queues for b in m.buffers(recurse=False)]
        if not self.reads:
            kept += [b for queue in queues for b in queue.buffers()]
            averages = [m for m in modules if isinstance(m, Ema | Learnable)]
            kept += [p for average in averages for p in average.parameters()]
            kept += make_ready(optimizer)
            self.counts = torch.tensor([self.in_row, self.total, 0], device=device)
        self.found, self.kept = torch.zeros((), device=device), Kept(kept)

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        self.kept.keep()

    def on_before_backward(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, loss: Tensor
    ) -> None:
        """Make the gradient of an infinite loss not finite; any other one stays as it is."""
        self.loss = loss.detach()
        nothing = 0 * self.loss
        loss.register_hook(lambda gradient: gradient + nothing)

    def on_before_optimizer_step(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: torch.optim.Optimizer
    ) -> None:
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        gradients = [p.grad for p in parameters if p.grad is not None]
        if scaler_of(trainer) is None:
            bad = self.any_not_finite(gradients)
        else:
            bad = distributed.all_reduce_max((~self.loss.isfinite()).int()) > 0
            if scaler_of(trainer).get_scale() < 1:  # it is no overflow
                bad |= self.any_not_finite(gradients)
        if self.reads:
            bad = bool(bad)
            if bad:
                self.say(trainer, pl_module)
                optimizer.zero_grad(set_to_none=True)
                self.kept.put_back()
        else:
            optimizer.found_inf = self.found  # pyright: ignore[reportAttributeAccessIssue]
        setattr(pl_module, "skipped", bad)  # noqa: B010

    def any_not_finite(self, gradients: list[Tensor]) -> Tensor:
        """Whether one of the gradients is not finite, a flag on their device."""
        self.found.zero_()
        one = torch.ones_like(self.found)
        parts = any(map(distributed.is_sharded, gradients))
        gradients = [distributed.own_part(gradient) for gradient in gradients]
        for dtype in {gradient.dtype for gradient in gradients}:
            same = [gradient for gradient in gradients if gradient.dtype == dtype]
            torch._amp_foreach_non_finite_check_and_unscale_(same, self.found, one)  # pyright: ignore[reportPrivateImportUsage]
        return (distributed.all_reduce_max(self.found) if parts else self.found) > 0

    def say(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Say which step is left out, and why; all processes come here together."""
        of = {
            n: distributed.own_part(p.grad)
            for n, p in pl_module.named_parameters()
            if p.grad is not None
        }
        broken = (name for name, gradient in of.items() if not gradient.isfinite().all())
        why = f"the gradient of {next(broken, 'a weight')} is"
        loss = not self.loss.isfinite()
        own = not loss, "the loss is" if loss else why
        each: list[Any] = distributed.gather_objects(own)
        first = min(range(len(each)), key=lambda rank: (each[rank], rank))  # a loss before others
        where = f" on process {first}" if len(each) > 1 else ""
        step = trainer.global_step + 1
        warnings.warn(f"step {step} is left out: {each[first][1]} not finite{where}", stacklevel=2)

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        bad: Any = pl_module.skipped
        outputs["skipped"] = bad
        if isinstance(bad, bool):
            self.in_row, self.total = (self.in_row + 1) * bad, self.total + bad
            self.over = self.in_row > self.limit
        else:
            self.kept.put_back(bad)
            in_row, total, over = self.counts
            in_row.add_(1).mul_(bad)
            total.add_(bad)
            over.logical_or_(in_row > self.limit)
            if trainer.global_step % LOOKED == 0:
                self.look(trainer)
        outputs["over"] = self.over

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if not self.reads:
            self.look(trainer)
            self.look(trainer)

    def look(self, trainer: pl.Trainer) -> None:
        """Look at what had been counted at the look before, for which no device is waited."""
        gpu = self.counts.is_cuda
        host = torch.empty(3, dtype=torch.long, pin_memory=gpu)
        host.copy_(self.counts, non_blocking=True)
        event = torch.cuda.Event() if gpu else None
        if event:
            event.record()
        before, self.pending = self.pending, (host, event)
        if before is None:
            return
        if before[1]:
            before[1].synchronize()
        _, total, over = before[0].tolist()
        if total > self.total:
            what = f"{total - self.total} steps up to step {trainer.global_step} are left out"
            warnings.warn(f"{what}: the loss or a gradient is not finite", stacklevel=2)
        self.total, self.over = total, bool(over)


def scaler_of(trainer: pl.Trainer) -> Any:
    """float16's scaler of gradients; None in any other precision."""
    return getattr(trainer.precision_plugin, "scaler", None)


def make_ready(optimizer: torch.optim.Optimizer) -> list[Tensor]:
    """Make an optimizer's kernels take a flag on the device; what they do not keep by it.

    A momentum is there before the first step, in which it would be made of the gradient; from zeros
    it is the same.
    """
    fused, moved = isinstance(optimizer, FUSED), []
    for group in optimizer.param_groups:
        if fused:
            group.update(fused=True, foreach=False)
        for p in group["params"]:
            state = optimizer.state[p]
            if group.get("momentum") and "momentum_buffer" not in state:
                state["momentum_buffer"] = torch.zeros_like(p)
            if "step" in state:  # of a checkpoint from another device
                state["step"] = state["step"].to(p.device, torch.float32)
            if not fused:
                moved += [p, *(value for value in state.values() if isinstance(value, Tensor))]
    return moved
