"""A loss's keyword-only parameters are settings, read from its source: importing takes seconds."""

import ast
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

from cl.config.setting import Setting

LOSSES = Path(__file__).parents[1] / "losses"
TYPES: dict[str, type] = {"int": int, "float": float, "bool": bool, "str": str}
KNOWN: dict[str, dict[str, Any]] = {  # of parameters by name, whatever the loss says of them
    "temperature": {"help": "what similarities are divided by", "above": 0},
    "lamb": {"help": "weight of the correlations between dimensions", "low": 0},
}
OF_METHOD = {  # the others have --loss
    "barlow_twins": "barlow_twins",
    "simsiam": "cosine",
    "vicreg": "vicreg",
    "sigmoid": "sigmoid",
    "relic": "relic",
    "looc": "looc",
}
ONLY_OF_METHOD = ("barlow_twins", "cosine")


@dataclass(frozen=True)
class Loss:
    """What the source of a loss says of it.

    Args:
        pairwise: it can be called with `(z, ids, rows)`, as `--loss` needs it.
        settings: its keyword-only parameters by name.
    """

    pairwise: bool
    settings: dict[str, Setting]


@cache
def losses() -> dict[str, Loss]:
    """Every loss by name: a file without leading underscore that has a function of its name."""
    found = {}
    for file in sorted(LOSSES.glob("[!_]*.py")):
        for node in ast.parse(file.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.FunctionDef) and node.name == file.stem:
                arguments = [a.arg for a in (*node.args.posonlyargs, *node.args.args)]
                found[file.stem] = Loss(arguments[:3] == ["z", "ids", "rows"], parameters(node))
    return found


def parameters(function: ast.FunctionDef) -> dict[str, Setting]:
    """The keyword-only parameters that a word on a command line can express."""
    text = ast.get_docstring(function) or ""
    made = {}
    for argument, value in zip(function.args.kwonlyargs, function.args.kw_defaults, strict=True):
        hint = hint_of(argument.annotation)
        if hint is None or value is None:
            continue
        about: dict[str, Any] = {"help": said_of(argument.arg, text), "shown": ast.unparse(value)}
        about |= KNOWN.get(argument.arg, {})
        made[argument.arg] = Setting(argument.arg, hint, literal(value), about, "loss")
    return made


def literal(node: ast.expr) -> Any:
    """The value of a default; of an expression, which only the loss evaluates, its source."""
    try:
        return ast.literal_eval(node)
    except ValueError:
        return ast.unparse(node)


def hint_of(annotation: ast.expr | None) -> Any:
    """The plain type in an annotation such as `float | Float[Tensor, ""] | None`; else None."""
    options: list[Any] = []
    for node in ast.walk(annotation) if annotation else ():
        if isinstance(node, ast.Name) and node.id in TYPES:
            options.append(TYPES[node.id])
        if isinstance(node, ast.Subscript) and ast.unparse(node.value) == "Literal":
            options.append(Literal[ast.literal_eval(node.slice)])  # pyright: ignore[reportInvalidTypeForm]
    if not options:
        return None
    text = ast.unparse(annotation) if annotation else ""
    return options[0] | None if re.search(r"\bNone\b", text) else options[0]


def said_of(name: str, docstring: str) -> str:
    """What the section `Args:` says of a parameter, on one line."""
    found = re.search(rf"^ +{name}: (.+(?:\n {{8,}}.+)*)", docstring, re.MULTILINE)
    return " ".join(found[1].split()).removesuffix(".") if found else ""


def loss_of(method: str, loss: str) -> str:
    """The loss that a method computes."""
    return OF_METHOD.get(method, loss)


def pairwise() -> list[str]:
    """What `--loss` may be."""
    return [name for name, loss in losses().items() if loss.pairwise and name not in ONLY_OF_METHOD]


def all_settings() -> dict[str, dict[str, Setting]]:
    """For each name of a loss's setting, the losses that have it and that a run can have."""
    by_name: dict[str, dict[str, Setting]] = {}
    for loss in sorted(losses().keys() & {*pairwise(), *OF_METHOD.values()}):
        for name, setting in losses()[loss].settings.items():
            by_name.setdefault(name, {})[loss] = setting
    return by_name
