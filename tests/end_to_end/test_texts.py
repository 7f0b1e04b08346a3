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
    "--optimizer adamw --lr 0.0075 --precision 32 --log_every_n_steps 1"
).split()
OTHERS = "moco", "relic", "sigmoid", "vicreg", "triplet"


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
@pytest.mark.parametrize(
    "method", ["byol", "supcon", *(pytest.param(m, marks=pytest.mark.slow) for m in OTHERS)]
)
def test_methods_of_images_take_texts(method: str, pretrain: Run) -> None:
    words = [w for w in WORDNET if w not in ("--loss", "dhel", "--temperature", "0.05")]
    words += ["--data_fraction", 4000]  # of which some share a document, as supcon needs
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


@pytest.mark.filterwarnings("ignore:hard negatives. 0 of 2; dhel takes none")
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


GOOD = [{"query": f"what is {i}", "positive": f"it is {i}"} for i in range(20)]
NEARLY = [{"query": f"what {i}", "positive": "it" if i < 150 else f"it {i}"} for i in range(200)]


@pytest.mark.parametrize(
    ("last", "said"),
    [
        ('{"query": " ", "positive": "b"}', 'line 21: "query" is empty'),
        ('{"query": "a"}', 'line 21 has no "positive", but query'),
        ('{"query": "a", "positive": null}', 'line 21: "positive" is not a text, but null'),
        ("{broken", "line 21 is not JSON: Expecting property name enclosed in double quotes at"),
        ("[1]", "line 21 is not a JSON object"),
        ('{"query": "a", "positive": "b", "negatives": ["b"]}', 'its "negatives" is its "pos'),
        ('{"query": "a", "positive": "\\ud800"}', '"positive" has half of a character'),
    ],
)
def test_a_wrong_line_is_named(
    last: str, said: str, pretrain: Run, tmp_path: Path, capfd: pytest.CaptureFixture
) -> None:
    (tmp_path / "p.jsonl").write_text("\n".join([*map(json.dumps, GOOD), last]))
    pretrain("pairs:p.jsonl", "bag_w8", "--data_folder", tmp_path, expect=2)
    (line,) = [x for x in capfd.readouterr().err.splitlines() if x.startswith("error")]
    assert line.startswith(f"error: DATASET pairs:p.jsonl: {tmp_path}/p.jsonl, line 21")
    assert said in line


@pytest.mark.parametrize(
    ("lines", "words", "said"),
    [
        (NEARLY, ["--loss", "dhel"], "--batch_size 4: all 4 pairs of step 1 of epoch 1 have one"),
        (GOOD, ["--batch_size", "1"], "--batch_size 1: all 1 pairs of step 1 of epoch 1 have one"),
        (NEARLY[:100], [], "all 100 training pairs have the same document"),
        (GOOD, ["--batch_size", "50"], "--batch_size 50 on 1 device(s) is more than the 20 train"),
        (GOOD, ["--method", "supcon"], "--method supcon: no two of the 20 training samples of"),
        (GOOD, ["--supervised"], "--supervised: no two of the 20 training samples of pairs:p"),
    ],
)
def test_data_in_which_nothing_is_told_apart(
    lines: list[dict[str, str]],
    words: list[str],
    said: str,
    pretrain: Run,
    tmp_path: Path,
    capfd: pytest.CaptureFixture,
) -> None:
    held_out = [{"query": "who", "positive": "you", "split": "val"}]
    text = "\n".join(json.dumps(line) for line in [*lines, *held_out])
    (tmp_path / "p.jsonl").write_text(text)
    given = ["pairs:p.jsonl", "bag_w8", "--data_folder", tmp_path, "--batch_size", 4]
    pretrain(*given, *words, expect=2)
    assert said in capfd.readouterr().err


def test_what_compares_no_documents_takes_a_batch_of_one(pretrain: Run, tmp_path: Path) -> None:
    (tmp_path / "p.jsonl").write_text("\n".join(map(json.dumps, NEARLY)))
    words = ["pairs:p.jsonl", "bag_w8", "--data_folder", tmp_path, "--method", "byol"]
    pretrain(*words, "--batch_size", 4, "--max_steps", 2)


def test_the_rate_is_of_pairs(pretrain: Run, capsys: pytest.CaptureFixture) -> None:
    pretrain(*WORDNET, "--max_steps", 1)
    said = capsys.readouterr().out
    assert "pairs/s" in said
    assert "img/s" not in said
