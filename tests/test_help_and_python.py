"""`--help` by topic; settings from Python: the same checks, and objects in place of words."""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

import cl.methods
from cl.bounds import Count
from cl.build import make_encoder
from cl.config import (
    ConfigError,
    Linear,
    Pretrain,
    configure,
    from_json,
    is_own,
    parse_linear,
    parse_pretrain,
    to_json,
)
from cl.config.datasets import rows
from cl.config.helptext import help_of
from cl.config.paths import faults_of_paths
from cl.config.schema import options_of
from cl.config.signature import losses, names
from cl.config.words import flags_of
from cl.losses import PairwiseLoss
from cl.methods._base import Method
from cl.nets import encoders
from cl.optim import lr_factor
from cl.trainer import optimization

DIGITS = {"dataset": "digits", "encoder": "resnet6_w8"}


def test_the_short_help_has_what_people_use() -> None:
    """Which options those are stands at the option."""
    common = {n for n, o in options_of(Pretrain).items() if o.about.get("common")}
    assert 20 <= len(common) <= 30
    said = help_of(Pretrain)
    assert {*re.findall(r"^  --(?:\[no-\])?(\w+)", said, re.MULTILINE)} >= {
        *common - {"dataset", "encoder"},
        *("temperature", "hidden_mlp"),
    }
    assert "--jitter_order" not in said
    assert "--help [all] [method NAME] [loss NAME] [eval NAME] [data NAME]" in said


def test_the_short_help_has_the_options_of_what_the_line_chooses(
    capsys: pytest.CaptureFixture,
) -> None:
    with pytest.raises(SystemExit):
        parse_pretrain(["digits", "resnet6", "--method", "barlow_twins", "--help"])
    said = capsys.readouterr().out
    assert "options of --method barlow_twins:" in said
    assert "--temperature" not in said


