"""The settings from inside: ranges, JSON, `--config`, the losses' own settings, what is derived."""

import json
import random
import string
from dataclasses import MISSING, FrozenInstanceError, asdict, fields, replace
from pathlib import Path
from typing import Any

import pytest

import cl.config.options
import cl.losses
import cl.methods
from cl.config import (
    ConfigError,
    Linear,
    Pretrain,
    configure,
    from_json,
    parse_linear,
    parse_pretrain,
    signature,
    to_json,
)
from cl.config.datasets import kind_of
from cl.config.evaluations import built_in
from cl.config.programs import rooms
from cl.config.rules import foreign_options
from cl.config.schema import Option, options_of
from cl.config.store import values_from_json
from cl.config.words import options_named
from cl.data.augment.recipe import BICUBIC, BILINEAR_BEFORE, PAPERS

LOSSES = {
    "nt_xent": "*, temperature: float = 0.2, chunk: int | None = None",
    "dcl": '*, temperature: float | Float[Tensor, ""] = 0.1, weighted: bool = False',
    "kcl": '*, kernel: Literal["imq", "log"] = "imq", margin: float = math.pi / 18, f: Any = None',
    "barlow_twins": "*, lamb: float = 5e-3",
    "_engine": "*, hidden: float = 1.0",
}
DIGITS = ["digits", "resnet6_w16"]
POINTED = ["digits", "resnet6_w16", "--pretrained_feature_extractor", "trained_models/x"]


@pytest.fixture
def made_losses(tmp_path, monkeypatch):
    """Losses with all kinds of settings, in place of the real ones."""
    folder = tmp_path / "losses"
    folder.mkdir()
    for name, settings in LOSSES.items():
        body = (
            '"""It.\n\n    Args:\n        chunk: anchors worked on\n            at once.\n    """'
        )
        text = (
            f"import torch\n\ndef {name}(z, ids=None, rows=slice(None), {settings}):\n    {body}\n"
        )
        (folder / f"{name}.py").write_text(text)
    (folder / "cosine.py").write_text("def cosine(p, z):\n    pass\n")
    (folder / "helper.py").write_text("def something_else(*, hidden=1):\n    pass\n")
    monkeypatch.setitem(signature.FOLDERS, "loss", folder)
    forget()
    yield
    monkeypatch.undo()
    forget()


def forget():
    signature.things.cache_clear()
    signature.having.cache_clear()
    options_of.cache_clear()


def line_of(config, but=()):
    """A command line that says every setting of a configuration."""
    line = []
    for name, setting in options_of(type(config)).items():
        value = getattr(config, name)
        if name in but or value is None or value == ():
            continue
        if setting.of is bool:
            line.append(f"--{name}" if value else f"--no-{name}")
        elif setting.about.get("positional"):
            line.append(value)
        else:
            line += [f"--{name}", *map(str, value if isinstance(value, tuple) else (value,))]
    return line


def drawn(setting: Option, rng: random.Random):
    """A random allowed value of a setting."""
    if setting.choices:
        one_of = rng.choice(setting.choices)
        return one_of if setting.many == 1 else (one_of,)
    if setting.of is bool:
        return rng.random() < 0.5
    if setting.of is str:
        word = "".join(rng.choices(string.ascii_letters + "äß_/ .\"'=", k=9))
        return word if setting.many == 1 else (word,)
    low, high = setting.about.get("low", 0), setting.about.get("high", 1000)
    high = min(high, setting.about.get("below", high))
    count = setting.many or rng.randint(1, 4)

    def one():
        return rng.randint(low, min(high, 1000)) if setting.of is int else rng.uniform(low, high)

    values = tuple(sorted(one() for _ in range(count)))
    return values if setting.many != 1 else values[0]


def any_config(of, seed):
    rng = random.Random(seed)
    known = options_of(of)
    return of(
        **{
            name: drawn(setting, rng)
            for name, setting in known.items()
            if setting.default is MISSING or rng.random() < 0.6
        }
    )


