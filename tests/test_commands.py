"""The two programs from outside: the original command lines, every flag, every kind of refusal."""

import os
import re
import resource
import shlex
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

import main_contrastive
import main_linear
from cl.config import Linear, Pretrain, parse_linear, parse_pretrain
from cl.config.words import ACCUMULATION, flags_of

ROOT = Path(__file__).parents[1]

# As they stood in the original project; the backslashes are its line ends.
BASE = r"""imagenet100 resnet18 --data_folder /datasets --train_dir imagenet-100/train \
  --val_dir imagenet-100/test \
  --epochs 100 --optimizer sgd --scheduler warmup_cosine --lr 0.3 --weight_decay 1e-4 \
  --batch_size 128 --temperature 0.2 \
  --gpus 0 1 --num_workers 8 --hidden_mlp 2048 --name simclr --project contrastive_learning"""
BASE_MEANS = {
    "dataset": "imagenet100",
    "encoder": "resnet18",
    "data_folder": "/datasets",
    "train_dir": "imagenet-100/train",
    "val_dir": "imagenet-100/test",
    "epochs": 100,
    "optimizer": "sgd",
    "scheduler": "warmup_cosine",
    "lr": 0.3,
    "weight_decay": 1e-4,
    "batch_size": 128,
    "loss_options": {"temperature": 0.2},
    "gpus": (0, 1),
    "num_workers": 8,
    "hidden_mlp": 2048,
    "name": "simclr",
    "project": "contrastive_learning",
    "method": "simclr",
    "loss": "nt_xent",
}
VARIANTS = {
    "": {},
    "--lars": {"optimizer": "lars"},
    "--dali": {"backend": "dali"},
    "--temperature 0.1 --multicrop --n_crops 2 --n_small_crops 6": {
        "loss_options": {"temperature": 0.1},
        "multicrop": True,
        "n_crops": 2,
        "n_small_crops": 6,
    },
    "--supervised": {"supervised": True},
    "--method barlow_twins --encoding_size 2048 --lamb 5e-3": {
        "method": "barlow_twins",
        "encoding_size": 2048,
        "loss_options": {"lamb": 5e-3},
    },
    "--method simsiam --classifier_lr 30.0 --pred_hidden_mlp 128 --encoding_size 512 "
    "--zero_init_residual --no_lr_scheduler_for_pred_head": {
        "method": "simsiam",
        "classifier_lr": 30.0,
        "pred_hidden_mlp": 128,
        "encoding_size": 512,
        "zero_init_residual": True,
        "no_lr_scheduler_for_pred_head": True,
        "loss_options": {},
    },
}
LINEAR = r"""imagenet100 resnet18 --data_folder /datasets --train_dir imagenet-100/train \
  --val_dir imagenet-100/test \
  --epochs 100 --optimizer sgd --scheduler step --lr 0.1 --lr_decay_steps 60 80 --weight_decay 0 \
  --batch_size 128 --gpus 0 1 \
  --num_workers 10 --name simclr-linear-eval \
  --pretrained_feature_extractor trained_models/WANDB_RANDOM_ID --project contrastive_learning"""
LINEAR_MEANS = {
    "dataset": "imagenet100",
    "encoder": "resnet18",
    "epochs": 100,
    "optimizer": "sgd",
    "scheduler": "step",
    "lr": 0.1,
    "lr_decay_steps": (60, 80),
    "weight_decay": 0.0,
    "batch_size": 128,
    "gpus": (0, 1),
    "num_workers": 10,
    "name": "simclr-linear-eval",
    "pretrained_feature_extractor": "trained_models/WANDB_RANDOM_ID",
    "project": "contrastive_learning",
}