@pytest.mark.parametrize("width", [40, 60, 100, 200])
@pytest.mark.parametrize("of", [Pretrain, Linear])
def test_help_fits_the_terminal(of: type, width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    topics = [(), ("all",), ("method", "byol"), ("loss", "debiased"), ("data", "stl10")]
    for topic in topics:
        lines = help_of(of, topic).splitlines()
        long = [line for line in lines if len(line) >= width and len(line.split()) > 1]
        assert not long


@pytest.mark.parametrize(
    "topic",
    [
        *(("method", name) for name in cl.methods.NAMES),
        *(("loss", name) for name in losses()),
        *(("eval", name) for name in names("eval")),
        *(("data", name) for name in rows()),
    ],
    ids=" ".join,
)
def test_every_thing_has_a_help_with_its_source(topic: tuple[str, str]) -> None:
    said = help_of(Pretrain, topic)
    assert topic[1] in said.splitlines()[0]
    assert re.search(r"^source: \w", said, re.MULTILINE)


@pytest.mark.parametrize(
    ("topic", "message"),
    [
        ("method simclrr", "unknown method simclrr; did you mean simclr?"),
        ("loss nt_xnt", "unknown loss nt_xnt; did you mean nt_xent?"),
        ("eval kn", "unknown evaluation kn; did you mean knn?"),
        ("data cifar1O", "unknown data set cifar1O; did you mean cifar10?"),
        ("method", "--help method needs a name; choose from angle, "),
        ("losses", "--help has no topic losses; did you mean loss?"),
    ],
)
def test_a_topic_that_is_not_there(topic: str, message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        parse_pretrain(["--help", *topic.split()])


@pytest.mark.parametrize("of", [Pretrain, Linear])
def test_every_flag_is_taken_with_an_equals_sign(of: type) -> None:
    flags = flags_of(of)
    for flag in flags:
        if f"--no-{flag[2:]}" in flags:
            parse = parse_pretrain if of is Pretrain else parse_linear
            for word in ("true", "false"):
                with pytest.raises(ValueError, match="DATASET is missing") as error:
                    parse([f"{flag}={word}"])
                assert "equals sign" not in str(error.value)


def test_words_behind_equals_signs_and_behind_lists() -> None:
    words = ["--multicrop=true", "digits", "--supervised=False", "--hue=0.1", "resnet6"]
    config = parse_pretrain(words)
    assert (config.multicrop, config.hue, config.dataset) == (True, 0.1, "digits")
    assert config.method_options == {"supervised": False}
    line = ["--eval", "knn", "logistic", "digits", "resnet6"]
    evaluated = parse_linear([*line, "--pretrained_feature_extractor", "x"])
    assert (evaluated.eval, evaluated.dataset) == (("knn", "logistic"), "digits")


def test_negative_numbers_are_values() -> None:
    words = ["digits", "resnet6", "--method", "sigmoid"]
    for word, value in (("-1e1", -10.0), ("-.5", -0.5), ("-3", -3.0)):
        assert parse_pretrain([*words, "--bias", word]).loss_options == {"bias": value}


def test_all_unknown_flags_are_reported_and_nothing_that_follows_from_them() -> None:
    with pytest.raises(ConfigError) as error:
        parse_pretrain("digits resnet6 --methdo byol --ema_bta 0.9 --lrr 3 --epochs 0".split())
    assert error.value.args == (
        "unknown flag --methdo; did you mean --method?",
        "unknown flag --ema_bta; did you mean --ema_beta?",
        "unknown flag --lrr; did you mean --lr?",
        "--epochs must be at least 1, not 0.",
    )


def test_values_from_python_are_those_of_a_line() -> None:
    values = {**DIGITS, "epochs": 3, "lr": 1, "gpus": [0, 1], "lars": True, "temperature": 0.5}
    line = "digits resnet6_w8 --epochs 3 --lr 1 --gpus 0 1 --lars --temperature 0.5"
    assert configure(Pretrain, values) == parse_pretrain(line.split())
    values = {**DIGITS, "pretrained_feature_extractor": Path("run"), "eval": ["knn"], "k": (3, 5)}
    line = "digits resnet6_w8 --pretrained_feature_extractor run --eval knn --k 3 5"
    config = configure(Linear, values)
    assert config == parse_linear(line.split())
    assert config.k == (3, 5)
    assert json.loads(to_json(config))["eval_options"] == {"k": [3, 5], "knn_temperature": [0.07]}


def test_all_faults_of_values_at_once() -> None:
    values = {"dataset": "digits", "epohcs": 3, "lr": "fast", "margin": 1.0, "temperature": -1}
    with pytest.raises(ConfigError) as error:
        configure(Pretrain, values)
    assert [text.split()[0] for text in error.value.args] == [
        *("unknown", "--lr", "ENCODER", "--margin", "--temperature")
    ]
    assert error.value.args[0] == "unknown option epohcs; did you mean epochs?"


class Plain(Method):
    """A linear map and a loss."""

    def __init__(
        self, encoder: nn.Module, loss: PairwiseLoss, *, directions: Count = 8, **base: object
    ) -> None:
        super().__init__(encoder, **base)  # pyright: ignore[reportArgumentType]
        self.projector, self.loss = nn.Linear(self.width, directions), loss

    def objective(self, h: Tensor, labels: Tensor) -> Tensor:
        return self.loss(self.projector(h), labels)


def test_objects_stand_in_the_place_of_words() -> None:
    """They are words of the configuration, and their options are checked; nothing is looked up."""

    class Pictures(Dataset): ...

    def near(z: Tensor, ids: Tensor, rows: slice, *, weight: float = 1.0) -> Tensor:
        return weight * z.sum()

    def rise(done: float) -> float:
        return done

    objects = {"dataset": Pictures(), "encoder": nn.Flatten(), "method": Plain, "loss": near}
    objects["scheduler"] = rise
    config = configure(Pretrain, {**objects, "directions": 5, "weight": 2, "warmup_epochs": 0})
    assert config.dataset == f"{__name__}:{Pictures.__qualname__}"
    assert config.encoder == "torch.nn.modules.flatten:Flatten"
    assert all(is_own(getattr(config, name)) for name in objects)
    assert all(getattr(config, name).object is thing for name, thing in objects.items())
    assert not is_own(Pretrain(**DIGITS).dataset)
    assert config.method_settings["directions"] == 5
    assert config.loss_settings == {"weight": 2.0}
    lr = [lr_factor(optimization(config), step, 4, 4) for step in range(3)]
    assert lr == [0, 1 / 4, 2 / 4]
    written = json.loads(to_json(config))
    assert written["method"] == f"{__name__}:Plain"
    with pytest.raises(ConfigError, match="--directions must be at least 1, not 0"):
        configure(Pretrain, {**objects, "directions": 0})
    with pytest.raises(ConfigError, match=r"does not take \(z, ids, rows\)"):
        configure(Pretrain, {**objects, "loss": lambda a, b: a})


def test_an_array_of_numpy_is_a_list() -> None:
    given = {**DIGITS, "optimizer": "adamw"}
    config = configure(Pretrain, given | {"betas": np.array([0.9, 0.95])})
    assert config == configure(Pretrain, given | {"betas": [0.9, 0.95]})
    json.loads(to_json(config))
    for other in (np.array([[0.9, 0.95]]), np.array([0.9])):
        with pytest.raises(ConfigError, match="--betas must be 2 numbers of at least 0"):
            configure(Pretrain, given | {"betas": other})


def test_numbers_of_numpy_are_numbers() -> None:
    values = {"lr": np.float64(0.5), "weight_decay": np.float32(0.25), "epochs": np.int64(3)}
    values |= {"multicrop": np.True_, "temperature": torch.tensor(0.5), "gpus": [np.int32(1)]}
    config = configure(Pretrain, {**DIGITS, **values, "crop_scale": (np.float32(0.5), 1)})
    line = "--lr 0.5 --weight_decay 0.25 --epochs 3 --multicrop --temperature 0.5 --gpus 1"
    words = ["digits", "resnet6_w8", *line.split(), "--crop_scale", "0.5", "1"]
    assert config == parse_pretrain(words)
    json.loads(to_json(config))
    with pytest.raises(
        ConfigError, match=r"--epochs must be a whole number of at least 1, not 1.5"
    ):
        configure(Pretrain, {**DIGITS, "epochs": np.float64(1.5)})


def test_functions_of_one_name_are_several_schedules() -> None:
    """A notebook runs a cell again, with other parameters."""

    def heights(scheduler: Callable[..., float]) -> float:
        config = configure(Pretrain, {**DIGITS, "scheduler": scheduler, "warmup_epochs": 0})
        return lr_factor(optimization(config), 2, 4, 2)

    assert heights(lambda done: 1 - done) == 0.5
    assert heights(lambda epoch: 0.9**epoch) == 0.9


MODULE = {"dataset": "digits", "encoder": nn.Flatten()}
LOADER = {"dataset": DataLoader([]), "encoder": "resnet6_w8"}


@pytest.mark.parametrize(
    ("objects", "flag", "value"),
    [
        (MODULE, "norm", "group"),
        (MODULE, "stem", "small"),
        (MODULE, "zero_init_residual", True),
        (LOADER, "batch_size", 512),
        (LOADER, "num_workers", 7),
        (LOADER, "crop_scale", (0.5, 1.0)),
        (LOADER, "multicrop", True),
        (LOADER, "recipe", "byol"),
        (LOADER, "image_size", 32),
    ],
)
def test_what_an_object_has_no_use_for_is_refused(
    objects: dict[str, Any], flag: str, value: object
) -> None:
    with pytest.raises(ConfigError, match=rf"^--{flag} cannot be used with a .* of your own"):
        configure(Pretrain, {**objects, flag: value})
    pair = {**objects, "dataset": (objects["dataset"], None)}
    if objects is LOADER:
        with pytest.raises(ConfigError, match=rf"^--{flag} cannot be used with a DataLoader"):
            configure(Pretrain, {**pair, flag: value})
    configure(Pretrain, {**DIGITS, "encoder": "resnet18", flag: value})


def test_what_a_file_hands_on_to_an_object_is_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "config.json"
    file.write_text(to_json(configure(Pretrain, {**DIGITS, "norm": "group", "hue": 0.25})))
    config = configure(Pretrain, {**LOADER, "encoder": nn.Flatten(), "config": file})
    assert (config.norm, config.hue) == ("batch", None)
    assert (
        "warning: ignored --norm, which cannot be used with a module of" in capsys.readouterr()[1]
    )


def test_an_encoder_of_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "from torch import nn\n\ndef small():\n    return nn.Flatten()\n\nnumber = 3\n"
    text += "\ndef wants(width):\n    return nn.Flatten()\n\ndef none():\n    return None\n"
    (tmp_path / "own_nets.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    word = "own_nets:small"
    assert parse_pretrain(["digits", word]).encoder == word
    assert isinstance(encoders.create(word, 16), nn.Flatten)
    for name in ("absent", "wants", "number", "none"):
        with pytest.raises(ValueError, match=f"ENCODER own_nets:{name} "):
            encoders.create(f"own_nets:{name}", 16)
    with pytest.raises(ConfigError, match="unknown encoder own_netz:small; Python finds no module"):
        parse_pretrain(["digits", "own_netz:small"])


@pytest.mark.parametrize("kind", [torch.float64, torch.bfloat16])
def test_an_encoder_of_ones_own_trains_in_the_precision_of_the_run(
    kind: torch.dtype, capsys: pytest.CaptureFixture
) -> None:
    for precision, expected in (("64", kind), ("32", torch.float32)):
        net = nn.Linear(3, 2).to(kind)
        config = configure(Pretrain, {"dataset": "digits", "encoder": net, "precision": precision})
        assert make_encoder(config) is net
        assert net.weight.dtype == expected
    said = f"The encoder is in {str(kind).removeprefix('torch.')}; it trains in float32."
    assert capsys.readouterr().out == f"{said}\n"


def test_an_earlier_evaluations_options_stood_beside_the_settings() -> None:
    config = parse_linear(
        "digits resnet6 --pretrained_feature_extractor x --eval knn --k 3".split()
    )
    now = json.loads(to_json(config))
    earlier = {**now, **now.pop("eval_options"), "lora_rank": None, "lr_grid": [], "c": [1.0]}
    del earlier["eval_options"]
    assert from_json(json.dumps(earlier)) == config


def test_a_place_that_is_not_there_is_said_before_torch_is_loaded(tmp_path: Path) -> None:
    (tmp_path / "a.png").touch()
    for place, absent in (("a.png", False), ("*.jpg", False), ("b", True)):
        config = parse_pretrain([f"unlabeled:{place}", "resnet6", "--data_folder", str(tmp_path)])
        said = [fault for fault in faults_of_paths(config) if fault.startswith("DATASET")]
        assert said == [f"DATASET unlabeled:b: there is no {tmp_path / 'b'}."] * absent


@pytest.mark.parametrize("rank", ["0", "1"])
def test_a_run_speaks_before_torch_is_loaded(rank: str, tmp_path: Path) -> None:
    code = (
        "import os, sys\n"
        "from cl.config import Pretrain, run\n"
        "def work(config):\n"
        "    assert not {'torch', 'timm'} & {*sys.modules}\n"
        "    return 0\n"
        "sys.exit(run(Pretrain, ['digits', 'resnet18'], work))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=Path(__file__).parents[1],
        env={"LOCAL_RANK": rank, "PATH": ""},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "loading PyTorch ...\n" if rank == "0" else "")