@pytest.mark.parametrize("of", [Pretrain, Linear])
def test_every_setting_has_a_help_a_group_and_an_allowed_default(of):
    for name, setting in options_of(of).items():
        assert setting.about["help"], name
        assert setting.group in {base.__name__ for base in of.__mro__}
        known = {"help", "low", "high", "above", "below", "needs", "shortcut", "positional"}
        known |= {
            "once",
            "metavar",
            "shown",
            "choices",
            "open",
            "noun",
            "common",
            "known_as",
            "empty",
            "of_path",
            "of_words",
            "none",
        }
        assert setting.about.keys() <= known
        if setting.default not in (MISSING, ()):
            assert setting.check(json.loads(json.dumps(setting.default))) == setting.default
        if setting.default is None:
            assert setting.about.get("shown") or setting.about.get("metavar") == "PATH"


def test_the_losses_are_those_of_the_library():
    assert list(signature.losses()) == cl.losses.NAMES
    assert Pretrain(dataset="digits", encoder="a").loss in signature.pairwise()
    assert "cosine" not in signature.pairwise()
    assert list(signature.methods()) == cl.methods.NAMES


def test_no_loss_has_a_setting_that_is_called_like_a_field_or_another_losses_of_another_type():
    for name, by_loss in signature.having(("method", "loss")).items():
        assert name not in options_of(Pretrain)
        assert len({(o.of, o.many) for o in by_loss.values()}) == 1, name


@pytest.mark.parametrize("of", [Pretrain, Linear])
@pytest.mark.parametrize("seed", range(50))
def test_json_keeps_every_value(of, seed):
    config = any_config(of, seed)
    assert from_json(to_json(config)) == config


@pytest.mark.parametrize("of", [Pretrain, Linear])
def test_json_of_every_field(of):
    least = Pretrain(dataset="digits", encoder="a") if of is Pretrain else any_config(Linear, 0)
    for name, setting in options_of(of).items():
        rng = random.Random(name)
        changed = replace(least, **{name: drawn(setting, rng)})
        kept = from_json(to_json(changed))
        assert kept == changed
        assert type(getattr(kept, name)) is type(getattr(changed, name))


def test_json_keeps_the_settings_of_the_loss(made_losses):
    config = parse_pretrain([*DIGITS, "--loss", "dcl", "--temperature", "1", "--weighted"])
    assert config.loss_options == {"temperature": 1.0, "weighted": True}
    assert from_json(to_json(config)) == config


@pytest.mark.parametrize("seed", range(20))
def test_a_line_says_what_json_says(seed, tmp_path):
    """Whatever a line sets, a configuration saved from it and loaded again sets too."""
    rng = random.Random(seed)
    settings = {n: s for n, s in options_of(Pretrain).items() if "needs" not in s.about}
    unusable = {
        "strategy",
        "gpus",
        "config",
        "global_batch_size",
        "mini_batch_size",
        "data_fraction",
        "show_views",
        "dry_run",
        "schedule",
        "seeds",
        "n_crops",
        "run_id",
        "warmup_epochs",
        "keep_epochs",
        "debug",
        "auto_resume",
        "take_over",
        "override",
    }
    values = {n: drawn(s, rng) for n, s in settings.items() if n not in unusable}
    for name in ("scheduler", "schedule", "optimizer", "method", "loss", "learned_lr"):
        values.pop(name, None)
    values["encoder"] = "bag_w8" if kind_of(values["dataset"]) == "text" else "resnet18"
    config = Pretrain(**values)
    assert (
        parse_pretrain(line_of(config, but=options_of(Pretrain).keys() - values.keys())) == config
    )
    once = {"resume_training_from": None, "output": None}
    (tmp_path / "config.json").write_text(to_json(config))
    again = parse_pretrain(["--config", f"{tmp_path}/config.json"])
    assert again == replace(config, config=f"{tmp_path}/config.json", **once)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"epohcs": 3}, "unknown key epohcs; did you mean epochs?"),
        ({"epochs": "3"}, "--epochs must be a whole number of at least 1, not '3'."),
        ({"epochs": 3.5}, "--epochs must be a whole number of at least 1, not 3.5."),
        ({"epochs": True}, "--epochs must be a whole number of at least 1, not True."),
        ({"epochs": None}, "--epochs must be a whole number of at least 1, not None."),
        ({"epochs": [3]}, "--epochs must be a whole number of at least 1, not 3."),
        ({"lr": "0.3"}, "--lr must be a number above 0, not '0.3'."),
        ({"lr": float("nan")}, "--lr must be a number above 0, not nan."),
        ({"lr": 10**400}, "--lr must be a number above 0, not 1000"),
        ({"seed": 10**400}, "--seed must be from 0 to 4294967295, not 1000"),
        ({"method_options": {"supervised": 1}}, "--supervised must be true or false, not 1."),
        ({"gpus": 0}, "--gpus must be whole numbers of at least 0, not 0."),
        (
            {"crop_scale": [0.1, 0.2, 0.3]},
            "--crop_scale must be 2 numbers above 0 and at most 1, not 0.1 0.2 0.3.",
        ),
        ({"method": "simclrr"}, "unknown method simclrr; did you mean simclr?"),
        ({"dataset": {}}, "DATASET must be digits, cifar10, "),
        ({"version": 2}, "version must be 1, not 2."),
        ({"program": "main"}, "program must be main_contrastive or main_linear, not main."),
        ({"loss_options": [1]}, "loss_options must be an object with options, not [1]."),
        ({"loss_options": {"tau": 1}}, "unknown key tau"),
        ({"loss_options": {"temperature": "x"}}, "--temperature must be a number, not 'x'."),
    ],
)
def test_json_that_is_refused(change, message, made_losses):
    good = json.loads(to_json(Pretrain(dataset="digits", encoder="resnet6")))
    with pytest.raises(ConfigError) as error:
        from_json(json.dumps(good | change))
    assert message in str(error.value)


