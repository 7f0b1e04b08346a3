"""Whole runs of transformers of texts: their folder, what restores them, low-rank updates."""

import json
import os
import shutil
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import main_contrastive
from cl.callbacks.saver import Saver
from cl.data.tokens import tokenizer_of
from cl.eval._restore import restore
from cl.metrics import read_metrics
from tests.end_to_end.made import Run, measured, words_on_pairs
from tests.nets.made_texts import NEEDS, tiny


@pytest.fixture
def words(tmp_path: Path) -> list[str]:
    """A tiny model on 32 pairs of different documents."""
    torch.manual_seed(0)
    return words_on_pairs(tmp_path, tiny(tmp_path / "tiny"))


TRAIN = "--loss mnrl --batch_size 8 --epochs 2 --optimizer adamw --lr 3e-4 --log_every_n_steps 1"


def features(encoder: torch.nn.Module, texts: list[str]) -> torch.Tensor:
    tokens = tokenizer_of("", encoder)(texts, 12).padded(np.arange(len(texts)))
    with torch.no_grad():
        return encoder.eval()(torch.from_numpy(tokens))


@pytest.mark.parametrize("lora", [[], ["--lora_rank", "2"]])
def test_a_run_is_one_of_sentence_transformers_and_restored_wherever_it_is(
    lora: list[str],
    words: list[str],
    pretrain: Run,
    linear: Run,
    tmp_path: Path,
    capsys: pytest.CaptureFixture,
) -> None:
    library = pytest.importorskip("sentence_transformers", reason=NEEDS)
    run = pretrain(*words, *TRAIN.split(), *lora, "--ema_encoder", "0.5")
    said = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert "encoder hf:" in said
    assert "weights of" in said
    losses = [float(r["train/loss"]) for r in read_metrics(run / "metrics.csv") if r["train/loss"]]
    assert losses[-1] < losses[0]
    run = run.rename(tmp_path / "moved")
    shutil.rmtree(tmp_path / "tiny")
    texts = ["what is a cat", "the river"]
    found = features(restore(run / "encoder.safetensors").encoder, texts)
    peer = library.SentenceTransformer(str(run / "text"), device="cpu")
    theirs = peer.encode(texts, convert_to_tensor=True)
    torch.testing.assert_close(found, theirs, rtol=0, atol=1e-5)
    from_checkpoint = restore(run / "last.ckpt").encoder
    torch.testing.assert_close(features(from_checkpoint, texts), found, rtol=0, atol=1e-5)
    scores = []
    for file in (run, run / "last.ckpt"):
        given = ["--pretrained_feature_extractor", file, "--eval", "retrieval"]
        done = linear(*words, *given, run_id=f"of_{file.name}")
        scores.append(measured(done)["mrr10"])
    assert scores[0] == pytest.approx(scores[1], abs=1e-6)
    pretrain(words[0], f"hf:{run / 'text'}", *words[2:], *TRAIN.split(), run_id="again")


def test_an_encoder_as_it_is_in_its_folder(words: list[str], linear: Run) -> None:
    """Without any training or file of weights."""
    done = linear(*words, "--eval", "retrieval")
    cls = linear(*words, "--eval", "retrieval", "--pooling", "cls", run_id="cls")
    for run in (done, cls):
        assert 0 < measured(run)["mrr10"] <= 1
    mean, first = (restore(None, words[1], pooling=each).encoder for each in (None, "cls"))
    assert not torch.allclose(features(mean, ["a cat"]), features(first, ["a cat"]))


