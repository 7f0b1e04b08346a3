"""Whole runs on texts: what they leave behind, how they resume, what two processes change."""

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import main_contrastive
from cl.callbacks.saver import Saver
from cl.metrics import read_metrics
from cl.nets import texts

Run = Callable[..., Path]
WORDNET = (
    "wordnet bag_w8 --loss dhel --temperature 0.05 --epochs 2 --batch_size 64 --data_fraction 640 "
    "--optimizer adamw --lr 0.03 --precision 32 --log_every_n_steps 1"
).split()


def weights(run: Path) -> dict[str, torch.Tensor]:
    return torch.load(run / "last.ckpt", weights_only=True)["state_dict"]


def test_a_run_on_texts(pretrain: Run, capsys: pytest.CaptureFixture) -> None:
    run = pretrain(*WORDNET)
    said = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert "640 of 19,844 training pairs" in said
    rows = read_metrics(run / "metrics.csv")
    losses = [float(row["train/loss"]) for row in rows if row["train/loss"]]
    assert len(losses) == 20
    assert losses[-1] < losses[0]
    assert not any(row["val/probe_top1"] or row["val/knn_top1"] for row in rows)
    encoder = texts.encoder_of("bag_w8")
    encoder.load_state_dict(load_file(run / "encoder.safetensors"))
    config = json.loads((run / "config.json").read_text())
    assert config["method_options"]["hidden_mlp"] == 0
    assert config["method_options"]["supervised"] is True
    assert len(config["derived"]["first_batches"]) == 64


def test_a_resumed_run_is_the_whole_one(pretrain: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Interrupted inside the second epoch."""
    whole = pretrain(*WORDNET, run_id="whole")
    ask = Saver.on_train_batch_end

    def interrupt(self: Saver, trainer: object, *rest: object) -> None:
        if trainer.global_step == 13:
            os.kill(os.getpid(), signal.SIGTERM)
        ask(self, trainer, *rest)

    monkeypatch.setattr(Saver, "on_train_batch_end", interrupt)
    part = pretrain(*WORDNET, run_id="part", expect=143)
    monkeypatch.undo()
    words = ["--config", part / "config.json", "--resume_training_from", part]
    assert main_contrastive.main([str(word) for word in words]) == 0
    a, b = weights(whole), weights(part)
    assert a.keys() == b.keys()
    assert all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.filterwarnings("default:COLLAPSED")  # two steps of a bag's small vectors
@pytest.mark.parametrize("method", ["byol", "moco", "vicreg", "triplet", "supcon"])
def test_methods_of_images_take_texts(method: str, pretrain: Run) -> None:
    words = [w for w in WORDNET if w not in ("--loss", "dhel", "--temperature", "0.05")]
    run = pretrain(*words, "--method", method, "--max_steps", 2)
    rows = read_metrics(run / "metrics.csv")
    assert all(float(row["train/loss"]) < 1e6 for row in rows if row["train/loss"])


def test_options_of_large_batches_hold(pretrain: Run) -> None:
    run = pretrain(*WORDNET, "--mini_batch_size", 16, run_id="chunks")
    whole = pretrain(*WORDNET, run_id="whole")
    losses = [
        [float(r["train/loss"]) for r in read_metrics(each / "metrics.csv") if r["train/loss"]]
        for each in (run, whole)
    ]
    torch.testing.assert_close(*map(torch.tensor, losses), rtol=1e-3, atol=1e-3)


def test_hard_negatives_train_with_mnrl(pretrain: Run, tmp_path: Path) -> None:
    lines = [
        {"query": f"what is {i}", "positive": f"it is {i}", "negatives": [f"not {i}", f"no {i}"]}
        for i in range(40)
    ]
    (tmp_path / "pairs.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    words = ["pairs:pairs.jsonl", "bag_w8", "--data_folder", tmp_path, "--batch_size", 8]
    words += ["--epochs", 1, "--optimizer", "adamw", "--lr", 0.01, "--loss"]
    pretrain(*words, "mnrl", "--hard_negatives", 2, run_id="two")
    pretrain(*words, "dhel", run_id="none")
    pretrain(*words, "mnrl", "--hard_negatives", 3, run_id="three", expect=2)


def test_a_method_that_compares_changes_of_images(pretrain: Run, capfd: pytest.CaptureFixture):
    words = [w for w in WORDNET if w not in ("--loss", "dhel", "--temperature", "0.05")]
    pretrain(*words, "--method", "looc", expect=2)
    assert "--method looc compares changes of images" in capfd.readouterr().err
