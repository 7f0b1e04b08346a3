"""On the card: steps that are left out, an error in a step, and samples that are texts."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import main_contrastive
from cl.callbacks.finite import FiniteSteps
from cl.callbacks.saver import Saver
from tests.callbacks import test_finite as finite
from tests.data.test_captions import row, written
from tests.end_to_end.test_runs import same, weights
from tests.gpu.conftest import GPU
from tests.gpu.test_methods import all_well, changed, state
from tests.gpu.test_runs import same_order

__all__ = ["same_order"]
pytestmark = [
    GPU,
    *finite.pytestmark,
    pytest.mark.filterwarnings("default:COLLAPSED"),  # a few steps of a few samples
    pytest.mark.filterwarnings("ignore:--precision"),
]
Run = Callable[..., Path]


@pytest.mark.parametrize("reads", [True, False], ids=["read", "on the device"])
@pytest.mark.parametrize("kind", finite.KINDS)
def test_a_step_that_is_left_out_changes_nothing(
    kind: str, reads: bool, device: torch.device, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fused optimizers decide on the card."""
    monkeypatch.setitem(finite.PLAIN, "accelerator", "gpu" if device.type == "cuda" else "cpu")
    finite.test_a_step_that_is_left_out_changes_nothing(kind, reads)


def test_a_step_without_a_number_is_left_out_by_the_program(
    pretrain: Run, digits: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As it decides there by itself; the run goes on and tells of it."""
    start = FiniteSteps.on_train_batch_start

    def broken(self: FiniteSteps, trainer: Any, module: Any, batch: Any, number: int) -> None:
        if trainer.global_step == 2:
            batch.views[0][0, 0] = torch.nan
        start(self, trainer, module, batch, number)

    monkeypatch.setattr(FiniteSteps, "on_train_batch_start", broken)
    run = pretrain(*changed(digits, "bf16"), "--max_steps", "5")
    assert all(value.isfinite().all() for value in state(run)["state_dict"].values())
    assert state(run)["callbacks"]["FiniteSteps"]["total"] == 1


@pytest.mark.usefixtures("same_order", "device")
def test_after_an_error_the_step_before_is_saved(
    pretrain: Run,
    digits: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    """Memory that is not enough, in the forward pass of the fourth step; what goes on is whole."""
    given = [*digits, "--no-baseline", "--data_fraction", "512", "--clip_grad_norm", "1"]
    whole = pretrain(*given, run_id="whole")
    ask = Saver.on_train_batch_end

    def need(self: Saver, trainer: Any, module: Any, *rest: Any) -> None:
        if trainer.global_step == 3:
            module.encoder.forward = lambda x: torch.empty(2**55, device=x.device)
        ask(self, trainer, module, *rest)

    monkeypatch.setattr(Saver, "on_train_batch_end", need)
    part = pretrain(*given, run_id="part", expect=2)
    monkeypatch.setattr(Saver, "on_train_batch_end", ask)
    said = capsys.readouterr().err
    assert "step 3 is saved" in said
    assert "memory" in said
    assert state(part)["global_step"] == 3
    config = ("--config", part / "config.json", "--resume_training_from", part)
    assert main_contrastive.main([str(w) for w in config]) == 0
    assert same(weights(whole), weights(part))


@pytest.mark.parametrize("method", ["simclr", "byol", "moco", "sigmoid", "vicreg", "triplet"])
def test_texts(method: str, pretrain: Run, tmp_path: Path) -> None:
    lines = [
        {"query": f"what is {i}", "positive": f"it is {i}", "negatives": [f"not {i}", f"no {i}"]}
        for i in range(64)
    ]
    (tmp_path / "pairs.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    words = (
        f"pairs:pairs.jsonl bag_w8 --method {method} --batch_size 16 --epochs 1 --precision bf16"
    )
    more = ["--loss", "mnrl", "--hard_negatives", 2] if method == "simclr" else []
    pretrained = pretrain(
        *words.split(), *more, "--data_folder", tmp_path, "--log_every_n_steps", 1
    )
    all_well(pretrained)


@pytest.mark.parametrize("loss", ["clip", "sigmoid"])
def test_images_and_texts(loss: str, pretrain: Run, tmp_path: Path) -> None:
    """With a temperature that is learned, and so not read, in batches of unequal texts."""
    name = written(tmp_path, [row(i, split="val" if i > 9 else "train") for i in range(12)])
    words = "resnet6_w8 --method clip --text_encoder bag_w6 --encoding_size 5 --image_size 8"
    words += f" --loss {loss} --batch_size 4 --epochs 2 --precision bf16 --num_workers 0"
    words += " --log_every_n_steps 1"
    run = pretrain(name, *words.split(), "--data_folder", tmp_path)
    all_well(run)
    learned = [v for k, v in state(run)["state_dict"].items() if "temperature" in k]
    assert learned


def test_a_run_frees_its_memory(device: torch.device, pretrain: Run, digits: list[str]) -> None:
    """What Python's own tensors take is freed: a second run in this process needs no more."""
    if device.type != "cuda":
        pytest.skip("needs a CUDA device also in a rehearsal")
    peaks = []
    for run_id in ("one", "two", "three"):
        torch.cuda.reset_peak_memory_stats()
        pretrain(*changed(digits, "bf16"), "--max_steps", "2", run_id=run_id)
        peaks.append(torch.cuda.max_memory_allocated())
    assert peaks[2] <= 1.05 * peaks[1], peaks