# A flag is a promise to whoever wrote it into a script: this list changes on purpose only.
SHARED_FLAGS = """
    --pooling --query_prompt --document_prompt
    --data_folder --train_dir --val_dir --batch_size --global_batch_size --num_workers --backend
    --dali --last_batch_fill --no-last_batch_fill --image_size --download --no-download
    --class_list --image_column --label_column --label_separator --data_fraction --val_fraction
    --skip_corrupt --no-skip_corrupt --max_length --value_range --channels --exif_orientation
    --no-exif_orientation --max_pixels
    --optimizer --lars --scheduler --lr_decay_steps --lr_decay_rate --epochs --max_steps --lr
    --lr_scaling --no-lr_scaling --weight_decay --momentum --warmup_epochs --warmup_start_lr
    --min_lr --betas --adam_eps --clip_grad_norm --max_bad_steps
    --gpus --devices --num_nodes --timeout --precision --channels_last --no-channels_last
    --name --project --seed --output --run_id --resume_training_from --config --wandb
    --wandb_entity --wandb_group --wandb_tags --wandb_notes --wandb_artifact --no-wandb_artifact
    --logger --log_every_n_steps --report --no-report --take_over --no-take_over --override
    --no-override --debug --no-debug
"""
PRETRAIN_FLAGS = """
    --auto_resume --checkpoint_every --checkpoint_unit --image_weights --init_from --keep_best
    --keep_epochs --stem
    --layer_decay --lora_alpha
    --lock --lora_rank --max_time --merge_lora --no-auto_resume --no-merge_lora --no-pretrained
    --pretrained --text_encoder --text_weights
    --brightness --contrast --saturation --hue --crop_scale --crop_interpolation --crop_size
    --flip_prob --grayscale_prob
    --blur_prob --solarize_prob --n_crops --multicrop --no-multicrop --n_small_crops
    --small_crop_size --small_crop_scale
    --method --loss --supervised --no-supervised --encoding_size --hidden_mlp --pred_hidden_mlp
    --zero_init_residual --no-zero_init_residual --no_lr_scheduler_for_pred_head
    --no-no_lr_scheduler_for_pred_head --classifier_lr --norm
    --learn --ema_beta --ema_after_step --ema_every_n_steps --features --gamma_steps
    --threshold_after_step --dry_run --left_out --ema_encoder --learned_lr --bias_lr
    --sync_batchnorm --no-sync_batchnorm --mini_batch_size --mini_batch_norm
    --checkpoint_activations --no-checkpoint_activations --compile --no-compile --strategy
    --on_collapse --baseline --no-baseline --recipe --jitter_order --probe_data --seeds
    --show_views --schedule
    --hard_negatives --queue_size --mining --directions
"""
LOSS_FLAGS = """
    --temperature --lamb --scale_loss --unbiased --no-unbiased --sigma --symmetric
    --no-symmetric --through_weights --no-through_weights --tau_plus --both_energies
    --no-both_energies --beta --margin --kernel --t --gamma --log_energy_factor
    --joint --no-joint --global_views --alpha --bias --threshold
    --positives --base_temperature --skip_empty --no-skip_empty --invariance --variance
    --covariance --variance_sum --no-variance_sum --counted --no-counted --nu --eps --half
    --no-half --scale --sigreg_weight --knots
"""
LINEAR_FLAGS = """
    --bootstrap --mine --mine_margin --mine_ranks --negatives --prompt
    --pretrained_feature_extractor --eval --augment --no-augment --lr_grid --weight_decay_grid
    --layer_decay --lora_alpha
    --c --k --knn_temperature --lora_rank --pictures --no-pictures --scatter --export --verify
    --mean --std --interpolation --central --standardize --no-standardize
    --layer --transfer --ways --shots --queries --episodes
"""


def words(text: str) -> list[str]:
    return shlex.split(text.replace("\\\n", " "))


def values(config: Pretrain | Linear, names: dict) -> dict:
    options = getattr(config, "method_settings", {})
    return {name: options[name] if name in options else getattr(config, name) for name in names}


@pytest.mark.parametrize("variant", VARIANTS)
def test_original_pretraining_command(variant):
    means = BASE_MEANS | VARIANTS[variant]
    assert values(parse_pretrain(words(f"{BASE} {variant}")), means) == means


