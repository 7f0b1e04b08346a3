"""What every data set promises: its file is all that knows it. And data sets of the user's own."""

import ast
import inspect
import re
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import jaxtyping
import numpy as np
import pytest

from cl.config import datasets, parse_linear, parse_pretrain
from cl.config.helptext import help_of
from cl.config.programs import Linear, Pretrain
from cl.data.augment.recipe import Recipe, preset
from cl.data.sets import DEFAULTS, NAMES, dataset_row, load
from cl.data.sets._rows import dataset_names, module_of

ROOT = Path(__file__).parents[2]
SETS = ROOT / "cl" / "data" / "sets"
LIBRARIES = {re.split(r"\W", line)[0] for line in (ROOT / "requirements.txt").read_text().split()}


@pytest.mark.parametrize("name", NAMES)
def test_a_row_says_what_can_be_said(name: str) -> None:
    row = module_of(name).ROW
    assert row.keys() <= DEFAULTS.keys()
    assert row["help"]
    assert [type(row[key]) for key in row] == [type(DEFAULTS[key]) for key in row]
    recipe = preset(name)
    assert len(recipe.mean) == len(recipe.std) == 3
    own = {"size", "mean", "std", "views", "shared"}
    assert row.get("recipe", {}).keys() <= {f.name for f in fields(Recipe)} - own


@pytest.mark.parametrize("name", NAMES)
def test_the_command_line_reads_the_same_row(name: str) -> None:
    for word in (name, *(f"{name}:{argument}" for argument in dataset_row(name)["sizes"])):
        assert datasets.row_of(word) == dataset_row(word)
    word = f"{name}:x" if dataset_row(name)["argument"] else name
    words = {"text": ["bag_w16"], "image-text": ["resnet18", "--method", "clip"]}
    line = [word, *words.get(dataset_row(name)["kind"], ["resnet18"])]
    assert parse_pretrain(line).resolved_image_size == preset(word).size


@pytest.mark.parametrize("name", NAMES)
def test_a_file_reads_its_set_and_help_and_documents_name_it(name: str) -> None:
    assert len(inspect.signature(module_of(name).read).parameters) == 2  # name and where
    said = " ".join(help_of(Pretrain).split())
    assert f"{datasets.form(name)} ({datasets.rows()[name]['help']})" in said
    assert f"`{datasets.form(name)}`" in (ROOT / "docs" / "data.md").read_text()


def test_the_names_are_those_of_the_folder() -> None:
    files = {file.stem for file in SETS.glob("*.py") if not file.stem.startswith("_")}
    assert {*NAMES} == {*datasets.rows()} == files
    assert [*datasets.rows()] == dataset_names()
    for program in (Pretrain, Linear):
        assert all(name in help_of(program) for name in files)


def naming(file: Path) -> Iterator[str]:
    """The texts in a file's source that are a data set's name, or go on behind its colon."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        text = node.value if isinstance(node, ast.Constant) else None
        if isinstance(text, str) and text.partition(":")[0] in NAMES and text not in LIBRARIES:
            yield f"{file.relative_to(ROOT)}:{node.lineno}: {text}"


def test_no_other_file_knows_a_data_set_by_its_name() -> None:
    """But as the name of a library that is required, as torchvision is."""
    others = [f for f in (ROOT / "cl").rglob("*.py") if not f.is_relative_to(SETS)]
    assert not [text for file in (*others, *ROOT.glob("main_*.py")) for text in naming(file)]
    assert [*naming(ROOT / "tests" / "test_config.py")]


OWN = '''
"""Flowers."""
from PIL import Image
import numpy as np
from cl.data.sets import Images, Source, split

ROW = {"size": 24, "mean": (0.5, 0.4, 0.3), "recipe": {"hue": 0.0}, "class_folders": True}

def read(name, where):
    pixels = np.random.default_rng(0).integers(0, 256, (60, 24, 24, 3), np.uint8)
    train, val = split(Images(np.arange(60) % 3, pixels), 0.2)
    return Source(name, ["rose", "tulip", "daisy"], train, val, str(where.folder))

class Petals:
    """Map-style, as torchvision's."""
    classes = ["rose", "tulip"]
    def __init__(self, root, train=True):
        self.numbers = range(20 if train else 4)
    def __len__(self):
        return len(self.numbers)
    def __getitem__(self, index):
        return Image.new("RGB", (9, 8), (index, 0, 0)), index % 2

def whole(name, where):
    return Petals(where.folder)

def both(name, where):
    return Petals(where.folder), Petals(where.folder, train=False)

made = Petals("")

def nothing(name, where):
    return None

def made_of(pixels, labels, classes="ab"):
    part = Images(labels, pixels)
    return Source("own", [*classes], part, part)

X = np.zeros((4, 8, 8, 3), np.uint8)

def floats(name, where):
    return made_of(X / 255, np.arange(4) % 2)

def gray(name, where):
    return made_of(X[..., 0], np.arange(4) % 2)

def halves(name, where):
    return made_of(X, np.arange(4) / 2)

def fewer(name, where):
    return made_of(X, np.arange(3) % 2)

def unknown(name, where):
    return made_of(X, np.arange(4))

def small(name, where):
    return made_of(X, (np.arange(4) % 2).astype(np.uint8))
