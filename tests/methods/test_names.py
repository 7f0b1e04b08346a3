"""Methods, evaluations, data sets and schedules are known by their files and by no list elsewhere.

A comparison with such a name, or a collection or type that holds one, is a list that the next
contributor would have to find.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROOMS = ("methods", "eval", "data/sets", "schedules")

# Words that are the name of something else there.
OTHER_THINGS = {
    # recipes are named after the papers that they are from, and fit any method
    "cl/data/augment/recipe.py": {
        *("simclr", "byol", "barlow_twins", "vicreg", "simsiam", "supcon", "sigmoid")
    },
    "cl/callbacks/finite.py": {"step"},  # of an optimizer's state
    "cl/config/options/data.py": {"torchvision"},  # the backend
    "cl/data/augment/gpu.py": {"none"},  # a setting of torch
    "cl/data/module.py": {"torchvision"},  # the backend
    "cl/checkpoints/formats.py": {"linear"},  # a layer in files of other projects
    "cl/config/programs.py": {"supervised"},  # an option of methods
    "cl/compare/table.py": {"folder"},  # a key of the table
    "cl/versions.py": {"torchvision"},  # the package
    "cl/logs.py": {"step"},  # a column
    "cl/metrics.py": {"step"},  # a column
    "cl/report/__init__.py": {"linear", "knn"},  # numbers of result.json
    "cl/report/charts.py": {"step"},  # a column
    "cl/runs/__main__.py": {"linear", "knn"},  # numbers of result.json
    "cl/runs/choosing.py": {"none"},  # a word for a value that is not there
    "cl/runs/listing.py": {"linear", "knn", "folder"},  # numbers of result.json, a key
}


def names(room: str) -> set[str]:
    """Names of a room's files: its things."""
    return {p.stem for p in (ROOT / "cl" / room).glob("[!_]*.py")}


def places(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Words that are compared, or stand in a collection or a type, with their lines."""
    for node in ast.walk(tree):
        found: list[ast.expr | None] = []
        if isinstance(node, ast.Compare):
            found = [node.left, *node.comparators]
        elif isinstance(node, ast.Tuple | ast.List | ast.Set):
            found = [*node.elts]
        elif isinstance(node, ast.Dict):
            found = [*node.keys]
        elif isinstance(node, ast.MatchValue):
            found = [node.value]
        elif isinstance(node, ast.Subscript) and ast.unparse(node.value) == "Literal":
            found = [node.slice]
        for each in found:
            if isinstance(each, ast.Constant) and isinstance(each.value, str):
                yield each.lineno, each.value


def lists(file: Path) -> list[str]:
    """The lines of a file that know a thing of a room by its name."""
    inside = file.relative_to(ROOT).as_posix()
    known = set().union(*(names(room) for room in ROOMS if not inside.startswith(f"cl/{room}/")))
    known -= OTHER_THINGS.get(inside, set())
    tree = ast.parse(file.read_text(encoding="utf-8"))
    return sorted({f"{inside}:{line}: {word}" for line, word in places(tree) if word in known})


FILES = sorted((ROOT / "cl").rglob("*.py"))


@pytest.mark.parametrize("file", FILES, ids=lambda f: f.relative_to(ROOT).as_posix())
def test_no_thing_is_known_by_name_outside_of_its_room(file: Path) -> None:
    assert not lists(file)


def test_a_list_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of the ways to name a method, and only these."""
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    room = tmp_path / "cl" / "methods"
    room.mkdir(parents=True)
    (room / "moco.py").touch()
    file = tmp_path / "cl" / "train.py"
    bad = ["x == 'moco'", "x in ('moco', 1)", "{'moco': 1}", "['moco']", "Literal['moco', 'b']"]
    file.write_text("\n".join([*bad, "Literal['moco']", "get('moco')", "'moco is a method'"]))
    assert lists(file) == [f"cl/train.py:{line}: moco" for line in range(1, 7)]


# What each module of a kind has under the same name.
INTERFACES = {"main", "negatives", "precondition", "read", "render", "views", "working_memory"}
INTERFACES |= {"__getattr__"}


def test_a_name_means_one_thing() -> None:
    """A function or class is defined in one module, but for things and what a kind has to have."""
    where: dict[str, list[str]] = {}
    for file in FILES:
        for node in ast.parse(file.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                where.setdefault(node.name, []).append(file.stem)
    twice = {name: files for name, files in where.items() if len(files) > 1}
    assert {n: f for n, f in twice.items() if n not in INTERFACES and set(f) != {n}} == {}