PLACES = [
    (Pretrain, {"dataset": "digits", "encoder": "resnet6"}),
    (Pretrain, {"dataset": "pairs:a.jsonl", "encoder": "bag_w4", "method": "simclr"}),
    (Pretrain, {"dataset": "captions:a.csv", "encoder": "resnet6", "method": "clip"}),
    (Linear, {"dataset": "digits", "encoder": "resnet6", "eval": ["supervised"]}),
    (Linear, {"dataset": "digits", "encoder": "resnet6", "pretrained_feature_extractor": "x"}),
]


def without_none(config: Any) -> Any:
    """A configuration without options of what was chosen that are None, their default."""
    found = {room: getattr(config, room) for room in rooms(config)}
    said = {r: {k: v for k, v in o.items() if v is not None} for r, o in found.items()}
    return replace(config, **said)


@pytest.mark.parametrize(("program", "place"), PLACES)
def test_none_from_python_asks_for_nothing(program: Any, place: dict[str, Any]) -> None:
    """Of every option that is None or empty unless it is given, and of usual rates.

    That is so too where the option would be out of place.
    """
    chosen = [*signature.methods(), *signature.losses()] if program is Pretrain else built_in()
    known = options_of(program)
    for name in chosen:
        known = known | options_named(program, [name])
    names = {name for name, option in known.items() if option.default in (None, ())}
    assert {"lora_rank", "val_dir", "lr_decay_steps"} <= names
    usual = configure(program, place)
    for name in (names | {"lr", "lr_scaling", "min_lr"}) - place.keys():
        assert without_none(configure(program, place | {name: None})) == usual, name
    every = place | dict.fromkeys(names - place.keys())
    assert without_none(configure(program, every)) == usual
    with pytest.raises(ConfigError, match="--epochs must be a whole number of at least 1, not N"):
        configure(program, place | {"epochs": None})


def test_none_from_python_takes_back_what_a_file_says(tmp_path: Path) -> None:
    """Where None is a value of the option; else it is as if it were not given."""
    place = {"dataset": "digits", "encoder": "resnet6"}
    before = configure(Pretrain, place | {"clip_grad_norm": 2.0, "min_lr": 0.01})
    (tmp_path / "config.json").write_text(to_json(before))
    again = {"config": str(tmp_path / "config.json"), "clip_grad_norm": None, "min_lr": None}
    config = configure(Pretrain, again)
    assert (config.clip_grad_norm, config.min_lr) == (None, 0.01)


@pytest.mark.parametrize("text", ["", "{", "[]", "3", "[" * 100_000])
def test_text_that_is_no_configuration(text):
    with pytest.raises(ConfigError, match="not"):
        from_json(text)


