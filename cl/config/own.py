"""A thing of the user's own: `package.module:Name` on a command line, or an object in a program."""

import ast
from functools import cache
from importlib.machinery import PathFinder
from importlib.util import find_spec
from pathlib import Path
from typing import Any

FORM = "MODULE:NAME"


class Own(str):
    """An object as a word: `module:qualified_name` of it or of its type; `object` is itself.

    Args:
        thing: a class, a function, a module of PyTorch, a data set, ...
    """

    __slots__ = ("object",)
    object: Any

    def __new__(cls, thing: Any) -> "Own":
        named = thing if hasattr(thing, "__qualname__") else type(thing)
        word = super().__new__(cls, f"{named.__module__}:{named.__qualname__}")
        word.object = thing
        return word

    def __deepcopy__(self, _: Any) -> "Own":
        return self  # the object is the user's


def called(word: str) -> str:
    """How messages call a thing: by the name that an object says it has, or by its word."""
    name = getattr(getattr(word, "object", None), "name", None)
    return name if isinstance(name, str) else word


def is_own(word: object) -> bool:
    """Whether the value of a setting stands for an object that the program itself handed over."""
    return isinstance(word, Own)


def file_of(word: str) -> Path | None:
    """The source of the module in `package.module:Name`; None where there is none.

    Python's finders look for it, nothing is imported.

    >>> file_of("cl.config.own:file_of").name, file_of("cl.config.owns:file_of")
    ('own.py', None)
    """
    packages = packages_of(word)
    if not packages:
        return None
    try:
        spec = find_spec(packages[0])
    except (ImportError, ValueError):  # of a finder that forbids it, of __main__
        return None
    for depth in range(1, len(packages)):
        if spec is None or spec.submodule_search_locations is None:
            return None
        path = list(spec.submodule_search_locations)
        spec = PathFinder.find_spec(".".join(packages[: depth + 1]), path)
    if spec is None or not (spec.origin or "").endswith(".py"):
        return None
    return Path(spec.origin or "")


def packages_of(word: str) -> list[str]:
    """The names between the dots of a module; none if the word is not `package.module:Name`."""
    module, _, name = word.partition(":")
    packages = module.split(".")
    return packages if all(part.isidentifier() for part in (*packages, name)) else []


def absent(word: str) -> str:
    """What to say of a word that may have been meant as `package.module:Name`."""
    packages = packages_of(word)
    if not packages or file_of(word):
        return ""
    return f"Python finds no module {'.'.join(packages)}; is its folder on PYTHONPATH?"


@cache
def syntax_of(file: Path) -> ast.Module:
    """The syntax tree of a file.

    Raises:
        ValueError: it is no Python.
    """
    try:
        return ast.parse(file.read_text(encoding="utf-8"))
    except SyntaxError as error:
        raise ValueError(f"{file} is not valid Python: {error}.") from None


def constant(file: Path, name: str) -> Any:
    """The literal that a module assigns to a name; None if it assigns nothing to it.

    Raises:
        ValueError: what it assigns is no literal.
    """
    for node in syntax_of(file).body:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        if any(isinstance(target, ast.Name) and target.id == name for target in targets):
            try:
                return ast.literal_eval(getattr(node, "value", node))
            except ValueError:
                raise ValueError(f"{file}: {name} must be made of literals only.") from None
    return None
