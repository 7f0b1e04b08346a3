"""Wrong command lines: each is answered by one sentence and exit code 2, and trains nothing."""

import io
import shlex
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from cl import checkpoints
from cl.commands import evaluate_command, pretrain_command
from cl.nets import encoders

PRETRAIN = r"""
digits
digits resnet6_w8 extra
digts resnet6_w8
digits resnet66_w8
digits convnext_atto
resnet6_w8 digits
resnet18 cifar10
digits resnet6_w8 --epochs
digits resnet6_w8 --epochs ten
digits resnet6_w8 --epochs 0
digits resnet6_w8 --epochs -3
digits resnet6_w8 --epochs 1.5
digits resnet6_w8 --epochs nan
digits resnet6_w8 --epochs 1e400
digits resnet6_w8 --temp 0.1
digits resnet6_w8 --temprature 0.1
digits resnet6_w8 --temperature 0
digits resnet6_w8 --temperature -1
digits resnet6_w8 --temperature inf
digits resnet6_w8 --version
digits resnet6_w8 --lr
digits resnet6_w8 --lr fast
digits resnet6_w8 --lr -0.1
digits resnet6_w8 --lr nan
digits resnet6_w8 --batch_size 0
digits resnet6_w8 --batch_size 100000
digits resnet6_w8 --batch-size 1x
digits resnet6_w8 --optimizer adamm
digits resnet6_w8 --optimizer
digits resnet6_w8 --scheduler cosin
digits resnet6_w8 --scheduler warmup
digits resnet6_w8 --loss simclr
digits resnet6_w8 --loss ntxent
digits resnet6_w8 --loss
digits resnet6_w8 --method moco2
digits resnet6_w8 --method
digits resnet6_w8 --method barlow_twins --loss nt_xent
digits resnet6_w8 --lambd 0.1
digits resnet6_w8 --queue_size 10
digits resnet6_w8 --precision 8
digits resnet6_w8 --precision bf
digits resnet6_w8 --devices 0
digits resnet6_w8 --devices two
digits resnet6_w8 --gpus 0
digits resnet6_w8 --gpus -1
digits resnet6_w8 --gpus all
digits resnet6_w8 --num_nodes 2
digits resnet6_w8 --num_nodes 0
digits resnet6_w8 --num_workers -1
digits resnet6_w8 --backend fast
digits resnet6_w8 --backend memry
folder resnet6_w8 --backend memory --data_folder .
folder resnet6_w8 --data_folder nowhere
folder resnet6_w8 --data_folder file.txt
folder resnet6_w8 --data_folder empty
folder resnet6_w8 --data_folder one --train_dir no
folder resnet6_w8 --data_folder one --val_dir no
cifar10 resnet6_w8
cifar10 resnet6_w8 --data_folder empty
cifar10 resnet6_w8 --data_folder file.txt
imagenet resnet50 --data_folder empty
digits resnet6_w8 --train_dir x
digits resnet6_w8 --val_dir x
digits resnet6_w8 --class_list x
digits resnet6_w8 --download
folder resnet6_w8 --data_folder one --class_list nowhere.txt
folder resnet6_w8 --data_folder one --class_list empty
torchvision:Nothing resnet6_w8
torchvision: resnet6_w8
torchvision:MNIST resnet6_w8 --data_folder empty
huggingface:nowhere resnet6_w8 --data_folder .
webdataset:x-{0..3}.tar resnet6_w8 --data_folder .
webdataset: resnet6_w8
unlabeled:nowhere resnet6_w8 --data_folder .
unlabeled:empty resnet6_w8 --data_folder .
unlabeled: resnet6_w8 --data_folder .
pairs:nowhere.jsonl bag_w8 --data_folder .
pairs:file.txt bag_w8 --data_folder .
beir:nowhere bag_w8 --data_folder .
beir:empty bag_w8 --data_folder .
captions:nowhere.jsonl resnet6_w8 --method clip --data_folder .
wordnet resnet6_w8
digits bag_w8
wordnet bag_w8 --method barlow_twins --crop_scale 0.2 1
wordnet bag_0
wordnet bag_w0
digits resnet6_w0
digits resnet6_wx
digits resnet999
digits resnet
digits resnet18 --image_size 0
digits resnet18 --image_size 1
digits hf:nowhere
wordnet hf:nowhere
wordnet package:nothing
nothing:read resnet6_w8
json:load resnet6_w8
digits json:load
digits nothing:Encoder
digits os:nothing
digits resnet6_w8 --loss json:dumps
digits resnet6_w8 --method json:loads
digits resnet6_w8 --scheduler json:nothing
digits resnet6_w8 --crop_scale 0.2
digits resnet6_w8 --crop_scale 2 1
digits resnet6_w8 --crop_scale 1 0.2
digits resnet6_w8 --crop_scale 0 0
digits resnet6_w8 --flip_prob 2
digits resnet6_w8 --flip_prob -1
digits resnet6_w8 --brightness -1
digits resnet6_w8 --hue 0.9
digits resnet6_w8 --blur_prob x
digits resnet6_w8 --n_crops 1
digits resnet6_w8 --n_crops 0
digits resnet6_w8 --n_small_crops 4
digits resnet6_w8 --multicrop --n_small_crops 0
digits resnet6_w8 --multicrop --method simsiam --small_crop_size 0
digits resnet6_w8 --recipe simclrr
digits resnet6_w8 --recipe
digits resnet6_w8 --weight_decay -1
digits resnet6_w8 --momentum 2
digits resnet6_w8 --momentum -1
digits resnet6_w8 --warmup_epochs -1
digits resnet6_w8 --epochs 5 --warmup_epochs 6
digits resnet6_w8 --lr_decay_steps 3 2 1 --scheduler step
digits resnet6_w8 --lr_decay_steps x --scheduler step
digits resnet6_w8 --max_steps -1
digits resnet6_w8 --max_time 0
digits resnet6_w8 --max_time soon
digits resnet6_w8 --checkpoint_every 0
digits resnet6_w8 --checkpoint_unit hours
digits resnet6_w8 --keep_best -1
digits resnet6_w8 --keep_epochs 0
digits resnet6_w8 --keep_epochs 500
digits resnet6_w8 --seed -1
digits resnet6_w8 --seed 99999999999999999999
digits resnet6_w8 --seed x
digits resnet6_w8 --run_id ../x
digits resnet6_w8 --run_id a/b
digits resnet6_w8 --run_id .
digits resnet6_w8 --run_id ""
digits resnet6_w8 --output ""
digits resnet6_w8 --resume_training_from nowhere
digits resnet6_w8 --resume_training_from empty
digits resnet6_w8 --resume_training_from file.txt
digits resnet6_w8 --config nowhere
digits resnet6_w8 --config empty
digits resnet6_w8 --config file.txt
digits resnet6_w8 --config bad.json
digits resnet6_w8 --config list.json
digits resnet6_w8 --config key.json
digits resnet6_w8 --config other.json
--config nowhere
--config bad.json
digits resnet6_w8 --wandb maybe
digits resnet6_w8 --wandb
digits resnet6_w8 --schedule temperature
digits resnet6_w8 --schedule temperature=cosine
digits resnet6_w8 --schedule nothing=cosine:0.1
digits resnet6_w8 --schedule temperature=cosine:-1
digits resnet6_w8 --schedule temperature=wave:0.1
digits resnet6_w8 --ema_encoder 2
digits resnet6_w8 --learn everything
digits resnet6_w8 --mini_batch_size 0
digits resnet6_w8 --mini_batch_size 1000
digits resnet6_w8 --mini_batch_norm group
digits resnet6_w8 --clip_grad_norm -1
digits resnet6_w8 --global_batch_size 0
digits resnet6_w8 --devices 2 --global_batch_size 33
digits resnet6_w8 --data_fraction 0
digits resnet6_w8 --data_fraction -1
digits resnet6_w8 --value_range 0
digits resnet6_w8 --value_range 1 0
folder resnet6_w8 --data_folder one --value_range 1 0
folder resnet6_w8 --data_folder one --channels 0
folder resnet6_w8 --data_folder one --max_pixels 0
digits resnet6_w8 --encoding_size 0
digits resnet6_w8 --hidden_mlp -1
digits resnet6_w8 --lora_rank 4
digits resnet6_w8 --pooling mean
digits resnet6_w8 --max_length 10
digits resnet6_w8 --hard_negatives 2
digits resnet6_w8 --text_encoder bag_w8
digits resnet6_w8 --mine x
digits resnet6_w8 --eval knn
digits resnet6_w8 --pretrained_feature_extractor x
digits resnet6_w8 --on_collapse die
digits resnet6_w8 --dry_run nowhere/x.png
digits resnet6_w8 --dry_run x.nothing
digits resnet6_w8 --dry_run x.png --max_steps 0
digits resnet6_w8 --show_views nowhere/x.png
digits resnet6_w8 --accumulate_grad_batches 4
digits resnet6_w8 -h nothing
--help nothing
--help method nothing
--help loss
digits resnet6_w8 --no-epochs
digits resnet6_w8 --no-nothing
digits resnet6_w8 -epochs 5
digits resnet6_w8 --epochs=
digits resnet6_w8 --epochs=x
digits resnet6_w8 --baseline=maybe
digits resnet6_w8 --jitter_order what
digits resnet6_w8 --crop_interpolation cubic
""".strip().splitlines()
EVALUATE = r"""
digits resnet6_w8
digits resnet6_w8 --pretrained_feature_extractor nowhere
digits resnet6_w8 --pretrained_feature_extractor empty
digits resnet6_w8 --pretrained_feature_extractor file.txt
digits resnet6_w8 --pretrained_feature_extractor list.json
digits resnet6_w8 --pretrained_feature_extractor bad.safetensors
digits resnet6_w8 --pretrained_feature_extractor bad.ckpt
digits resnet6_w8 --pretrained_feature_extractor bad.pth
digits resnet6_w8 --eval nothing --pretrained_feature_extractor ok.safetensors
digits resnet6_w8 --eval --pretrained_feature_extractor ok.safetensors
digits resnet6_w16 --pretrained_feature_extractor ok.safetensors
digits resnet18 --pretrained_feature_extractor ok.safetensors
digits resnet6_w8 --pretrained_feature_extractor ok.safetensors --k 0 --eval knn
digits resnet6_w8 --pretrained_feature_extractor ok.safetensors --k x --eval knn
digits resnet6_w8 --pretrained_feature_extractor ok.safetensors --k 5
digits resnet6_w8 --pretrained_feature_extractor ok.safetensors --eval sts
digits resnet6_w8 --pretrained_feature_extractor ok.safetensors --eval zeroshot
digits resnet6_w8 --pretrained_feature_extractor ok.safetensors --prompt x
digits resnet6_w8 --pretrained_feature_extractor ok.safetensors --mine x.jsonl
digits resnet6_w8 --pretrained_feature_extractor ok.safetensors --verify nowhere
digits resnet6_w8 --pretrained_feature_extractor ok.safetensors --verify bad.json
digits resnet6_w8 --pretrained_feature_extractor ok.safetensors --lr_grid 0
digits resnet6_w8 --pretrained_feature_extractor ok.safetensors --lr_grid x
digits resnet6_w8 --pretrained_feature_extractor ok.safetensors --c -1 --eval logistic
digits resnet6_w8 --pretrained_feature_extractor ok.safetensors --image_size -1
digits resnet6_w8 --pretrained_feature_extractor ok.safetensors --mean 0.5
digits resnet6_w8 --pretrained_feature_extractor ok.safetensors --central 2
digits resnet6_w8 --pretrained_feature_extractor ok.safetensors --scatter umap
digits resnet6_w8 --pretrained_feature_extractor ok.safetensors --pictures --scatter pca
digits resnet6_w8 --pretrained_feature_extractor ok.safetensors --interpolation cubic
digits resnet6_w8 --pretrained_feature_extractor ok.safetensors --temperature 0.1
digits resnet6_w8 --pretrained_feature_extractor ok.safetensors --method simclr
wordnet bag_w8 --pretrained_feature_extractor ok.safetensors --eval retrieval
nothing:read resnet6_w8 --pretrained_feature_extractor ok.safetensors
digits resnet6_w8 --pretrained_feature_extractor ok.safetensors --data_fraction 0
digits resnet6_w8 --pretrained_feature_extractor ok.safetensors --eval nothing:evaluate
digits resnet6_w8 --pretrained_feature_extractor ok.safetensors --eval json:loads
""".strip().splitlines()
FILES = {
    "file.txt": "text",
    "bad.json": "{",
    "list.json": "[]",
    "key.json": '{"version": 1, "program": "main_contrastive", "nothing": 3}',
    "other.json": '{"version": 1, "program": "main_linear"}',
    "bad.safetensors": "no weights",
    "bad.ckpt": "no weights",
    "bad.pth": "no weights",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the lines are tried: data, files that are wrong, and weights that are not."""
    place = tmp_path_factory.mktemp("wrong")
    (place / "empty").mkdir()
    for name, content in FILES.items():
        (place / name).write_text(content)
    rng = np.random.default_rng(0)
    for at in range(8):
        file = place / "one" / "ab"[at % 2] / f"{at}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (20, 20, 3), np.uint8)).save(file)
    torch.manual_seed(0)
    about = {"encoder": "resnet6_w8", "image_size": 16}
    checkpoints.save_encoder(encoders.create("resnet6_w8", 16), place / "ok.safetensors", about)
    return place


def said(program: str, line: str) -> tuple[int, list[str]]:
    """The exit code of a program, and the lines of its errors."""
    command = pretrain_command if program == "pretrain" else evaluate_command
    words, errors = shlex.split(line), io.StringIO()
    if "help" not in line and "-h" not in words:
        words += [] if "--wandb" in words else ["--wandb", "off"]
        words += [] if "--output" in words else ["--output", "runs"]
    with redirect_stdout(io.StringIO()), redirect_stderr(errors):
        code = command(words)
    lines = errors.getvalue().splitlines()
    return code, [line for line in lines if line != "loading PyTorch ..."]


@pytest.mark.parametrize(
    ("program", "line"),
    [*(("pretrain", line) for line in PRETRAIN), *(("evaluate", line) for line in EVALUATE)],
)
def test_one_mistake_is_one_sentence(
    program: str, line: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    code, lines = said(program, line)
    assert code == 2
    assert len(lines) == 1, lines
    assert lines[0].startswith("error: ")
    assert len(lines[0]) > len("error: --lr")
    assert not (folder / "runs").exists()


@pytest.mark.parametrize(
    ("program", "line", "message"),
    [
        ("pretrain", "unlabeld:one resnet6_w8", "did you mean unlabeled:one?"),
        ("pretrain", "unlabeled:one resnet6_w8", "data/one; here it is with --data_folder {}."),
        ("pretrain", "unlabeled:two resnet6_w8", "there is no data/two."),
        ("pretrain", "unlabeled:file.txt resnet6_w8 --data_folder .", "of file.txt are not there"),
        ("evaluate", "--pretrained_feature_extractor frist", "a file; there is no frist."),
        ("pretrain", "digits resnet6_w8 --auto_resume", "--auto_resume needs --run_id, by which"),
        ("pretrain", "resnet18 digits", "DATASET resnet18 is an encoder and ENCODER digits a data"),
        ("pretrain", "digits resnet18 --pretrained", "; --init_from timm starts from the weights"),
    ],
)
def test_the_sentence_says_what_was_meant(
    program: str, line: str, message: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    code, lines = said(program, line)
    assert (code, len(lines)) == (2, 1)
    assert message.format(folder) in lines[0]


def test_a_package_that_is_asked_for_and_absent_is_named(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.setattr("cl.config.check.installed", lambda _: False)
    words = "digits resnet6_w8 --pretrained_feature_extractor ok.safetensors --eval knn"
    code, lines = said("evaluate", f"{words} --pictures --scatter umap")
    assert (code, lines) == (
        2,
        ["error: --scatter umap needs umap-learn: pip install umap-learn."],
    )