def test_a_sweep_writes_lists_in_brackets():
    """As wandb's `${args}` and Python's `str` have them; what is in them is checked as ever."""
    line = ["digits", "resnet6_w8", "--optimizer", "adamw"]
    assert parse_pretrain([*line, "--betas=[0.9, 0.95]"]).betas == (0.9, 0.95)
    assert parse_pretrain([*line, "--keep_epochs=[2,4]"]).keep_epochs == (2, 4)
    with pytest.raises(ValueError, match="--betas must be 2 numbers"):
        parse_pretrain([*line, "--betas=[0.9]"])


def test_original_linear_command():
    assert values(parse_linear(words(LINEAR)), LINEAR_MEANS) == LINEAR_MEANS


@pytest.mark.parametrize(
    ("variant", "ignored"),
    [
        ("--method simsiam", ["temperature"]),
        ("--method barlow_twins", ["temperature"]),
        ("--method barlow_twins --pred_hidden_mlp 128", ["pred_hidden_mlp", "temperature"]),
        ("--lamb 5e-3", ["lamb"]),
        ("--no_lr_scheduler_for_pred_head", ["no_lr_scheduler_for_pred_head"]),
    ],
)
def test_an_original_flag_of_another_method_is_ignored_with_a_warning(variant, ignored, capsys):
    config = parse_pretrain(words(f"{BASE} {variant}"))
    said = capsys.readouterr().err
    assert said.count("\n") == said.count("warning: ignored --") == len(ignored)
    assert all(f"--{name}, which needs --method " in said for name in ignored)
    assert not config.loss_options.keys() & set(ignored)
    assert not config.method_options.keys() & set(ignored)


def test_the_flags_of_pretraining():
    frozen = f"{SHARED_FLAGS} {PRETRAIN_FLAGS} {LOSS_FLAGS}".split()
    assert sorted(flags_of(Pretrain)) == sorted(frozen)


def test_the_flags_of_linear_evaluation():
    assert sorted(flags_of(Linear)) == sorted(f"{SHARED_FLAGS} {LINEAR_FLAGS}".split())


