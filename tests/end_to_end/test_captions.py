"""Whole runs on images with captions: what they leave behind, and how they resume."""

import json
import os
import re
import shlex
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import cl
import main_contrastive
import main_linear
from cl.callbacks.saver import Saver
from cl.checkpoints import ENCODER, about_encoder, save_encoder
from cl.data.sets import load
from cl.embedding import embed_command
from cl.eval._card import read_cards
from cl.eval._restore import restore
from cl.eval._transform import TextTransform
from cl.metrics import read_metrics
from cl.nets import encoders, texts
from cl.nets.towers import Towers
from tests.data.test_captions import row, written

Run = Callable[..., Path]
DOCUMENT = Path(__file__).parents[2] / "docs/image_text.md"
pytestmark = pytest.mark.filterwarnings("default:COLLAPSED")  # a few steps of three images


@pytest.fixture
def line(tmp_path: Path) -> list[str]:
    name = written(tmp_path, [row(i, split="val" if i > 9 else "train") for i in range(12)])
    words = "resnet6_w8 --method clip --text_encoder bag_w6 --encoding_size 5 --image_size 8"
    words += " --batch_size 3 --epochs 2 --precision 32 --num_workers 0 --log_every_n_steps 1"
    return [name, *words.split(), "--data_folder", str(tmp_path)]


