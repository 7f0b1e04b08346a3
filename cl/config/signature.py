"""Losses and methods as their sources say them: a keyword-only parameter is an option.

Name, type, default, bounds and help of an option stand once, at the function or class that has it.
They are read with `ast`, since importing takes seconds.
"""

import ast
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from types import NoneType
from typing import Annotated, Any, Literal, get_origin

from cl import bounds
from cl.config.plugin import file_of
from cl.config.setting import Setting

LOSSES, METHODS = (Path(__file__).parents[1] / room for room in ("losses", "methods"))
METHODS_PACKAGE = "cl.methods"
TYPES: dict[str, Any] = {"int": int, "float": float, "bool": bool, "str": str}


@dataclass(frozen=True)
class Thing:
    """What the source of a loss or a method says of it.

    Args:
        name: of the file, the function or class, and the flag's value.
        arguments: annotation of each positional parameter.
        loss: a method's own, the default of its parameter `loss`.
        settings: its options by name.
    """

    name: str
    arguments: dict[str, str]
    loss: str | None
    settings: dict[str, Setting]

    @property
    def pairwise(self) -> bool:
        """Whether it is a loss of `(z, ids, rows)`, as `--loss` needs it."""
        return list(self.arguments)[:3] == ["z", "ids", "rows"]

    @property
    def any_loss(self) -> bool:
        """Whether it is a method that computes any pairwise loss."""
        return self.arguments.get("loss") == "PairwiseLoss"

    @property
    def two_views(self) -> bool:
        """Whether it is a loss whose first axis is no number of views: it takes two of a sample."""
        axes = self.arguments.get("z", "")
        return bool(axes) and not re.search(r"""["']v n d""", axes)


NOTHING = Thing("", {}, None, {})


@cache
def losses() -> dict[str, Thing]:
    """Every loss by name: a file without leading underscore that has a function of its name."""
    return things(LOSSES)


@cache
def methods() -> dict[str, Thing]:
    """Every method by name: a file without leading underscore that has a class of its name."""
    return {name: without_shared(thing) for name, thing in things(METHODS).items()}


def without_shared(method: Thing) -> Thing:
    """A method without the options that every method has, and evaluation too: they are settings."""
    from cl.config import fields  # which asks here for the names

    shared = {*vars(fields.Large)["__annotations__"], *vars(fields.Hardware)["__annotations__"]}
    kept = {name: s for name, s in method.settings.items() if name not in shared}
    return replace(method, settings=kept)


def method(name: str) -> Thing:
    """The method of that name, or the user's own; of no such method there is nothing to say."""
    return methods().get(name) or plug_in(name, "method") or NOTHING


def loss(name: str) -> Thing:
    """The loss of that name, or the user's own; of no such loss there is nothing to say."""
    return losses().get(name) or plug_in(name, "loss") or NOTHING


@cache
def plug_in(word: str, group: str) -> Thing | None:
    """What the source of `package.module:name` says of a method or loss; None where it is none."""
    file, (_, _, name) = file_of(word), word.partition(":")
    try:
        body = ast.parse(file.read_text(encoding="utf-8")).body if file else []
    except SyntaxError as error:
        raise ValueError(f"{file} is no Python: {error}") from None
    for node in body:
        if isinstance(node, ast.FunctionDef) and node.name == name and group == "loss":
            return replace(of_function(name, node, node, group), name=word)
        if isinstance(node, ast.ClassDef) and node.name == name and group == "method":
            assert file
            return without_shared(replace(of_class(file, node), name=word))
    return None


def things(room: Path) -> dict[str, Thing]:
    """What the files of a folder say of themselves, by name."""
    found = {}
    for file in sorted(room.glob("[!_]*.py")):
        for node in ast.parse(file.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.FunctionDef) and node.name == file.stem:
                found[file.stem] = of_function(file.stem, node, node, "loss")
            if isinstance(node, ast.ClassDef) and node.name.lower() == file.stem.replace("_", ""):
                found[file.stem] = of_class(file, node)
    return found


def of_function(
    name: str, function: ast.FunctionDef, documented: ast.FunctionDef | ast.ClassDef, group: str
) -> Thing:
    """What the signature and the docstring say."""
    positional = [*function.args.posonlyargs, *function.args.args]
    arguments = {a.arg: ast.unparse(a.annotation) if a.annotation else "" for a in positional}
    defaults = dict(zip([*arguments][::-1], function.args.defaults[::-1], strict=False))
    own, text = defaults.get("loss"), ast.get_docstring(documented) or ""
    settings = {s.name: s for s in parameters(function, text, group)}
    return Thing(name, arguments, own.id if isinstance(own, ast.Name) else None, settings)


def of_class(file: Path, node: ast.ClassDef) -> Thing:
    """What its own `__init__` says, and its base class's behind `**options`."""
    inits = [n for n in node.body if isinstance(n, ast.FunctionDef) and n.name == "__init__"]
    base = base_of(file, node)
    if not inits:
        return base or Thing(file.stem, {}, None, {})
    own = of_function(file.stem, inits[0], node, "method")
    named = {a.arg for a in inits[0].args.kwonlyargs}
    if not (base and inits[0].args.kwarg):
        return own
    inherited = {k: s for k, s in base.settings.items() if k not in named}
    return Thing(own.name, own.arguments, own.loss, own.settings | inherited)