REFUSED = [
    ("--temprature 0.2", ["unknown flag --temprature; did you mean --temperature?"]),
    ("--Xyz 3", ["unknown flag --Xyz; see --help all."]),
    ("--temp 0.2", ["unknown flag --temp; did you mean --temperature?"]),
    ("--learning_rate 0.2", ["unknown flag --learning_rate; did you mean --lr?"]),
    ("--in_chans 1", ["unknown flag --in_chans; did you mean --channels?"]),
    ("--epoch", ["unknown flag --epoch; did you mean --epochs?"]),  # and no word of its value
    (
        "--pretrained",
        [
            "--pretrained needs an encoder of texts named minilm, hf:FOLDER or package:NAME; "
            "--init_from timm starts from the weights of one of timm's."
        ],
    ),
    ("--unlike_any", ["unknown flag --unlike_any; see --help all."]),  # nothing is near
    ("--save_every_n_epochs 5", ["unknown flag --save_every_n_epochs; see --help all."]),
    (
        "--encoder=resnet18",
        ["unknown flag --encoder; ENCODER is a word without a flag: DATASET ENCODER."],
    ),
    ("-lr 0.2", ["unknown flag -lr; did you mean --lr?"]),
    ("--weight 0.1", ["unknown flag --weight; did you mean --weight_decay?"]),  # no abbreviations
    (
        "--accumulate_grad_batches 4",
        ["unknown flag --accumulate_grad_batches" + ACCUMULATION],
    ),
    ("extra", ["unexpected word extra."]),
    ("--epochs many", ["--epochs must be a whole number of at least 1, not many."]),
    ("--epochs 0", ["--epochs must be at least 1, not 0."]),
    ("--epochs", ["--epochs needs a value: a whole number of at least 1."]),
    ("--lr nan", ["--lr must be a number above 0, not nan."]),
    ("--lr -0.1", ["--lr must be above 0, not -0.1."]),
    ("--hue 0.7", ["--hue must be from 0 to 0.5, not 0.7."]),
    ("--crop_scale 0.5", ["--crop_scale must be 2 numbers above 0 and at most 1, not 0.5."]),
    ("--crop_scale 1 0.5", ["--crop_scale must be the smaller one first, not 1 0.5."]),
    ("--name=", ["--name needs a value: a name."]),
    ("--temperature 0", ["--temperature must be above 0, not 0."]),
    (
        "--optimizer sgdd",
        ["--optimizer must be sgd, adam, adamw or lars, not sgdd; did you mean sgd?"],
    ),
    ("--supervised=yes", ["--supervised takes true or false behind an equals sign, not yes."]),
    ("--run_id ../x", ["--run_id must be made of letters, digits, _, - and ., not ../x"]),
    ("--gpus 0 0", ["--gpus must name each GPU once, not 0 0."]),
    ("--gpus -1", ["--gpus must be at least 0, not -1."]),
    ("--gpus 0 1 --devices 2", ["--devices cannot be used with --gpus."]),
    (
        "--mini_batch_norm frozen",
        ["--mini_batch_norm needs --mini_batch_size."],
    ),
    (
        "--checkpoint_activations --mini_batch_size 9 --mini_batch_norm frozen --compile",
        [
            "--checkpoint_activations cannot be used with --compile.",
            "--checkpoint_activations cannot be used with --mini_batch_norm frozen.",
        ],
    ),
    (
        "--mini_batch_size 65 --batch_size 64",
        ["--mini_batch_size must be at most the 64 samples of a device in a step, not 65."],
    ),
    (
        "--gpus 0 1 --global_batch_size 255",
        ["--global_batch_size must be a multiple of the 2 devices, not 255."],
    ),
    (
        "--lars --optimizer adam",
        ["--lars cannot be used with --optimizer adam, only with --optimizer sgd."],
    ),
    (
        "--dali --backend memory",
        ["--dali cannot be used with --backend memory, only with --backend auto."],
    ),
    (
        "--lr_decay_steps 60 80",
        ["--lr_decay_steps needs --scheduler step or warmup_step."],
    ),
    (
        "--scheduler step --lr_decay_steps 80 60",
        ["--lr_decay_steps must be rising, not 80 60."],
    ),
    (
        "--lr_decay_rate 0.5",
        ["--lr_decay_rate needs --scheduler exponential, step, warmup_exponential or warmup_step."],
    ),
    (
        "--scheduler none --warmup_epochs 3",
        [
            "--warmup_epochs needs --scheduler warmup_cosine, warmup_exponential, warmup_linear, "
            "warmup_none or warmup_step."
        ],
    ),
    (
        "--epochs 5 --warmup_epochs 5",
        ["--warmup_epochs must be below the 5 of --epochs, not 5."],
    ),
    (
        "--optimizer adam --momentum 0.8",
        ["--momentum needs --optimizer sgd or lars."],
    ),
    (
        "--layer_decay 0.75",
        ["--layer_decay needs weights to start from: --init_from or --pretrained."],
    ),
    (
        "--init_from timm --layer_decay 1.5",
        ["--layer_decay must be above 0 and at most 1, not 1.5."],
    ),
    ("--betas 0.9 0.95", ["--betas needs --optimizer adam or adamw."]),
    ("--optimizer adam --betas 0.9 1", ["--betas must be at least 0 and below 1, not 1."]),
    ("--optimizer adam --adam_eps 9", ["--adam_eps must be above 0 and at most 1, not 9."]),
    ("--optimizer sgd --momentum 1", ["--momentum must be at least 0 and below 1, not 1."]),
    ("--timeout 1e300", ["--timeout must be above 0 and at most 525600, not 1e+300."]),
    (
        "--method triplet --eps 2",
        ["--eps must be from 0 to 1, not 2."],
    ),
    ("--lars --adam_eps 1e-6", ["--adam_eps needs --optimizer adam or adamw."]),
    (
        "--scheduler step --min_lr 1e-3",
        ["--min_lr needs --scheduler cosine, linear, warmup_cosine or warmup_linear."],
    ),
    ("--lr 0.1 --min_lr 0.2", ["--min_lr must be at most the learning rate, 0.05, not 0.2."]),
    ("--n_small_crops 6", ["--n_small_crops needs --multicrop."]),
    (
        "--small_crop_size 8",
        ["--small_crop_size needs --multicrop."],
    ),
    (
        "--loss clip --n_crops 3",
        ["--loss clip compares two views of a sample: --n_crops above 2 has more."],
    ),
    (
        "--loss mnrl --multicrop",
        ["--loss mnrl compares two views of a sample: --multicrop has more."],
    ),
    (
        "--global_views 5 --n_crops 4",
        ["--global_views must be from 1 to the 4 views of a sample, not 5."],
    ),
    ("--global_views 0", ["--global_views must be from 1 to the 2 views of a sample, not 0."]),
    (
        "--loss sigmoid --threshold 0.1",
        ["--threshold needs --gamma."],
    ),
    (
        "--method sigmoid --threshold_after_step 10",
        ["--threshold_after_step needs --threshold."],
    ),
    (
        "--learn temperature --temperature 200",
        ["--temperature must be from 0.01 to 100 with --learn, not 200."],
    ),
    ("--learned_lr 0.1", ["--learned_lr needs --learn."]),
    ("--learn bias", ["--learn bias cannot be used with --loss nt_xent, which has none."]),
    (
        "--ema_beta 0.9",
        ["--ema_beta needs --method byol, moco, relic or sigmoid."],
    ),
    (
        "--method simsiam --supervised",
        ["--supervised needs --method clip, simclr or supcon."],
    ),
    (
        "--method simsiam --loss dcl",
        ["--loss needs --method clip, simclr or supcon."],
    ),
    (
        "--download",
        ["--download needs DATASET cifar10, cifar100, stl10, svhn, food101 or torchvision:NAME."],
    ),
    (
        "--class_list x",
        ["--class_list needs DATASET imagenet100, imagenet or folder."],
    ),
    ("--data_fraction 0", ["--data_fraction must be above 0, not 0."]),
    (
        "--data_fraction 2.5",
        ["--data_fraction must be a fraction of at most 1, or a whole number of samples, not 2.5."],
    ),
    (
        "--epochs 0 --lr nan --methdo simsiam --n_small_crops 3 extra",
        [
            "unknown flag --methdo; did you mean --method?",
            "unexpected word extra.",
            "--epochs must be at least 1, not 0.",
            "--lr must be a number above 0, not nan.",
            "--n_small_crops needs --multicrop.",
        ],
    ),
    # What follows from a refused value is not refused too.
    (
        "--scheduler stp --lr_decay_steps 60 80",
        ["unknown scheduler stp; did you mean step?"],
    ),
]