def test_all_faults_of_a_file_at_once():
    good = json.loads(to_json(Pretrain(dataset="digits", encoder="resnet6")))
    with pytest.raises(ConfigError) as error:
        from_json(json.dumps(good | {"lr": -1, "epochs": 0, "what": 1}))
    assert len(error.value.args) == 3


def test_json_without_what_must_be_there():
    with pytest.raises(ConfigError, match="encoder is missing"):
        from_json('{"version": 1, "program": "main_contrastive", "dataset": "digits"}')


@pytest.fixture
def saved(tmp_path):
    """Writes a configuration to a file and says where."""

    def save(config) -> list[str]:
        (tmp_path / "config.json").write_text(to_json(config))
        return ["--config", f"{tmp_path}/config.json"]

    return save


def test_what_a_file_hands_on_and_what_the_line_changes(saved):
    run = Pretrain(
        dataset="cifar10",
        encoder="resnet18",
        lr=0.1,
        gpus=(0, 1),
        multicrop=True,
        run_id="abc",
        resume_training_from="x",
        debug=True,
    )
    flags = saved(run)
    plain = parse_pretrain(flags)
    assert plain == replace(
        run, config=flags[1], run_id=None, resume_training_from=None, debug=False
    )
    changed = parse_pretrain([*flags, "--lr", "0.2", "--no-multicrop", "--gpus", "1"])
    assert changed == replace(plain, lr=0.2, multicrop=False, gpus=(1,))
    assert parse_pretrain(["stl10", *flags]) == replace(plain, dataset="stl10")
    assert parse_pretrain(["stl10", "resnet50", *flags]) == replace(
        plain, dataset="stl10", encoder="resnet50"
    )


@pytest.mark.parametrize(
    ("output", "kept"),
    [
        ("{runs}", True),
        ("{runs}/../runs", True),
        ("link", True),
        (None, True),
        ("{runs}/other", False),
        ("{runs}/..", False),
        ("/etc", False),
        ("../..", False),
        ("~/.ssh", False),
        ("a\0b", False),
        ("\ud800", False),
    ],
)
def test_only_the_runs_own_file_chooses_where_is_written(
    output, kept, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "runs" / "one"
    folder.mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "runs")
    there = output and output.format(runs=tmp_path / "runs")
    config = Pretrain(dataset="digits", encoder="resnet6", output=there)
    (folder / "config.json").write_text(to_json(config))
    words = ["--config", str(folder)]
    assert parse_pretrain(words).output == (there if kept else None)
    said = "" if kept else "warning: ignored --output, which only the config.json of a run in that "
    assert capsys.readouterr().err == said + "folder hands on.\n" * (not kept)
    assert parse_pretrain([*words, "--output", "mine"]).output == "mine"
    assert not capsys.readouterr().err


def test_a_file_writes_nothing_else(saved):
    """Each flag that names what is written, deleted or fetched is the command line's."""
    writes = {"output": "x", "run_id": "x", "resume_training_from": "x", "show_views": "x"}
    writes |= {"dry_run": "x", "download": True, "auto_resume": True}
    config = Pretrain(dataset="cifar10", encoder="resnet6", **writes)
    plain = parse_pretrain(saved(config))
    assert {name: getattr(plain, name) for name in writes} == {
        name: options_of(Pretrain)[name].default for name in writes
    }
    flags = saved(Linear(dataset="digits", encoder="resnet6", eval=("supervised",), mine="x"))
    assert parse_linear(flags).mine is None


def test_a_line_may_take_a_saved_shortcut_back(saved):
    flags = saved(parse_pretrain([*DIGITS, "--lars", "--dali"]))
    assert parse_pretrain([*flags, "--optimizer", "adamw"]).optimizer == "adamw"
    assert parse_pretrain([*flags, "--backend", "memory"]).backend == "memory"
    flags = saved(parse_pretrain([*DIGITS, "--optimizer", "adamw"]))
    assert parse_pretrain([*flags, "--lars"]).optimizer == "lars"


def test_what_the_file_has_and_the_line_has_no_use_for_is_left_out_with_a_warning(saved, capsys):
    run = [*DIGITS, "--scheduler", "step", "--lr_decay_steps", "3", "--supervised"]
    flags = saved(parse_pretrain(run))
    config = parse_pretrain([*flags, "--scheduler", "cosine", "--method", "simsiam"])
    assert config.lr_decay_steps == ()
    assert config.method_options == {}
    assert capsys.readouterr().err == (
        "warning: ignored --lr_decay_steps, which needs --scheduler step or warmup_step.\n"
        "warning: ignored --supervised, which needs --method clip, simclr or supcon.\n"
    )