def test_low_rank_updates_alone_are_trained(words: list[str], pretrain: Run) -> None:
    run = pretrain(*words, *TRAIN.split(), "--lora_rank", "2", "--no-merge_lora")
    state = torch.load(run / "last.ckpt", weights_only=True)["state_dict"]
    before = Path(words[1].removeprefix("hf:"))
    initial = restore(None, f"hf:{before}").encoder.state_dict()
    apart = {k.removeprefix("encoder.encoder."): v for k, v in state.items() if "encoder.enc" in k}
    assert apart.keys() == initial.keys()
    assert all(torch.equal(apart[key], value) for key, value in initial.items())
    assert all(value.abs().sum() > 0 for key, value in state.items() if key.startswith("encoder.b"))
    texts = ["what is a cat", "the river"]
    file = run / "encoder.safetensors"
    both = [features(restore(each).encoder, texts) for each in (file, run / "last.ckpt")]
    torch.testing.assert_close(*both, rtol=0, atol=1e-6)
    assert not torch.allclose(both[0], features(restore(None, f"hf:{before}").encoder, texts))
    for start in (file, run / "last.ckpt"):
        more = ["--max_steps", "0", "--init_from", start]
        again = pretrain(*words, *TRAIN.split(), *more, run_id=f"of_{start.stem}")
        started = restore(again / "encoder.safetensors").encoder
        torch.testing.assert_close(features(started, texts), both[0], rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("kind", "more"), [("pairs", ["--lora_rank", "2"]), ("texts", ["--mini_batch_size", "3"])]
)
def test_a_resumed_run_has_the_dropout_of_the_whole_one(
    kind: str,
    more: list[str],
    words: list[str],
    pretrain: Run,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Interrupted inside the second epoch; of texts alone (SimCSE) dropout makes the two views."""
    pairs = [json.loads(line) for line in (tmp_path / "made.jsonl").read_text().splitlines()]
    (tmp_path / "made.txt").write_text("".join(f"{pair['positive']}\n" for pair in pairs))
    data = {"pairs": words[0], "texts": "texts:made.txt"}[kind]
    given = [data, *words[1:], *TRAIN.split(), "--loss", "nt_xent", *more]
    whole = pretrain(*given, run_id="whole")
    ask = Saver.on_train_batch_end

    def interrupt(self: Saver, trainer: Any, *rest: Any) -> None:
        if trainer.global_step == 4:
            os.kill(os.getpid(), signal.SIGTERM)
        ask(self, trainer, *rest)

    monkeypatch.setattr(Saver, "on_train_batch_end", interrupt)
    part = pretrain(*given, run_id="part", expect=143)
    monkeypatch.undo()
    resumed = ["--config", part / "config.json", "--resume_training_from", part]
    assert main_contrastive.main([str(word) for word in resumed]) == 0
    a, b = (torch.load(run / "last.ckpt", weights_only=True)["state_dict"] for run in (whole, part))
    assert a.keys() == b.keys()
    assert all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize("lora", [[], ["--lora_rank", "2"]])
def test_gradient_caching_changes_nothing(lora: list[str], words: list[str], pretrain: Run) -> None:
    config = Path(words[1].removeprefix("hf:")) / "config.json"
    still = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    config.write_text(json.dumps(json.loads(config.read_text()) | still))
    runs = [
        pretrain(*words, *TRAIN.split(), *lora, *chunk, run_id=f"run{len(chunk)}")
        for chunk in ([], ["--mini_batch_size", "3"])
    ]
    states = [torch.load(run / "last.ckpt", weights_only=True)["state_dict"] for run in runs]
    for key, value in states[0].items():
        torch.testing.assert_close(states[1][key], value, rtol=0, atol=2e-4, msg=key)


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (["--max_length", "10", "64"], "--max_length 10 64: ENCODER hf:"),
        (["--max_length", "2", "12"], "--max_length must be at least 3, not 2"),
    ],
)
def test_lengths_that_do_not_fit(
    more: list[str], says: str, words: list[str], pretrain: Run, capfd: pytest.CaptureFixture
) -> None:
    pretrain(*words[:4], *TRAIN.split(), *more, expect=2)
    assert says in capfd.readouterr().err


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (
            ["digits", "resnet6_w8", "--pooling", "cls"],
            "--pooling needs an encoder of texts named minilm",
        ),
        (
            ["wordnet", "bag_w8", "--pooling", "cls"],
            "--pooling needs an encoder of texts named minilm",
        ),
        (
            ["wordnet", "bag_w8", "--pretrained"],
            "--pretrained needs an encoder of texts named minilm",
        ),
        (["wordnet", "bag_w8", "--lora_rank", "2"], "--lora_rank needs linear layers"),
        (["digits", "resnet6_w8", "--lora_rank", "2"], "--lora_rank needs a DATASET of text"),
        (["wordnet", "bag_w8", "--no-merge_lora"], "--merge_lora needs --lora_rank"),
        (["digits", "hf:no/such"], "takes text, but DATASET digits has images"),
        (["wordnet", "hf:"], "hf:"),
    ],
)
def test_flags_out_of_place(
    given: list[str], says: str, pretrain: Run, capfd: pytest.CaptureFixture
) -> None:
    pretrain(*given, expect=2)
    assert says in capfd.readouterr().err


def test_an_encoder_that_is_not_on_disk(
    pretrain: Run, capfd: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("transformers", reason=NEEDS)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    pretrain("wordnet", "hf:no/such", expect=2)
    assert "give a folder" in capfd.readouterr().err


def test_no_more_tokens_are_used_than_there_are_positions(words: list[str], pretrain: Run) -> None:
    """Where `--max_length` is not given; the tiny model has 40 positions."""
    at = words.index("--max_length")
    run = pretrain(
        *words[:at], *words[at + 3 :], *"--loss mnrl --batch_size 8 --max_steps 0".split()
    )
    assert json.loads((run / "config.json").read_text())["max_length"] == [40, 40]
