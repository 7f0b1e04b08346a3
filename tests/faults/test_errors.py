"""One process gets no batch or fails in its step: all save the step before, a line says why."""

import multiprocessing
import os
import re
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from cl.callbacks.saver import Saver
from cl.methods.simclr import SimCLR
from tests.end_to_end.conftest import pretrain
from tests.faults.processes import RUN, Act, Ranks, gone, same

__all__ = ["pretrain"]
STEP = 9


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The uninterrupted run of two processes."""
    ranks = Ranks(RUN, tmp_path_factory.mktemp("whole"), "whole", world=2)
    assert ranks.end() == [0, 0], ranks.said()
    return ranks.folder


def at_step(trainer: Any, rank: int) -> bool:
    return trainer.global_step == STEP and trainer.global_rank == rank


def kill_workers(trainer: Any) -> None:
    if at_step(trainer, 1):
        for worker in multiprocessing.active_children():
            os.kill(worker.pid or 0, signal.SIGKILL)


def fail_first(trainer: Any) -> None:
    if at_step(trainer, 0):
        trainer.train_dataloader.batch = unreadable


def fail_last(trainer: Any) -> None:
    if at_step(trainer, 1):
        trainer.train_dataloader.batch = unreadable


def need_too_much(trainer: Any) -> None:
    """In the forward pass of the next step, whose statistics it has moved, as an allocator does."""
    if trainer.global_step == STEP:
        forward = trainer.lightning_module.encoder.forward
        rank = trainer.global_rank

        def larger(x: torch.Tensor) -> torch.Tensor:
            found = forward(x)
            return torch.empty(2**55) if rank == 1 else found

        trainer.lightning_module.encoder.forward = larger


def need_too_much_first(trainer: Any) -> None:
    if at_step(trainer, 0):
        trainer.lightning_module.encoder.forward = lambda _: torch.empty(2**55)


def fail_backward(trainer: Any) -> None:
    if at_step(trainer, 1):
        weight = next(trainer.lightning_module.encoder.parameters())
        weight.register_hook(lambda _: {}["a name"])


def unreadable(*_: Any) -> None:
    raise ValueError("Caught ValueError in worker.\nTraceback\nb.png cannot be read as an image")


@pytest.mark.parametrize(
    ("act", "rank", "code", "why"),
    [
        # Whichever of torch's two messages comes first.
        (kill_workers, 1, 1, "exited unexpectedly|killed by signal"),
        pytest.param(
            *(fail_first, 0, 2, "b.png cannot be read as an image; step 9 is saved"),
            marks=pytest.mark.slow,
        ),
        pytest.param(
            *(fail_last, 1, 2, "b.png cannot be read as an image; step 9 is saved"),
            marks=pytest.mark.slow,
        ),
    ],
)
def test_without_a_batch_the_step_before_is_saved(
    act: Act, rank: int, code: int, why: str, whole: Path, tmp_path: Path
) -> None:
    ranks = Ranks(RUN, tmp_path, "run", world=2, act=act)
    groups = [process.pid or 0 for process in ranks.processes]
    assert ranks.end(60) == [code, code], ranks.said()
    first, second = ranks.said()
    assert f"process {rank} of 2 on {os.uname().nodename}: " in first
    assert re.search(why, first), first
    assert "go on with: " in first
    assert "Traceback" not in first + second
    assert all(gone(group, 5) for group in groups)
    again = Ranks([*RUN, "--auto_resume"], tmp_path, "run", world=2)
    assert again.end() == [0, 0], again.said()
    assert same(again.folder, whole)


@pytest.mark.parametrize(
    ("act", "rank", "code", "why"),
    [
        pytest.param(
            *(need_too_much, 1, 2, "has failed: the memory is not enough for 144115188075855872"),
            marks=pytest.mark.slow,
        ),
        pytest.param(
            *(need_too_much_first, 0, 2, "the memory is not enough for 144115188075855872 bytes"),
            marks=pytest.mark.slow,
        ),
        pytest.param(
            *(fail_backward, 1, 1, "has failed: KeyError: 'a name'; step 9 is saved"),
            marks=pytest.mark.slow,
        ),
    ],
)
def test_after_an_error_in_a_step_the_step_before_is_saved(
    act: Act, rank: int, code: int, why: str, whole: Path, tmp_path: Path
) -> None:
    """Of the process that fails and of the other one, which waits for it inside of that step."""
    ranks = Ranks(RUN, tmp_path, "run", world=2, act=act)
    codes = ranks.end(60)
    assert codes == ([code, 1] if rank == 0 else [1, code]), ranks.said()
    first, second = ranks.said()
    assert why in first
    assert "step 9 is saved" in first
    assert "go on with: " in first
    assert "Traceback" not in (first, second)[1 - rank]
    again = Ranks([*RUN, "--auto_resume"], tmp_path, "run", world=2)
    assert again.end() == [0, 0], again.said()
    assert same(again.folder, whole)


@pytest.fixture
def drawing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A loss that takes random numbers, as dropout does."""
    objective = SimCLR.objective

    def draw(self: SimCLR, h: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return objective(self, h, labels) * torch.rand(())

    monkeypatch.setattr(SimCLR, "objective", draw)


def fail_in_loss(method: Any) -> None:
    objective = method.objective

    def fail(*args: Any) -> torch.Tensor:
        objective(*args)
        raise MemoryError

    method.objective = fail


def fail_at_gradient(method: Any) -> None:
    def fail(_: torch.Tensor) -> None:
        raise MemoryError

    next(method.encoder.parameters()).register_hook(fail)


def fail_in_optimizer(method: Any) -> None:
    (optimizer,) = method.trainer.optimizers

    def step(closure: Any) -> None:
        closure()
        optimizer.param_groups[0]["params"][0].data.zero_()
        raise MemoryError

    optimizer.step = step


@pytest.mark.usefixtures("drawing")
@pytest.mark.parametrize(
    ("fail", "saved"),
    [
        (fail_in_loss, True),
        pytest.param(fail_at_gradient, True, marks=pytest.mark.slow),
        (fail_in_optimizer, False),
    ],
)
def test_of_one_process_too(
    pretrain: Callable[..., Path],
    fail: Callable[[Any], None],
    saved: bool,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    """Statistics, averages and random numbers are those before the step; in the optimizer's: no."""
    words = [*RUN, "--max_steps", "6", "--ema_encoder", "0.9", "--num_workers", "0"]
    words += ["--checkpoint_every", "2", "--checkpoint_unit", "steps"]
    whole = pretrain(*words, run_id="whole")
    see = Saver.on_train_batch_end

    def on_train_batch_end(self: Saver, trainer: Any, pl_module: Any, *rest: Any) -> None:
        see(self, trainer, pl_module, *rest)
        if trainer.global_step == 3:
            fail(pl_module)

    with monkeypatch.context() as patch:
        patch.setattr(Saver, "on_train_batch_end", on_train_batch_end)
        part = pretrain(*words, run_id="part", expect=2)
    assert f"step 3 is {'' if saved else 'NOT '}saved" in capsys.readouterr().err
    step = torch.load(part / "last.ckpt", weights_only=True)["global_step"]
    assert step == (3 if saved else 2)
    pretrain(*words, "--auto_resume", run_id="part")
    assert same(part, whole)
