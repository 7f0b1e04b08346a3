"""A thing of the user's own, `package.module:name`: Python finds its file, nothing is imported."""

import ast
from importlib.machinery import PathFinder
from importlib.util import find_spec
from pathlib import Path
from typing import Any

FORM = "MODULE:FUNCTION"


def file_of(word: str) -> Path | None:
    """The source of the module in `package.module:name`; None where there is none.

    >>> file_of("cl.config.plugin:file_of").name, file_of("cl.config.plugins:file_of")
    ('plugin.py', None)
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
    """The names between the dots of a module; none if the word is not `package.module:name`."""
    module, _, name = word.partition(":")
    packages = module.split(".")
    return packages if all(part.isidentifier() for part in (*packages, name)) else []


def absent(word: str) -> str:
    """The tail of the message about a word that may have been meant as `package.module:name`."""
    packages = packages_of(word)
    if not packages or file_of(word):
        return ""
    return f"; Python finds no module {'.'.join(packages)}, is its folder on PYTHONPATH?"


def literal(file: Path, name: str) -> dict[str, Any]:
    """The dictionary of literals that a module calls by a name; empty if it has none.

    Raises:
        ValueError: it is something else.
    """
    try:
        body = ast.parse(file.read_text(encoding="utf-8")).body
    except SyntaxError as error:
        raise ValueError(f"{file} is no Python: {error}") from None
    for node in body:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        if any(isinstance(target, ast.Name) and target.id == name for target in targets):
            try:
                found = ast.literal_eval(getattr(node, "value", node))
            except ValueError:
                found = None
            if not isinstance(found, dict):
                raise ValueError(f"{file}: {name} must be a dictionary of literals")
            return found
    return {}