@pytest.mark.parametrize(("line", "messages"), REFUSED, ids=[line for line, _ in REFUSED])
def test_refusals(line, messages, capsys):
    assert main_contrastive.main(["digits", "resnet6_w16", *words(line)]) == 2
    assert sorted(capsys.readouterr().err.splitlines()) == sorted(f"error: {m}" for m in messages)


@pytest.mark.parametrize("program", [main_contrastive, main_linear])
def test_what_is_missing(program, capsys):
    assert program.main([]) == 2
    said = capsys.readouterr().err
    assert "error: DATASET is missing; choose from digits, cifar10, " in said
    assert "error: ENCODER is missing; give a name.\n" in said
    assert ("--pretrained_feature_extractor is missing" in said) == (program is main_linear)


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("cifar1O", "cifar10"),
        ("torchvison:MNIST", "torchvision:NAME"),
        ("torchvision:", "torchvision:NAME"),
        ("huggingface", "huggingface:FOLDER"),
    ],
)
def test_a_misspelt_data_set(given, meant, capsys):
    assert main_contrastive.main([given, "resnet18"]) == 2
    said = capsys.readouterr().err
    assert said == f"error: unknown data set {given}; did you mean {meant}?\n"


def test_a_path_in_place_of_a_data_set(tmp_path, capsys):
    (tmp_path / "photos").mkdir()
    (tmp_path / "table.csv").write_text("path,label\n")
    assert main_contrastive.main([f"{tmp_path}/photos", "resnet18"]) == 2
    assert capsys.readouterr().err == (
        f"error: unknown data set {tmp_path}/photos; it is a folder: give folder --data_folder "
        f"{tmp_path}/photos if it has a folder for each class, unlabeled:{tmp_path}/photos if its "
        "images have no labels\n"
    )
    assert main_contrastive.main([f"{tmp_path}/table.csv", "resnet18"]) == 2
    said = capsys.readouterr().err
    assert f"it is a file: say what it holds, as pairs:{tmp_path}/table.csv; there are " in said
    assert "labeled" in said


