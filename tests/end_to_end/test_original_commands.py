"""The original command lines, each with a few steps on a made folder in place of ImageNet-100."""

from collections.abc import Callable
from pathlib import Path

import pytest

from cl.metrics import read_metrics

Run = Callable[..., Path]
BASE = (
    "imagenet100 resnet18 --train_dir imagenet-100/train --val_dir imagenet-100/test "
    "--epochs 100 --optimizer sgd --scheduler warmup_cosine --lr 0.3 --weight_decay 1e-4 "
    "--batch_size 128 --temperature 0.2 --num_workers 8 --hidden_mlp 2048 --name simclr "
    "--project contrastive_learning"
).split()
VARIANTS = {
    "simclr": "",
    "lars": "--lars",
    "dali": "--dali",
    "multicrop": "--temperature 0.1 --multicrop --n_crops 2 --n_small_crops 6",
    "multicrop_dali": "--temperature 0.1 --multicrop --n_crops 2 --n_small_crops 6 --dali",
    "supervised": "--supervised",
    "barlow_twins": "--method barlow_twins --encoding_size 2048 --lamb 5e-3",
    "simsiam": "--method simsiam --classifier_lr 30.0 --pred_hidden_mlp 128 --encoding_size 512 "
    "--zero_init_residual --no_lr_scheduler_for_pred_head",
}
# The same command on this machine's scale; argparse takes the last of two.
SMALL = "--batch_size 8 --num_workers 1 --image_size 72 --max_steps 2 --precision 32".split()


@pytest.mark.parametrize(
    "variant",
    [
        pytest.param(
            v,
            marks=[pytest.mark.dali] * ("dali" in v) + [pytest.mark.slow] * (i % 2),
        )
        for i, v in enumerate(VARIANTS)  # every second one is slow
    ],
)
@pytest.mark.filterwarnings("ignore:--temperature|--lamb")
def test_pretraining_variants_train(pretrain: Run, folder: Path, variant: str) -> None:
    if "dali" in variant:
        pytest.importorskip("nvidia.dali", reason="nvidia-dali is not installed")
    words = [*BASE, "--data_folder", str(folder), *VARIANTS[variant].split(), *SMALL]
    run = pretrain(*words, "--no-baseline")
    row = read_metrics(run / "metrics.csv")[-1]
    assert int(row["step"]) == 2
    assert float(row["train/loss"]) == float(row["train/loss"])  # not NaN


def test_linear_evaluation(pretrain: Run, linear: Run, folder: Path) -> None:
    run = pretrain(*BASE, "--data_folder", str(folder), *SMALL, "--no-baseline")
    words = (
        "imagenet100 resnet18 --train_dir imagenet-100/train --val_dir imagenet-100/test "
        "--epochs 100 --optimizer sgd --scheduler step --lr 0.1 --lr_decay_steps 60 80 "
        "--weight_decay 0 --batch_size 128 --num_workers 10 --name simclr-linear-eval "
        "--project contrastive_learning --precision 32"
    ).split()
    given = ("--data_folder", folder, "--pretrained_feature_extractor", run)
    evaluated = linear(*words, *given)
    rows = read_metrics(evaluated / "metrics.csv")
    assert len(rows) == 100
    lrs = [float(rows[e]["lr"]) for e in (0, 58, 60, 78, 80)]
    assert lrs == pytest.approx([0.1, 0.1, 0.01, 0.01, 0.001])
