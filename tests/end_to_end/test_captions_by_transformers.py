"""Whole runs on images with captions whose encoder of texts is a transformer."""

import json
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import cl
import main_contrastive
from cl.callbacks.saver import Saver
from cl.data.tokens import tokenizer_of
from cl.eval._restore import restore
from cl.metrics import read_metrics
from cl.nets import encoders
from cl.nets.texts import encoder_of
from tests.data.test_captions import row, written
from tests.end_to_end.test_pairs_of_encoders import saved_clip
from tests.nets.made_texts import NEEDS, tiny

Run = Callable[..., Path]
pytestmark = pytest.mark.filterwarnings("default:COLLAPSED")  # a few steps of three images
FLAGS = {"encoding_size": 5, "image_size": 8, "batch_size": 3, "epochs": 2, "precision": "32"}
FLAGS |= {"num_workers": 0, "log_every_n_steps": 1, "method": "clip"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    return tiny(tmp_path / "tiny")


@pytest.fixture
def line(tmp_path: Path, folder: Path) -> list[str]:
    name = written(tmp_path, [row(i, split="val" if i > 5 else "train") for i in range(12)])
    words = [word for flag, value in FLAGS.items() for word in (f"--{flag}", str(value))]
    places = ["--data_folder", str(tmp_path), "--text_encoder", f"hf:{folder}"]
    return [name, "resnet6_w8", *places, "--max_length", "30", "30", *words]


def scores(run: Path) -> dict[str, float]:
    return json.loads((run / "result.json").read_text())["retrieval"]


def card(run: Path) -> dict:
    return json.loads((run / "cards.json").read_text())["derived"]["cards"][0]


@pytest.mark.parametrize("pooling", [[], ["--pooling", "cls"]])
def test_a_run_is_evaluated_wherever_it_is(
    pooling: list[str], line: list[str], pretrain: Run, linear: Run, tmp_path: Path
) -> None:
    """Its `text/` says what its tensors do not; sentence-transformers reads it."""
    library = pytest.importorskip("sentence_transformers", reason=NEEDS)
    run = pretrain(*line, *pooling).rename(tmp_path / "moved_run")
    shutil.rmtree(tmp_path / "tiny")
    last = read_metrics(run / "metrics.csv")[-1]
    for name in ("", "last.ckpt"):
        of = ["--pretrained_feature_extractor", run / name, "--eval", "retrieval"]
        done = linear(*line[:4], *of, "--precision", 32, run_id=f"of_{name}")
        for key, value in scores(done).items():
            if f"val/{key}" in last:
                assert value == pytest.approx(float(last[f"val/{key}"]), abs=1e-6)
        assert card(done)["encoder"]["pooling"] == (pooling or ["mean"])[-1]
    towers = restore(run / "towers.safetensors", pair=True).encoder.eval()
    texts = ["the cat", "a dog of a tree by the river"]
    tokens = tokenizer_of("", towers.text)(texts, 30).padded(np.arange(2))
    peer = library.SentenceTransformer(str(run / "text"), device="cpu")
    assert peer.max_seq_length == 30
    theirs = peer.encode(texts, convert_to_tensor=True)
    with torch.no_grad():
        ours = towers(torch.from_numpy(tokens))
        unmapped = towers.text(torch.from_numpy(tokens))
    assert ours.shape == (2, 5)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5)
    both, transform = cl.load_encoder(run, side="text")
    embedded, _ = cl.embed(both, texts, transform=transform)
    torch.testing.assert_close(embedded, theirs, rtol=0, atol=1e-5)
    encoder = encoder_of(f"hf:{run / 'text'}").eval()
    assert "without its map to images" in encoder.origin
    with torch.no_grad():
        torch.testing.assert_close(encoder(torch.from_numpy(tokens)), unmapped, rtol=0, atol=1e-5)


def test_the_folder_of_texts_has_the_map_to_images(line: list[str], pretrain: Run) -> None:
    """As its files say it, for who has no sentence-transformers."""
    run = pretrain(*line, "--max_steps", 1)
    modules = json.loads((run / "text/modules.json").read_text())
    assert [each["type"].split(".")[-1] for each in modules] == ["Transformer", "Pooling", "Dense"]
    dense = run / "text" / modules[-1]["path"]
    about = json.loads((dense / "config.json").read_text())
    weight = load_file(dense / "model.safetensors")["linear.weight"]
    assert (about["out_features"], about["in_features"]) == weight.shape
    assert (about["bias"], about["activation_function"].split(".")[-1]) == (False, "Identity")
    texts = ["the cat", "a dog of a tree by the river"]
    both, transform = cl.load_encoder(run, side="text")
    expected, _ = cl.embed(both, texts, transform=transform)
    alone, _ = cl.embed(f"hf:{run / 'text'}", texts)
    assert alone.shape[1] != expected.shape[1]
    torch.testing.assert_close(alone @ weight.T, expected, rtol=0, atol=1e-5)