EVALUATED = [*DIGITS, "--pretrained_feature_extractor", "run"]


def test_what_an_evaluation_has_no_use_for_is_ignored_with_a_warning(capsys):
    """bash_files/run_linear.sh says how it trains whatever is evaluated."""
    training = "--epochs 50 --optimizer adam --lr_decay_steps 60 80 --lr 0.3".split()
    config = parse_linear([*EVALUATED, "--eval", "knn", "logistic", *training, "--dali"])
    assert config == parse_linear([*EVALUATED, "--eval", "knn", "logistic"])
    said = capsys.readouterr().err
    assert said.splitlines() == [
        "warning: ignored --optimizer, --lr_decay_steps, --epochs and --lr, which need --eval "
        "linear, all, finetune or supervised.",
        "warning: ignored --backend, which needs --augment or --eval finetune or supervised.",
    ]
    for words in (["linear"], ["knn", "linear"], ["all"], ["finetune"]):
        assert parse_linear([*EVALUATED, "--eval", *words, "--epochs", "50"]).epochs == 50
        assert not capsys.readouterr().err
    parse_linear([*EVALUATED, "--last_batch_fill"])
    reason = "which needs --augment or --eval finetune or supervised"
    assert capsys.readouterr().err == f"warning: ignored --last_batch_fill, {reason}.\n"
    for words in (["--augment"], ["--eval", "finetune"]):
        assert parse_linear([*EVALUATED, *words, "--last_batch_fill"]).last_batch_fill
        assert not capsys.readouterr().err


def test_only_the_first_process_warns(saved, monkeypatch, capsys, made_losses):
    monkeypatch.setenv("LOCAL_RANK", "1")
    parse_pretrain([*DIGITS, "--method", "simsiam", "--temperature", "0.2"])
    assert not capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "No such file or directory"),
        ("{", "not JSON"),
        (to_json(Linear(dataset="digits", encoder="a", pretrained_feature_extractor="b")), "other"),
        (
            '{"version": 1, "program": "main_contrastive", "lr": -1, "x": 1}',
            "--lr must be above 0, not -1.",
        ),
        (b"\xff\xfe\x00", "not text"),
    ],
)
def test_a_config_file_that_is_refused(text, message, tmp_path):
    path = tmp_path / "config.json"
    if text is not None:
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ConfigError) as error:
        parse_pretrain([*DIGITS, "--config", str(path)])
    assert message in str(error.value)
    assert all(line.startswith("--config") and str(path) in line for line in error.value.args)


def test_the_settings_of_the_losses(made_losses):
    known = signature.losses()
    assert list(known) == ["barlow_twins", "cosine", "dcl", "kcl", "nt_xent"]
    assert signature.pairwise() == ["barlow_twins", "dcl", "kcl", "nt_xent"]
    hints = {name: {n: s.hint for n, s in loss.options.items()} for name, loss in known.items()}
    assert hints["nt_xent"] == {"temperature": float, "chunk": int | None}
    assert hints["dcl"] == {"temperature": float, "weighted": bool}
    assert hints["kcl"].keys() == {"kernel", "margin"}  # no word says `f: Any`
    assert known["kcl"].options["kernel"].choices == ("imq", "log")
    assert known["nt_xent"].options["chunk"].about["help"] == "anchors worked on at once"