def test_a_misspelt_run(tmp_path, capsys):
    (tmp_path / "simclr-digits").mkdir()
    line = f"--output {tmp_path} --pretrained_feature_extractor simclr-digit"
    assert main_linear.main(words(line)) == 2
    said = "simclr-digit: there is no such run or file; did you mean simclr-digits?\n"
    assert capsys.readouterr().err == f"error: --pretrained_feature_extractor {said}"
    line = f"digits resnet6 --output {tmp_path} --init_from simclr-digit"
    assert main_contrastive.main(words(line)) == 2
    assert capsys.readouterr().err == f"error: --init_from {said}"


@pytest.mark.parametrize("name", ["torchvision:MNIST", "huggingface:a/b", "webdataset:{0..9}.tar"])
def test_data_sets_that_say_more_behind_their_name(name):
    assert parse_pretrain([name, "resnet18"]).dataset == name


def test_what_can_be_downloaded(capsys):
    assert parse_pretrain(["torchvision:MNIST", "resnet18", "--download"]).download
    assert main_contrastive.main(["webdataset:a.tar", "resnet18", "--download"]) == 2
    assert "--download needs DATASET cifar10" in capsys.readouterr().err


def test_pretraining_flags_are_unknown_to_linear_evaluation(capsys):
    line = "digits resnet6 --pretrained_feature_extractor x --brightness 0.4"
    assert main_linear.main(words(line)) == 2
    assert capsys.readouterr().err.startswith("error: unknown flag --brightness")


def test_paths_that_are_not_there(tmp_path, capsys):
    (tmp_path / "set" / "training").mkdir(parents=True)
    line = f"--data_folder {tmp_path}/set --train_dir training --val_dir validation"
    assert main_contrastive.main(["folder", "resnet18", *words(line)]) == 2
    assert capsys.readouterr().err == (
        f"error: --val_dir must be a folder in {tmp_path}/set (training), not validation.\n"
    )
    line = f"--data_folder {tmp_path}/none --resume_training_from {tmp_path}/run"
    assert main_contrastive.main(["cifar10", "resnet18", *words(line)]) == 2
    assert capsys.readouterr().err.splitlines() == [
        "error: --resume_training_from must be a run's folder or a file; there is no "
        f"{tmp_path}/run.",
        f"error: --data_folder must be a folder; there is no {tmp_path}/none; --download makes and "
        "fills it.",
    ]
    line = f"--data_folder {tmp_path} --class_list {tmp_path}/list"
    assert main_contrastive.main(["imagenet100", "resnet18", *words(line)]) == 2
    assert capsys.readouterr().err == (
        f"error: --class_list must be a file; there is no {tmp_path}/list.\n"
    )
    line = f"--pretrained_feature_extractor {tmp_path}/run"
    assert main_linear.main(["digits", "resnet6", *words(line)]) == 2
    assert (
        "--pretrained_feature_extractor must be a run's folder or a file; there"
        in capsys.readouterr().err
    )


def smi(folder: Path, gpus: int) -> None:
    lines = "".join(f"GPU {i}: NVIDIA X (UUID: GPU-{i})\n" for i in range(gpus))
    (folder / "nvidia-smi").write_text(f"#!/bin/sh\nprintf '%s' '{lines}'\n")
    (folder / "nvidia-smi").chmod(0o755)