def test_classes_are_found_by_their_names(
    line: list[str], colors: list[str], pretrain: Run, linear: Run
) -> None:
    run = pretrain(*line, "--max_steps", 1)
    of = ["--pretrained_feature_extractor", run, "--precision", 32, "--eval", "zeroshot"]
    done = linear(*colors, "resnet6_w8", *of, run_id="first")
    linear(*colors, "--config", done / "cards.json", "--verify", done, run_id="again")
    long = [*of, "--max_length", 64, 64]
    linear(*colors, "resnet6_w8", *long, run_id="long", expect=2)


@pytest.mark.parametrize("lock", ["text", "image"])
def test_a_locked_encoder_stays_as_its_weights_are(
    lock: str, line: list[str], folder: Path, tmp_path: Path
) -> None:
    """From Python; a transformer in a folder needs no file of weights besides."""
    flags: dict[str, Any] = dict(FLAGS, max_length=(30, 30), text_encoder=f"hf:{folder}", lock=lock)
    places = {"data_folder": str(tmp_path), "output": str(tmp_path), "wandb": "off"}
    image = encoders.create("resnet6_w8", 8)
    if lock == "image":
        save_file(image.state_dict(), tmp_path / "image.safetensors")
        flags["image_weights"] = str(tmp_path / "image.safetensors")
    before = {"text": encoder_of(f"hf:{folder}"), "image": image}
    run = cl.pretrain("resnet6_w8", line[0], **flags, **places)
    state = load_file(run.folder / "towers.safetensors")
    for side, encoder in before.items():
        kept = encoder.state_dict().items()
        same = [torch.equal(state[f"{side}.{key}"], value) for key, value in kept]
        assert all(same) is (side == lock)
    found = cl.evaluate(run.folder, line[0], "retrieval", **places, precision="32")
    last = run.history[-1]["val/recall1_t2i"]
    assert found["retrieval"].numbers["recall1_t2i"] == pytest.approx(last, abs=1e-6)


@pytest.mark.slow
def test_a_resumed_run_is_the_whole_one(
    line: list[str], pretrain: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Interrupted inside the second epoch, between two draws of dropout."""
    whole = pretrain(*line, "--batch_size", 2, run_id="whole")
    ask = Saver.on_train_batch_end

    def interrupt(self: Saver, trainer: object, *rest: object) -> None:
        if trainer.global_step == 4:
            os.kill(os.getpid(), signal.SIGTERM)
        ask(self, trainer, *rest)

    monkeypatch.setattr(Saver, "on_train_batch_end", interrupt)
    part = pretrain(*line, "--batch_size", 2, run_id="part", expect=143)
    monkeypatch.undo()
    words = ["--config", part / "config.json", "--resume_training_from", part]
    assert main_contrastive.main([str(word) for word in words]) == 0
    one, two = (torch.load(r / "last.ckpt", weights_only=True)["state_dict"] for r in (whole, part))
    assert one.keys() == two.keys()
    assert all(torch.equal(one[key], two[key]) for key in one)


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ("--lock text --no-pretrained", "--lock text needs --text_weights"),
        ("--lock text --text_encoder bag_w6", "--lock text needs --text_weights"),
        ("--lock image", "--lock image needs --image_weights"),
        ("--max_length 64 12", "--max_length 64 64: --text_encoder hf:"),
        ("--max_length 2 12", "--max_length must be at least 3, not 2"),
        ("--text_encoder package:no_such", "--text_encoder package:no_such needs the package"),
        ("--text_encoder resnet18", "--text_encoder resnet18: no such encoder of texts"),
        ("--text_encoder hf:CLIP", "clip is not one encoder; give one of texts alone"),
        ("--pooling cls --text_encoder bag_w6", "--pooling needs an encoder of texts named minilm"),
    ],
)
def test_encoders_of_texts_that_do_not_fit(
    more: str,
    says: str,
    line: list[str],
    pretrain: Run,
    tmp_path: Path,
    capfd: pytest.CaptureFixture,
) -> None:
    if "CLIP" in more:
        more = more.replace("CLIP", str(saved_clip(tmp_path / "clip")))
    pretrain(*line, *more.split(), expect=2)
    said = capfd.readouterr().err
    assert says in said
    assert len([each for each in said.splitlines() if "error: " in each]) == 1