def test_the_settings_of_the_chosen_loss(made_losses):
    config = parse_pretrain([*DIGITS, "--loss", "kcl", "--kernel", "log"])
    assert config.loss_options == {"kernel": "log"}
    assert config.loss_settings == {"kernel": "log", "margin": "math.pi / 18"}
    assert parse_pretrain(DIGITS).loss_settings == {"temperature": 0.2, "chunk": None}
    barlow = parse_pretrain([*DIGITS, "--method", "barlow_twins", "--lamb", "0.1"])
    assert (barlow.loss_name, barlow.loss_options) == ("barlow_twins", {"lamb": 0.1})


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (
            "--loss kcl --temperature 0.2",
            "--temperature needs --method nce or --loss dcl or nt_xent.",
        ),
        ("--kernel log", "--kernel needs --loss kcl."),
        ("--method simsiam --chunk 3", "--chunk needs --method clip, simclr or supcon."),
        ("--weighted", "--weighted needs --loss dcl."),
        ("--loss kcl --kernel imp", "--kernel must be imq or log, not imp; did you mean imq?"),
        (
            "--loss kcll",
            "unknown loss kcll; did you mean kcl?",
        ),
        (
            "--loss cosine",
            "unknown loss cosine; choose from barlow_twins, dcl, kcl, nt_xent, MODULE:NAME.",
        ),
        ("--chunk 1.5", "--chunk must be a whole number, not 1.5."),
    ],
)
def test_settings_of_losses_that_are_refused(line, message, made_losses):
    with pytest.raises(ConfigError) as error:
        parse_pretrain([*DIGITS, *line.split()])
    assert str(error.value).startswith(message)
    assert len(error.value.args) == 1


def test_an_option_that_nothing_has_is_said():
    """As a file has it of a method of one's own that had it when the file was written."""
    said = "is an option of neither the method nor the loss"
    assert foreign_options(parse_pretrain(DIGITS), ["extra"]) == {"extra": said}


def test_a_saved_setting_of_another_loss_is_left_out(made_losses, saved, capsys):
    flags = saved(parse_pretrain([*DIGITS, "--chunk", "5", "--temperature", "0.3"]))
    config = parse_pretrain([*flags, "--loss", "dcl"])
    assert config.loss_options == {"temperature": 0.3}
    assert capsys.readouterr().err == "warning: ignored --chunk, which needs --loss nt_xent.\n"


def test_a_list_of_numbers_ends_where_the_numbers_end():
    config = parse_pretrain(["--gpus", "0", "1", *DIGITS, "--crop_scale", "0.2", "1"])
    assert (config.gpus, config.crop_scale) == ((0, 1), (0.2, 1.0))
    assert parse_pretrain(["--name", "x", *DIGITS]).encoder == "resnet6_w16"
    assert parse_pretrain([*DIGITS, "--epochs=3", "--epochs", "4"]).epochs == 4
    assert parse_pretrain([*DIGITS, "--name=--lr"]).name == "--lr"


def test_a_list_of_words_ends_at_the_next_flag():
    weights = ["--pretrained_feature_extractor", "x.pth"]
    lists = ["--layer", "-2", "blocks.6:mean", "--transfer", "cifar100", "stl10", *weights]
    config = parse_linear([*DIGITS, *lists])
    assert config.layer == ("-2", "blocks.6:mean")
    assert config.transfer == ("cifar100", "stl10")


def test_frozen():
    with pytest.raises(FrozenInstanceError):
        parse_pretrain(DIGITS).epochs = 3


def test_batches_and_learning_rates(saved):
    config = parse_pretrain([*DIGITS, "--devices", "2"])
    assert (config.processes, config.global_batch(), config.batch_size_per_device) == (2, 256, 128)
    assert config.scaled_lr() == 0.3
    assert config.global_batch(4) == 512
    assert config.scaled_lr(4) == 0.6
    config = parse_pretrain([*DIGITS, "--global_batch_size", "512", "--gpus", "1", "2"])
    assert (config.processes, config.global_batch(), config.batch_size_per_device) == (2, 512, 256)
    assert config.global_batch(4) == 512
    assert parse_pretrain([*DIGITS, "--no-lr_scaling"]).scaled_lr(4) == 0.3
    lejepa = [*DIGITS, "--method", "lejepa"]
    assert parse_pretrain(lejepa).scaled_lr(128) == 2e-3
    assert parse_pretrain([*lejepa, "--lr_scaling"]).scaled_lr(4) == 4e-3
    assert parse_pretrain([*lejepa, "--optimizer", "sgd"]).scaled_lr(4) == 0.6
    assert parse_pretrain([*DIGITS, "--optimizer", "adam", "--lr", "1e-3"]).scaled_lr(4) == 1e-3
    before = saved(parse_pretrain([*lejepa, "--lr_scaling"]))
    assert parse_pretrain(before).scaled_lr(4) == 4e-3
    linear = parse_linear(POINTED)
    assert (linear.lr, linear.scaled_lr(), linear.weight_decay) == (None, 0.1, 0.0)
    assert parse_linear([*POINTED, "--lr_scaling"]).scaled_lr() == 0.05