def test_a_run_keeps_the_image_tower_and_both(
    pretrain: Run, line: list[str], capsys: pytest.CaptureFixture
) -> None:
    """And the next command that it prints can be run as it stands."""
    run = pretrain(*line)
    said = capsys.readouterr().out.splitlines()
    (printed,) = (shlex.split(each)[3:] for each in said if each.startswith("next"))
    assert printed == ["--pretrained_feature_extractor", str(run)]
    more = ["--output", str(run.parent), "--wandb", "off", "--no-report", "--run_id", "next"]
    assert main_linear.main([*printed, *more]) == 0
    assert "recall10_t2i" in json.loads((run.parent / "next/result.json").read_text())["retrieval"]
    rows = read_metrics(run / "metrics.csv")
    assert {f"val/recall{k}_{way}" for k in (1, 5, 10) for way in ("t2i", "i2t")} <= rows[-1].keys()
    assert not any(row["val/probe_top1"] or row["val/knn_top1"] for row in rows)
    assert "learned/temperature" in rows[-1]
    towers = Towers(encoders.create("resnet6_w8", 8), texts.encoder_of("bag_w6"), 5)
    towers.load_state_dict(load_file(run / "towers.safetensors"))
    alone = encoders.create("resnet6_w8", 8)
    alone.load_state_dict(load_file(run / "encoder.safetensors"))
    for key, value in alone.state_dict().items():
        assert torch.equal(value, towers.image.state_dict()[key])
    given, towers = ["a dog", "two dogs"], towers.eval()
    encoder, transform = cl.load_encoder(run, side="text")
    assert isinstance(transform, TextTransform)
    expected = towers.text_map(towers.text(transform(given))).detach()
    torch.testing.assert_close(cl.embed(encoder, given, transform=transform)[0], expected)
    encoder, transform = cl.load_encoder(run, side="image")
    x = transform(np.zeros((8, 8, 3), np.uint8))[None]
    torch.testing.assert_close(encoder(x), towers.image_map(towers.image(x)))
    block = re.search(r"```python\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL)
    assert block is not None
    names = {"photos": [np.zeros((8, 8, 3), np.uint8)]}
    exec(block[1].replace("RUN", str(run)), names)
    assert names["alike"].shape == (1,)
    (run.parent / "given.txt").write_text("\n".join(given))
    out = run.parent / "h.npy"
    words = [str(run), str(run.parent / "given.txt"), "--side", "text", "--out", str(out)]
    assert embed_command(words) == 0
    np.testing.assert_allclose(np.load(out), expected.numpy(), rtol=1e-5, atol=1e-6)
    assert embed_command([*words[:4], "--layer", "-1", "--out", f"{out}.npy"]) == 2


def test_plain_images_are_prepared_as_in_the_training(
    pretrain: Run, linear: Run, line: list[str], tmp_path: Path
) -> None:
    """Whole and bicubic; in a run from before, whose files say nothing of it, as they were then."""
    now, before = pretrain(*line), pretrain(*line, "--crop_interpolation", "bilinear", run_id="old")
    for run, central, how in ((now, 1.0, "bicubic"), (before, None, "bilinear")):
        for file in ("encoder.safetensors", "towers.safetensors", "last.ckpt"):
            for dataset in (line[0], "cifar10"):
                recipe = restore(run / file, dataset=dataset).recipe
                assert (recipe.central, recipe.interpolation) == (central, how), (file, dataset)
    assert not {"central", "interpolation"} & about_encoder(before / ENCODER).keys()
    given = ["--pretrained_feature_extractor", str(now), "--eval", "retrieval"]
    done = linear(line[0], "resnet6_w8", "--data_folder", str(tmp_path), *given)
    (card,) = read_cards(done / "cards.json")
    assert "all of the shorter side, bicubic" in card["transform"]
    last, found = (
        read_metrics(now / "metrics.csv")[-1],
        json.loads((done / "result.json").read_text()),
    )
    assert found["retrieval"]["recall1_i2t"] == pytest.approx(float(last["val/recall1_i2t"]))


def test_a_data_set_in_memory_is_evaluated_by_the_line_that_is_printed(
    line: list[str], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    data = load(line[0], str(tmp_path))
    sizes = {"encoding_size": 5, "image_size": 8, "batch_size": 3, "max_steps": 1}
    more = {"precision": "32", "num_workers": 0, "output": str(tmp_path), "wandb": "off"}
    run = cl.pretrain("resnet6_w8", data, "clip", text_encoder="bag_w6", **sizes, **more)
    assert "cl.evaluate(run.folder, data, eval='retrieval')" in capsys.readouterr().out
    found = cl.evaluate(run.folder, data, eval="retrieval", output=str(tmp_path), wandb="off")
    assert found["retrieval"].numbers["recall10_t2i"] == 1


def test_a_locked_encoder_is_that_of_the_run_it_is_from(pretrain: Run, line: list[str]) -> None:
    first = pretrain(*line, run_id="first")
    second = pretrain(*line, "--lock", "image", "--image_weights", str(first), run_id="second")
    one, two = (load_file(run / "encoder.safetensors") for run in (first, second))
    assert all(torch.equal(one[key], two[key]) for key in one)


def test_a_lock_needs_weights(
    pretrain: Run, line: list[str], capsys: pytest.CaptureFixture
) -> None:
    pretrain(*line, "--lock", "image", expect=2)
    assert "--lock image needs --image_weights" in capsys.readouterr().err


def test_low_rank_updates_of_the_image_tower(
    pretrain: Run, linear: Run, line: list[str], capsys: pytest.CaptureFixture
) -> None:
    """They start from given weights, are merged in both files, and go on where a run ended."""
    first = pretrain(*line, run_id="first")
    adapt = [*line, "--lora_rank", "2", "--image_weights", str(first)]
    whole = pretrain(*adapt, run_id="whole")
    files = [whole / name for name in ("encoder.safetensors", "towers.safetensors", "last.ckpt")]
    alone, both, state = (
        load_file(files[0]),
        load_file(files[1]),
        cl.checkpoints.read_encoder(files[2]),
    )
    before = load_file(first / "encoder.safetensors")
    assert alone.keys() == before.keys()
    for key, value in alone.items():
        assert torch.equal(value, both[f"image.{key}"])
        if value.ndim == 4:
            assert torch.equal(before[key], state["state_dict"][f"encoder.image.encoder.{key}"])
            assert not torch.equal(before[key], value)
    given = [line[0], *line[-2:], "--eval", "retrieval", "--pretrained_feature_extractor"]
    found = [linear(*given, file, run_id=f"of_{file.stem}") for file in files[1:]]
    one, two = (json.loads((run / "result.json").read_text())["retrieval"] for run in found)
    assert one["recall10_t2i"] == two["recall10_t2i"]
    longer = ["--epochs", "3", "--resume_training_from", whole]
    assert main_contrastive.main([*map(str, ["--config", whole / "config.json", *longer])]) == 0
    pretrain(*line, "--lora_rank", "2", expect=2)
    assert "--lora_rank needs --image_weights" in capsys.readouterr().err
    pretrain(*adapt, "--lock", "image", expect=2)
    assert "--lora_rank cannot be used with --lock image" in capsys.readouterr().err


@pytest.mark.slow
def test_a_resumed_run_is_the_whole_one(
    pretrain: Run, line: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Interrupted inside the second epoch, and without the weights that it started from."""
    about = {"encoder": "resnet6_w8", "mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6]}
    files = {side: tmp_path / f"{side}.safetensors" for side in ("image", "text")}
    save_encoder(encoders.create("resnet6_w8", 8), files["image"], about)
    save_encoder(texts.encoder_of("bag_w6"), files["text"], {"encoder": "bag_w6"})
    line += ["--lock", "image"]
    line += [word for side, file in files.items() for word in (f"--{side}_weights", str(file))]
    whole = pretrain(*line, run_id="whole")
    ask = Saver.on_train_batch_end

    def interrupt(self: Saver, trainer: object, *rest: object) -> None:
        if trainer.global_step == 4:
            os.kill(os.getpid(), signal.SIGTERM)
        ask(self, trainer, *rest)

    monkeypatch.setattr(Saver, "on_train_batch_end", interrupt)
    part = pretrain(*line, run_id="part", expect=143)
    monkeypatch.undo()
    for file in files.values():
        file.unlink()
    words = ["--config", part / "config.json", "--resume_training_from", part]
    assert main_contrastive.main([str(word) for word in words]) == 0
    one, two = (torch.load(r / "last.ckpt", weights_only=True)["state_dict"] for r in (whole, part))
    assert one.keys() == two.keys()
    assert all(torch.equal(one[key], two[key]) for key in one)
    assert json.loads((whole / "config.json").read_text())["loss"] == "clip"
    assert about_encoder(part / ENCODER)["mean"] == about["mean"]


def test_captions_that_are_all_the_same_are_refused(
    pretrain: Run, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    """Wherever the batches fall there is no negative."""
    name = written(tmp_path, [{"image": f"{i}.png", "captions": ["a dog"]} for i in range(12)])
    words = "resnet6_w8 --method clip --text_encoder bag_w6 --image_size 8 --batch_size 3"
    pretrain(name, *words.split(), "--data_folder", tmp_path, expect=2)
    errors = capsys.readouterr().err.splitlines()[-1:]
    assert errors[0].startswith(f"error: DATASET {name}: all training images have the same caption")