'''


@pytest.fixture
def unchecked() -> Iterator[None]:
    """No types are checked, as in a user's run."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a module with data sets, which Python finds."""
    module = f"own_{tmp_path.name.strip('_').replace('-', '_')}"
    (tmp_path / module).mkdir()
    (tmp_path / module / "__init__.py").write_text("")
    (tmp_path / module / "flowers.py").write_text(OWN)
    (tmp_path / module / "plain.py").write_text(OWN.replace("ROW", "NOTHING"))
    monkeypatch.syspath_prepend(tmp_path)
    return module


def test_a_users_own_has_the_row_of_its_module_or_the_defaults(own: str) -> None:
    word = f"{own}.flowers:read"
    config = parse_pretrain([word, "resnet18", "--train_dir", "a"])
    assert (config.dataset, config.resolved_image_size, config.train_dir) == (word, 24, "a")
    assert preset(word) == Recipe(size=24, mean=(0.5, 0.4, 0.3), hue=0.0)
    assert not datasets.row_of(word)["data_folder"]
    source = load(word, "data")
    assert (source.name, source.note, len(source.train), len(source.val)) == (word, "data", 48, 12)
    plain = f"{own}.plain:read"
    assert parse_pretrain([plain, "resnet18"]).resolved_image_size == 224
    assert preset(plain) == Recipe(size=224)
    with pytest.raises(ValueError, match="--train_dir needs DATASET imagenet100, "):
        parse_pretrain([plain, "resnet18", "--train_dir", "a"])
    run = ["--pretrained_feature_extractor", "run"]
    assert parse_linear([word, "resnet18", *run]).resolved_image_size == 24


@pytest.mark.parametrize(
    ("name", "number", "labels"),
    [("Petals", 20, [0, 1, 0, 1]), ("both", 20, [0, 1, 0, 1]), ("whole", 18, [1, 0])],
)
def test_map_style_data_sets(own: str, name: str, number: int, labels: list[int]) -> None:
    source = load(f"{own}.flowers:{name}", "")
    assert source.classes == ["rose", "tulip"]
    assert len(source.train) == number
    assert sorted(source.val.labels) == sorted(labels)
    assert source.val.pixel(0).shape == (8, 9, 3)
    if name == "both":
        assert [int(source.train.pixel(i)[0, 0, 0]) for i in range(20)] == [*range(20)]


def test_a_data_set_that_is_made_already(own: str) -> None:
    source = load(f"{own}.flowers:made", "")
    assert np.bincount(source.train.labels).tolist() == [9, 9]


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("flowers:nowhere", r"DATASET \S+flowers:nowhere: there is no nowhere in \S+flowers"),
        ("flowers:nothing", r"nothing gives a NoneType; it must give a cl.data.sets.Source, or"),
        ("flowers:floats", r"pixels are float64 of shape \(4, 8, 8, 3\); Images takes uint8 \(n h"),
        ("flowers:gray", r"pixels are uint8 of shape \(4, 8, 8\); .* and from_dataset\("),
        ("flowers:halves", r"labels are float64 of shape \(4,\); Images takes whole numbers"),
        ("flowers:fewer", "3 labels, but 4 pixels"),
        ("flowers:unknown", r"DATASET \S+flowers:unknown has a label 3, but 2 names of classes"),
        ("weeds:read", r"weeds cannot be imported \(No module named .*; is its folder on PYTHONPA"),
    ],
)
def test_a_users_own_that_is_wrong(own: str, unchecked: None, word: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        load(f"{own}.{word}", "")


def test_labels_of_any_whole_numbers_are_taken(own: str, unchecked: None) -> None:
    labels = load(f"{own}.flowers:small", "").train.labels
    assert (labels.tolist(), labels.dtype) == ([0, 1, 0, 1], np.int64)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("ROW = {'sise': 3}", "plain.py: ROW has sise; it may have help, "),
        ("ROW = dict(size=3)", "plain.py: ROW must be made of literals only"),
        ("ROW = {", "plain.py is not valid Python: "),
    ],
)
def test_a_row_that_is_wrong(own: str, row: str, message: str, tmp_path: Path) -> None:
    (tmp_path / own / "plain.py").write_text(row)
    with pytest.raises(ValueError, match=message):
        datasets.row_of(f"{own}.plain:read")


def test_a_recipe_that_is_wrong(own: str, tmp_path: Path) -> None:
    (tmp_path / own / "plain.py").write_text("ROW = {'recipe': {'blurr': 0.0}}")
    with pytest.raises(
        ValueError, match="plain:read: ROW's recipe has blurr; choose from size, views"
    ):
        preset(f"{own}.plain:read")


@pytest.mark.parametrize(
    ("word", "end"),
    [
        ("weeds.flowers:read", "; Python finds no module weeds.flowers; is its folder on PYTHONPA"),
        ("cl.data.setz:read", "; Python finds no module cl.data.setz; is its folder on PYTHONPATH"),
        ("weeds.flowers:", ":PATTERN, MODULE:NAME."),
        ("weeds/flowers:read", ":PATTERN, MODULE:NAME."),
        ("sys:read", "; Python finds no module sys; is its folder on PYTHONPATH?"),
    ],
)
def test_a_module_that_python_does_not_find(word: str, end: str) -> None:
    with pytest.raises(ValueError, match=f"unknown data set {word}; ") as error:
        parse_pretrain([word, "resnet18"])
    assert end in str(error.value).splitlines()[0]