@pytest.mark.parametrize(
    ("line", "name", "value"),
    [
        ("", "resolved_classifier_lr", 0.3),
        ("--lars", "resolved_classifier_lr", 0.3),
        ("--optimizer adam", "resolved_classifier_lr", 3e-3),
        ("--optimizer adamw --classifier_lr 30", "resolved_classifier_lr", 30.0),
        ("--batch_size 64 --bias_lr 0.1", "resolved_bias_lr", 0.025),
        ("--batch_size 64 --lr 0.2", "resolved_bias_lr", 0.05),
        ("--batch_size 256 --method barlow_twins", "resolved_bias_lr", 0.0048),
        ("--method barlow_twins --lars", "resolved_bias_lr", 0.15),
        ("", "encoding_size", 128),
        ("--method supcon", "encoding_size", 128),
        ("--method simsiam", "encoding_size", 2048),
        ("--method barlow_twins", "encoding_size", 2048),
        ("--method simsiam --encoding_size 512", "encoding_size", 512),
        ("--method sigmoid", "resolved_learned_lr", None),
        ("--method sigmoid --optimizer sgd", "resolved_learned_lr", 1e-3),
        ("--method sigmoid --learned_lr 0.01", "resolved_learned_lr", 0.01),
        ("--scheduler step", "resolved_lr_decay_rate", 0.1),
        ("--scheduler exponential", "resolved_lr_decay_rate", 0.95),
        ("--scheduler exponential --lr_decay_rate 0.5", "resolved_lr_decay_rate", 0.5),
        ("", "resolved_image_size", 16),
        ("--image_size 24", "resolved_image_size", 24),
        ("--multicrop", "resolved_small_crop_size", 7),
        ("--multicrop --image_size 224", "resolved_small_crop_size", 96),
        ("--multicrop --small_crop_size 12", "resolved_small_crop_size", 12),
        ("--method supcon", "supervised", True),
        ("", "loss_name", "nt_xent"),
        ("--method simsiam", "loss_name", "cosine"),
        ("--method barlow_twins", "loss_name", "barlow_twins"),
        ("--output /runs", "runs_folder", Path("/runs")),
        ("", "runs_folder", Path(__file__).parents[1] / "trained_models"),
    ],
)
def test_what_follows_from_the_settings(line, name, value):
    config = parse_pretrain([*DIGITS, *line.split()])
    options = config.method_settings
    assert (options[name] if name in options else getattr(config, name)) == value


@pytest.mark.parametrize(
    ("dataset", "size"),
    [
        ("digits", 16),
        ("cifar100", 32),
        ("svhn", 32),
        ("tiny_imagenet", 64),
        ("stl10", 96),
        ("food101", 224),
        ("imagenet", 224),
        ("folder", 224),
        ("torchvision:FashionMNIST", 28),
        ("torchvision:DTD", 224),
        ("webdataset:a.tar", 224),
    ],
)
def test_the_size_of_images(dataset, size):
    assert parse_pretrain([dataset, "resnet18"]).resolved_image_size == size


def test_every_field_is_in_json():
    config = Pretrain(dataset="digits", encoder="resnet6")
    there = json.loads(to_json(config)).keys() - {"version", "program"}
    assert there == {f.name for f in fields(Pretrain)} == asdict(config).keys()
    assert values_from_json(to_json(config))[0] is Pretrain


FAKE = '''"""A method of somebody's."""

from cl.bounds import Count, Share
from cl.methods._base import Method


class FakeNews(Method):
    """It.

    Args:
        loss: of something.
        width_of_it: how wide
            it is (3 in the paper)
        part: of the whole
        words: some
        module: no word says it.
    """

    def __init__(
        self,
        encoder,
        loss: PairwiseLoss = dcl,
        *,
        width_of_it: Count = 3,
        part: Share | None = None,
        words: tuple[Literal["a", "b"], ...] = ("a",),
        module: nn.Module | None = None,
        **base: Any,
    ):
        super().__init__(encoder, **base)
'''


