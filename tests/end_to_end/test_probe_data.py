"""A run on images without labels is watched by data that have some, and learns nothing of them."""

import json
from pathlib import Path

import numpy as np
import pytest

import main_contrastive
from cl.metrics import read_metrics
from tests.data.test_state import write
from tests.data.test_stored import encoded, write_shard

WORDS = "resnet6_w4 --epochs 2 --batch_size 32 --hidden_mlp 32 --num_workers 0 --wandb off"


@pytest.fixture
def noise(tmp_path: Path) -> list[str]:
    """The words of a run on 80 images of noise."""
    images = np.random.default_rng(0).integers(0, 256, (80, 16, 16, 3), np.uint8)
    np.save(tmp_path / "noise.npy", images)
    data = [f"unlabeled:{tmp_path / 'noise.npy'}", *WORDS.split(), "--image_size", "16"]
    return [*data, "--output", str(tmp_path / "runs")]


def test_it_is_watched_and_learns_the_same(noise: list[str], tmp_path: Path) -> None:
    """The last epoch's kNN is that of the encoder that is measured at the end."""
    watched = [*noise, "--run_id", "watched", "--probe_data", "digits", "--keep_best", "1"]
    assert main_contrastive.main(watched) == 0
    assert main_contrastive.main([*noise, "--run_id", "alone"]) == 0
    runs = tmp_path / "runs"
    rows = read_metrics(runs / "watched" / "metrics.csv")
    knn = [float(row["val/knn_top1"]) for row in rows]
    result = json.loads((runs / "watched" / "result.json").read_text())
    assert len(knn) == 2
    assert knn[-1] == pytest.approx(result["trained"]["knn_top1"], rel=1e-5)
    assert result["trained"]["measured_on"] == 359
    assert 0.3 < result["untrained"]["linear_top1"] <= 1
    weights = [(runs / name / "encoder.safetensors").read_bytes() for name in ("watched", "alone")]
    assert weights[0] == weights[1]
    assert not (runs / "alone" / "result.json").exists()
    assert [*(runs / "watched").glob("best-*.ckpt")]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["digits", *WORDS.split(), "--probe_data", "digits"], "DATASET digits has labels, by"),
        (None, "--probe_data unlabeled:"),
    ],
)
def test_what_it_cannot_be(
    noise: list[str], words: list[str] | None, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Data that have labels need none, and data without labels tell nothing."""
    line = words or [*noise, "--probe_data", noise[0]]
    assert main_contrastive.main(line) == 2
    (said,) = [text for text in capsys.readouterr().err.splitlines() if text.startswith("error")]
    assert message in said


@pytest.fixture
def shards(noise: list[str], tmp_path: Path) -> list[str]:
    """The words of a run on images of a shard, watched by twelve of each of two classes."""
    members = {f"{i}.{suffix}": encoded(i) for i in range(24) for suffix in ("a.png", "b.png")}
    write(tmp_path / "data" / "animals", 12)
    write_shard(tmp_path / "data" / "noise.tar", members)
    rows = [f"animals/{kind}/{i}.png,{kind}" for kind in ("cat", "dog") for i in range(12)]
    (tmp_path / "data" / "probe.csv").write_text("\n".join(["path,label", *rows]))
    words = ["webdataset:noise.tar", "--image_column", "a.png", *noise[1:], "--batch_size", "8"]
    return [*words, "--data_folder", str(tmp_path / "data"), "--probe_data", "labeled:probe.csv"]


def test_its_columns_are_its_own(shards: list[str], tmp_path: Path) -> None:
    assert main_contrastive.main([*shards, "--run_id", "run"]) == 0
    result = json.loads((tmp_path / "runs" / "run" / "result.json").read_text())
    assert result["trained"]["measured_on"] == 2


@pytest.mark.filterwarnings("ignore:1 of .* images cannot be read")
def test_its_damaged_images_are_found_before_the_first_step(
    shards: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image = tmp_path / "data" / "animals" / "dog" / "7.png"
    image.write_bytes(image.read_bytes()[:60])
    assert main_contrastive.main([*shards, "--no-baseline"]) == 2
    said = capsys.readouterr()
    assert "dog/7.png cannot be read as an image" in said.err
    assert "--skip_corrupt" in said.err
    assert "epoch 1/" not in said.out
    assert main_contrastive.main([*shards, "--no-baseline", "--skip_corrupt"]) == 0