def base_of(file: Path, node: ast.ClassDef) -> Thing | None:
    """The class that a class of this folder extends, if that is in a file of this folder too."""
    wanted = {ast.unparse(base) for base in node.bases}
    for imported in ast.parse(file.read_text(encoding="utf-8")).body:
        if not isinstance(imported, ast.ImportFrom) or not imported.module:
            continue
        package, _, module = imported.module.rpartition(".")
        room = METHODS if package == METHODS_PACKAGE else file.parent
        other = room / f"{module}.py"
        if not wanted & {alias.name for alias in imported.names} or not other.exists():
            continue
        for theirs in ast.parse(other.read_text(encoding="utf-8")).body:
            if isinstance(theirs, ast.ClassDef) and theirs.name in wanted:
                return of_class(other, theirs)
    return None


def parameters(function: ast.FunctionDef, text: str, group: str) -> Iterator[Setting]:
    """The keyword-only parameters that a word on a command line can express."""
    for argument, value in zip(function.args.kwonlyargs, function.args.kw_defaults, strict=True):
        hint, limits = hint_of(argument.annotation)
        if hint is None or value is None:
            continue
        about = {"help": said_of(argument.arg, text), "shown": ast.unparse(value), **limits}
        yield Setting(argument.arg, hint, literal(value), about, group)


def literal(node: ast.expr) -> Any:
    """The value of a default; of an expression, which only the loss evaluates, its source."""
    try:
        return ast.literal_eval(node)
    except ValueError:
        return ast.unparse(node)


def hint_of(annotation: ast.expr | None) -> tuple[Any, dict[str, Any]]:
    """The plain type in an annotation such as `Count | Float[Tensor, ""] | None`, and its bounds.

    None where there is none: a word on a command line cannot be a module or a tensor.
    """
    options = [plain(node) for node in alternatives(annotation)] if annotation else []
    known = [(hint, limits) for hint, limits in options if hint not in (None, NoneType)]
    if not known:
        return None, {}
    hint, limits = known[0]
    return (hint | None if any(h is NoneType for h, _ in options) else hint), limits


def alternatives(node: ast.expr) -> Iterator[ast.expr]:
    """What stands between the bars of a union."""
    if isinstance(node, ast.BinOp):
        yield from alternatives(node.left)
        yield from alternatives(node.right)
    else:
        yield node


def plain(node: ast.expr) -> tuple[Any, dict[str, Any]]:
    """The type of one alternative and its bounds; None for what no word can say."""
    if isinstance(node, ast.Constant) and node.value is None:
        return NoneType, {}
    if isinstance(node, ast.Name):
        return named(node.id)
    if not isinstance(node, ast.Subscript):
        return None, {}
    if ast.unparse(node.value) == "Literal":
        return Literal[ast.literal_eval(node.slice)], {}  # pyright: ignore[reportInvalidTypeForm]
    if ast.unparse(node.value) == "tuple" and isinstance(node.slice, ast.Tuple):
        inner, limits = plain(node.slice.elts[0])
        return (inner and tuple[inner, ...]), limits
    return None, {}


def named(name: str) -> tuple[Any, dict[str, Any]]:
    """A type of Python's, or one of `cl.bounds`."""
    hint: Any = TYPES.get(name, getattr(bounds, name, None))
    if get_origin(hint) is not Annotated:
        return hint, {}
    limits = hint.__metadata__[0]._asdict()
    return hint.__origin__, {k: v for k, v in limits.items() if v is not None}


def said_of(name: str, docstring: str) -> str:
    """What the section `Args:` says of a parameter, on one line."""
    found = re.search(rf"^ +{name}: (.+(?:\n {{8,}}.+)*)", docstring, re.MULTILINE)
    return " ".join(found[1].split()).removesuffix(".") if found else ""


def loss_of(chosen: str, given: str) -> str:
    """The loss that a method computes; none where it is the method's own and in no file here."""
    known = method(chosen)
    if known is NOTHING or known.any_loss:
        return given
    return known.loss if known.loss and known.loss in losses() else ""


def pairwise() -> list[str]:
    """What `--loss` may be."""
    return [name for name, loss in losses().items() if loss.pairwise]


def computed() -> set[str]:
    """The losses that a run can have."""
    return {*pairwise(), *(m.loss for m in methods().values() if m.loss)} & losses().keys()


def all_settings() -> dict[str, dict[str, Setting]]:
    """For each name of an option, the methods and losses that have it and that a run can have.

    They are called as they are chosen: `--method simsiam`, `--loss dcl`.
    """
    by_name: dict[str, dict[str, Setting]] = {}
    for flag, room in (("method", methods()), ("loss", losses())):
        for thing in room.values():
            if flag == "method" or thing.name in computed():
                for name, setting in thing.settings.items():
                    by_name.setdefault(name, {})[f"--{flag} {thing.name}"] = setting
    return by_name


def filled(settings: Mapping[str, Setting], given: Mapping[str, Any]) -> dict[str, Any]:
    """All of a thing's options: those given, and the defaults of the others."""
    return {name: s.default for name, s in settings.items()} | dict(given)