def test_a_method_is_read_from_its_source(tmp_path):
    (tmp_path / "fake_news.py").write_text(FAKE)
    (tmp_path / "_base.py").write_text((signature.FOLDERS["method"] / "_base.py").read_text())
    (tmp_path / "helper.py").write_text("class Other:\n    pass\n")
    fake = signature.read_thing(tmp_path / "fake_news.py", "method", "fake_news", "fakenews")
    assert fake
    assert not signature.read_thing(tmp_path / "helper.py", "method", "helper", "helper")
    assert (fake.name, fake.loss, fake.any_loss) == ("fake_news", "dcl", True)
    own = ("width_of_it", "part", "words")
    width, part, words = (fake.options[name] for name in own)
    assert width.about["help"] == "how wide it is (3 in the paper)"
    assert (width.hint, width.default, width.allowed) == (int, 3, "a whole number of at least 1")
    assert (part.hint, part.default, part.allowed) == (float | None, None, "a number from 0 to 1")
    assert (words.choices, words.default, words.many) == (("a", "b"), ("a",), None)
    assert "module" not in fake.options
    assert "ema_encoder" in fake.options  # the base class's


def test_a_config_file_of_before_a_method_had_options_of_its_own(saved, tmp_path):
    """Every method's stood beside the other settings, with None or auto for a default."""
    now = json.loads(to_json(parse_pretrain([*DIGITS, "--hidden_mlp", "64"])))
    options = now.pop("method_options")
    others = {"encoding_size": None, "learn": "auto", "pred_hidden_mlp": 512, "gamma_steps": None}
    file = tmp_path / "config.json"
    file.write_text(json.dumps(now | options | others))
    config = parse_pretrain(["--config", str(file)])
    assert config.method_options == {"hidden_mlp": 64}
    assert config.method_settings["encoding_size"] == 128


@pytest.mark.parametrize(
    ("line", "recipes", "kept"),
    [
        *((f"--recipe {name}", 2, "bilinear") for name in BILINEAR_BEFORE),
        ("--recipe byol --crop_interpolation bicubic", 2, "bicubic"),
        ("--recipe byol", 0, None),  # a file that no run wrote is of now
        ("--recipe simsiam", 1, None),  # whose crops are what they were
        ("", 1, None),
    ],
)
def test_a_run_of_before_keeps_its_crops(saved, tmp_path, line, recipes, kept):
    """Which were bilinear with every paper's recipe, and no setting."""
    config = parse_pretrain([*DIGITS, *line.split()])
    now = json.loads(to_json(config, {"recipes": [{}] * recipes}))
    if config.crop_interpolation is None:
        assert now.pop("crop_interpolation") is None
    file = tmp_path / "config.json"
    file.write_text(json.dumps(now))
    assert parse_pretrain(["--config", str(file)]).crop_interpolation == kept
    file.write_text(to_json(config, {"recipes": [{}] * recipes}))  # a run of now has its paper's
    again = parse_pretrain(["--config", str(file)])
    assert again.crop_interpolation == config.crop_interpolation


@pytest.mark.parametrize(
    ("line", "recipe", "kept"),
    [
        ("", {}, "bilinear"),  # there was no such setting
        ("", {"crop_interpolation": "bilinear"}, "bilinear"),  # it was not the preset's
        ("", {"crop_interpolation": "bicubic"}, None),
        ("--crop_interpolation bicubic", {"crop_interpolation": "bicubic"}, "bicubic"),
        ("--recipe simsiam", {"crop_interpolation": "bilinear"}, None),
    ],
)
def test_a_run_of_captions_of_before_keeps_its_crops(saved, tmp_path, line, recipe, kept):
    words = "captions:a.jsonl resnet18 --method clip --text_encoder bag_w8".split()
    config = parse_pretrain([*words, *line.split()])
    now = json.loads(to_json(config, {"recipes": [recipe]}))
    if not recipe:
        assert now.pop("crop_interpolation") is None
    file = tmp_path / "config.json"
    file.write_text(json.dumps(now))
    assert parse_pretrain(["--config", str(file)]).crop_interpolation == kept


def test_the_papers_that_changed_are_the_bicubic_ones():
    bicubic = {name for name, views in PAPERS.items() if BICUBIC.items() <= views[0].items()}
    assert {*BILINEAR_BEFORE} <= bicubic
