"""Runs on the card: resumed they are the uninterrupted one, and the CPU finds the same in them."""

import json
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

import main_contrastive
from cl import checkpoints
from cl.callbacks.saver import Saver
from cl.data import sets
from cl.data.augment.recipe import preset
from cl.data.module import PlainLoader
from cl.nets.encoders import create
from tests.end_to_end.conftest import DIGITS
from tests.end_to_end.test_runs import same, weights
from tests.gpu.conftest import GPU, apart
from tests.test_export import packages

pytestmark = [
    GPU,
    pytest.mark.filterwarnings("ignore:Detected call of .lr_scheduler.step"),
    pytest.mark.filterwarnings("ignore:--precision"),
]
Run = Callable[..., Path]
SHORT = "--num_workers 1 --batch_size 128 --epochs 3 --lr_decay_steps 2".split()


@pytest.fixture
def same_order() -> Iterator[None]:
    """Convolutions by algorithms that sum in the same order each time."""
    before = torch.backends.cudnn.deterministic
    torch.backends.cudnn.deterministic = True
    yield
    torch.backends.cudnn.deterministic = before


@pytest.mark.usefixtures("same_order")
@pytest.mark.parametrize(
    ("steps", "half", "words"),
    [
        (4, "32", ""),
        (6, "32", "--ema_encoder 0.9"),
        (2, "bf16", "--method sigmoid --temperature 0.2 --bias -5"),
        (6, "16", "--multicrop --n_small_crops 2"),
    ],
    indirect=["half"],
)
def test_resumed_is_uninterrupted_bit_for_bit(
    steps: int,
    half: str,
    words: str,
    pretrain: Run,
    digits: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Interrupted at the first epoch's end, inside the second, inside the first; of 4 steps."""
    digits[digits.index("--precision") + 1] = half
    given = [*digits, "--no-baseline", "--data_fraction", "512", *words.split()]
    whole = pretrain(*given, run_id="whole")
    ask = Saver.on_train_batch_end

    def interrupt(self: Saver, trainer: object, *rest: object) -> None:
        if trainer.global_step == steps:
            os.kill(os.getpid(), signal.SIGTERM)
        ask(self, trainer, *rest)

    monkeypatch.setattr(Saver, "on_train_batch_end", interrupt)
    part = pretrain(*given, run_id="part", expect=143)
    monkeypatch.setattr(Saver, "on_train_batch_end", ask)
    assert not same(weights(whole), weights(part))
    config = ("--config", part / "config.json", "--resume_training_from", part)
    assert main_contrastive.main([str(w) for w in config]) == 0
    assert same(weights(whole), weights(part))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One that has learned a little, for all that is asked of it."""
    output = tmp_path_factory.mktemp("trained")
    words = [*DIGITS, "--max_steps", "11", "--output", str(output), "--wandb", "off"]
    assert main_contrastive.main([*words, "--run_id", "run"]) == 0
    return output / "run"


def test_the_baseline_is_measured(run: Path) -> None:
    """Before and after, by a Trainer inside of the one that trains."""
    result = json.loads((run / "result.json").read_text())
    assert result["trained"]["linear_top1"] > 0.5
    assert result["trained"] != result["untrained"]


@pytest.mark.usefixtures("float32")
@pytest.mark.parametrize(("precision", "bound"), [("32", 1e-4), ("bf16", 2**-6)])
def test_features_are_those_of_the_cpu(
    precision: str, bound: float, run: Path, linear: Run
) -> None:
    """Of the file that was trained on the card; what bfloat16 rounds by is 2^-9 in each layer."""
    shutil.rmtree(run / "features", ignore_errors=True)
    words = ["digits", "resnet6_w8", "--pretrained_feature_extractor", run, *SHORT]
    done = linear(*words, "--precision", precision, "--eval", "all", "--lr_grid", "0.1", "1")
    result = json.loads((done / "result.json").read_text())
    assert result["linear"]["top1"] > 0.5
    assert result["logistic"]["top1"] > 0.5
    assert result["knn"]["top1"] > 0.5
    assert result["encoder"] == result["encoder_afterwards"]
    encoder = create("resnet6_w8", 16)
    checkpoints.load_weights(encoder, run / checkpoints.ENCODER)
    assert checkpoints.fingerprint(encoder) == result["encoder"]
    kept = {len(h): h for h in map(np.load, (run / "features").glob("*.npy")) if h.ndim == 2}
    source = sets.load("digits", "")
    for images in (source.train, source.val):
        batches = PlainLoader(images, preset("digits"), len(images))
        with torch.no_grad():
            (h,) = (encoder.eval()(batch.views[0][0]) for batch in batches)
        assert apart(torch.from_numpy(kept[len(images)]), h) <= bound


@pytest.mark.parametrize(
    "words",
    [
        "--eval finetune --lora_rank 2 --lr 0.01",
        "--eval finetune --precision 32 --lr 0.01",
        "--augment --precision bf16",
    ],
)
def test_what_learns_from_images(words: str, run: Path, linear: Run) -> None:
    given = ["digits", "resnet6_w8", "--pretrained_feature_extractor", run, *SHORT]
    result = json.loads((linear(*given, *words.split()) / "result.json").read_text())
    kind = "linear" if "--augment" in words else "finetune"
    assert result[kind]["top1"] > 0.3


def test_export(run: Path, linear: Run) -> None:
    """It is compared with the encoder before it is there."""
    packages()
    words = ["digits", "resnet6_w8", "--pretrained_feature_extractor", run, "--num_workers", "1"]
    done = linear(*words, "--eval", "knn", "--export", "onnx", "--pictures")
    assert (done / "encoder.onnx").exists()
