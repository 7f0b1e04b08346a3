"""What is known of the data sets: their rows, read from the source, for importing takes seconds."""

import ast
import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from cl.config.own import FORM, constant, file_of, syntax_of

SETS = Path(__file__).parents[1] / "data" / "sets"
STRINGS = ("string", "large_string")  # types of columns of texts
RECIPES = SETS.with_name("augment") / "recipe.py"
# Flags of reading a data set by its name, which say nothing of one that Python gives.
READING = ("data_folder", "train_dir", "val_dir", "class_list", "data_fraction", "skip_corrupt")
READING += ("val_fraction", "image_column", "label_column", "label_separator")
# Flags of decoding its images, which an evaluation has for the items of every data set.
DECODED = ("value_range", "channels", "exif_orientation", "max_pixels")


@cache
def defaults() -> dict[str, Any]:
    """What holds where a row does not say it."""
    return constant(SETS / "_rows.py", "DEFAULTS")


@cache
def rows() -> dict[str, dict[str, Any]]:
    """The row of every data set by its name: a file without leading underscore."""
    found = {file.stem: defaults() | row_in(file) for file in SETS.glob("[!_]*.py")}
    return dict(sorted(found.items(), key=lambda item: (item[1]["order"], item[0])))


def row_in(file: Path) -> dict[str, Any]:
    """What a file says of its data set.

    Raises:
        ValueError: something that no row says.
    """
    row = constant(file, "ROW") or {}
    if not isinstance(row, dict):
        raise ValueError(f"{file}: ROW must be a dictionary.")
    for key in row:
        if key not in defaults():
            raise ValueError(f"{file}: ROW has {key}; it may have {', '.join(defaults())}.")
    return row


def row_of(dataset: str) -> dict[str, Any]:
    """What is known of a data set; `size` is that of what stands behind the colon.

    One of the user's own may have a row beside its function.
    """
    name, _, argument = dataset.partition(":")
    row = rows().get(name)
    if row is None:
        file = file_of(dataset)
        own = constant(SETS / "_rows.py", "OWN")
        row = {**defaults(), **own, **(row_in(file) if file else {})}
    return row | {"size": row["sizes"].get(argument, row["size"])}


def form(name: str) -> str:
    """How a data set is called on a command line, as torchvision:NAME."""
    argument = rows()[name]["argument"]
    return f"{name}:{argument}" if argument else name


def closed() -> list[str]:
    """The names behind which nothing may stand."""
    return [name for name, row in rows().items() if not row["argument"]]


def open_forms() -> list[str]:
    """The forms of the others, and that of the user's own."""
    return [*(form(name) for name, row in rows().items() if row["argument"]), FORM]


def of_path(word: str) -> str:
    """The end of an error message about a path that stands where a data set's name must.

    >>> of_path("cl/nowhere")
    ''
    """
    path = Path(word).absolute()
    if path.is_dir():
        return (
            f"; it is a folder: give folder --data_folder {path} if it has a folder for each "
            f"class, unlabeled:{path} if its images have no labels"
        )
    if not path.is_file():
        return ""
    kinds = [name for name, row in rows().items() if row["argument"] in ("FILE", "PATH")]
    return f"; it is a file: say what it holds, as {kinds[0]}:{path}; there are {', '.join(kinds)}"


def describe_datasets() -> str:
    """All of them, for --help."""
    each = ", ".join(f"{form(name)} ({row['help']})" for name, row in rows().items())
    return f"data set: {each}, or {FORM} (your own, see docs/data.md)"


def sizes() -> str:
    """The sides of their images, for --help."""
    by_size: dict[int, list[str]] = {}
    for name, row in rows().items():
        by_size.setdefault(row["size"], []).append(name)
    rest = defaults()["size"]
    said = [f"{' '.join(by_size[size])} {size}" for size in sorted(by_size) if size != rest]
    return f"{', '.join(said)}, else {rest}"


@dataclass(frozen=True)
class Having:
    """The data sets whose row says yes to one of some keys."""

    keys: tuple[str, ...]

    def __contains__(self, dataset: str) -> bool:
        row = row_of(dataset)
        return any(row[key] for key in self.keys)

    def __iter__(self) -> Iterator[str]:
        return (form(name) for name in rows() if name in self)


@dataclass(frozen=True)
class OfKind:
    """Kinds of samples: images, text, image-text."""

    kinds: tuple[str, ...]

    def __contains__(self, kind: str) -> bool:
        return kind in self.kinds

    def __iter__(self) -> Iterator[str]:
        return iter(self.kinds)


def kind_of(dataset: str, folder: str = "") -> str:
    """What the samples of a data set are: images, text or image-text.

    Args:
        dataset: its name, or one of the user's own.
        folder: of data sets, in which a table says it by its columns.
    """
    given = getattr(dataset, "object", None)
    if given is not None:
        return getattr(getattr(given, "train", None), "kind", "images")
    row = row_of(dataset)
    types = column_types(Path(folder) / dataset.partition(":")[2]) if row["columns"] else set()
    return "text" if not types.isdisjoint(STRINGS) and "Image" not in types else row["kind"]


def makes_views(dataset: str) -> bool:
    """Whether it is a DataLoader of the user's own, or a pair of them, which makes the views."""
    given = getattr(dataset, "object", None)
    first = given[0] if isinstance(given, tuple) and given else given
    return hasattr(first, "batch_sampler") or hasattr(first, "train_dataloader")


def column_types(place: Path) -> set[str]:
    """The types of the columns of a data set that Hugging Face's `datasets` saved in a folder."""
    types = set[str]()
    for file in (*place.glob("dataset_info.json"), *place.glob("*/dataset_info.json")):
        try:
            features = json.loads(file.read_text(encoding="utf-8")).get("features") or {}
            for each in features.values():
                types |= {str(each.get("_type")), str(each.get("dtype"))}
        except (OSError, ValueError, AttributeError):  # of which its reader tells
            continue
    return types


def is_file(dataset: str) -> bool:
    """Whether it is one of the user's own, MODULE:NAME of a module that is there."""
    return file_of(dataset) is not None


def source(dataset: str) -> str:
    """The docstring of its file, on one line."""
    name = dataset.partition(":")[0]
    file = SETS / f"{name}.py" if name in rows() else file_of(dataset)
    return " ".join((ast.get_docstring(syntax_of(file)) or "").split()) if file else ""


@cache
def recipes() -> tuple[str, ...]:
    """The papers whose augmentations are known: the keys of `PAPERS`, read from the source."""
    papers = constant_of_recipes("PAPERS")
    assert isinstance(papers, ast.Dict)
    return tuple(ast.literal_eval(key) for key in papers.keys if key)


@cache
def bilinear_before() -> tuple[str, ...]:
    """The papers whose crops became bicubic when that was a setting, read from the source."""
    return ast.literal_eval(constant_of_recipes("BILINEAR_BEFORE"))


def constant_of_recipes(name: str) -> ast.expr:
    """The value of an annotated constant in the source of the recipes."""
    for node in ast.parse(RECIPES.read_text(encoding="utf-8")).body:
        target = node.target if isinstance(node, ast.AnnAssign) else None
        if isinstance(target, ast.Name) and target.id == name:
            assert isinstance(node, ast.AnnAssign)
            assert node.value
            return node.value
    raise LookupError(f"{name} is missing in {RECIPES}")