@pytest.mark.parametrize(
    ("gpus", "visible", "asked", "said"),
    [
        (0, None, "0 1", "0 1: this machine has no GPU; without --gpus the CPU is used."),
        (1, None, "0 1", "0 1: this machine has 1 GPU, 0."),
        (4, None, "4", "4: this machine has 4 GPUs, 0 to 3."),
        (4, "2,3", "2 3", "2 3: this machine has 2 GPUs, 0 to 1."),
        (4, "", "0", "0: this machine has no GPU; without --gpus the CPU is used."),
        (4, "1,-1,2", "1", "1: this machine has 1 GPU, 0."),
    ],
)
def test_gpus_that_are_not_there(gpus, visible, asked, said, tmp_path, monkeypatch, capsys):
    smi(tmp_path, gpus)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert main_contrastive.main(["digits", "resnet6", "--gpus", *asked.split()]) == 2
    assert capsys.readouterr().err == f"error: --gpus {said}\n"


@pytest.fixture
def training(monkeypatch):
    """Stands in for training: what it is given, and what it answers."""

    def stand_in(config):
        stand_in.config = config
        if isinstance(stand_in.answer, Exception):
            raise stand_in.answer
        return SimpleNamespace(code=stand_in.answer)

    stand_in.answer = 0
    monkeypatch.setitem(sys.modules, "cl.train", SimpleNamespace(train=stand_in))
    return stand_in


@pytest.mark.parametrize("code", [0, 3, 143])
def test_the_exit_code_of_training_is_passed_on(code, training):
    training.answer = code
    assert main_contrastive.main(["digits", "resnet6_w16", "--epochs", "3"]) == code
    assert training.config.epochs == 3


def test_a_user_error_in_training_is_one_line(training, capsys):
    training.answer = ValueError("--backend dali:\n  install nvidia-dali-cuda130")
    assert main_contrastive.main(["digits", "resnet6"]) == 2
    assert capsys.readouterr().err == "error: --backend dali: install nvidia-dali-cuda130\n"


def test_debug_shows_the_traceback(training):
    training.answer = ValueError("wrong")
    with pytest.raises(ValueError, match="wrong"):
        main_contrastive.main(["digits", "resnet6", "--debug"])
    with pytest.raises(ValueError, match="--epochs must be at least 1"):
        main_contrastive.main(["digits", "resnet6", "--debug", "--epochs", "0"])


def test_other_errors_keep_their_traceback(training):
    training.answer = RuntimeError("a slip of ours")
    with pytest.raises(RuntimeError):
        main_contrastive.main(["digits", "resnet6"])


@pytest.mark.parametrize(
    ("program", "of"), [("main_contrastive", Pretrain), ("main_linear", Linear)]
)
def test_help_has_every_flag_and_loads_nothing(program, of):
    code = (
        "import sys, runpy\n"
        f"sys.argv = ['{program}.py', '--help', 'all']\n"
        "try:\n"
        f"    runpy.run_path('{program}.py', run_name='__main__')\n"
        "except SystemExit as end:\n"
        "    heavy = {'torch', 'pytorch_lightning', 'numpy', 'timm'} & sys.modules.keys()\n"
        "    sys.exit(f'loaded {heavy}' if heavy else end.code)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    said = re.sub(r"--\[no-\](\w+)", r"--\1 --no-\1", done.stdout)
    there = set(said.replace(",", " ").split())
    assert set(flags_of(of)) | {"DATASET", "ENCODER"} <= there


@pytest.mark.parametrize(
    ("line", "code"), [(["--help"], 0), (["digits", "resnet6", "--temprature", "1"], 2)]
)
def test_help_and_typos_are_answered_at_once(line, code):
    def spent() -> float:  # processor time, which a busy machine does not stretch
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        return used.ru_utime + used.ru_stime

    before = spent()
    command = [sys.executable, "main_contrastive.py", *line]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, check=False)
    assert done.returncode == code
    assert spent() - before < 1  # seconds; 0.3 on an idle machine, and to load torch takes 2
