"""A keyword-only parameter as an option: its type and bounds, of a source file or of an object."""

import ast
import re
from collections.abc import Iterator, Sequence
from inspect import Parameter
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from cl import bounds
from cl.config.schema import Option

TYPES: dict[str, Any] = {"int": int, "float": float, "bool": bool, "str": str}
SAYABLE = "it needs a default, and a type that a word can say: int, float, bool, str, a Literal"
Hint = tuple[Any, dict[str, Any]]  # a type, None for what no word can say, and its bounds


def option(
    name: str, annotation: ast.expr | None, default: ast.expr | None, doc: str, kind: str
) -> Option | None:
    """A parameter in a source file as an option; None if no word can express it."""
    if default is None:
        return None
    found = hint_of(annotation) if annotation else (None, {})
    try:
        value = ast.literal_eval(default)
        found = found if annotation else type_of(value)
    except ValueError:  # an expression, which only the loss evaluates: its source
        value = ast.unparse(default)
    return as_option(name, found, value, doc, kind)


def parameter_option(parameter: Parameter, kind: str) -> Option | None:
    """A parameter of an object as an option; None if no word can express it."""
    default, annotation = parameter.default, parameter.annotation
    if default is parameter.empty:
        return None
    found = type_of(default) if annotation is parameter.empty else hint_of_object(annotation)
    return as_option(parameter.name, found, default, "", kind)


def as_option(name: str, found: Hint, default: Any, doc: str, kind: str) -> Option | None:
    hint, limits = found
    if hint is None:
        return None
    return Option(name, hint, default, {"help": said_of(name, doc)} | limits, kind)


def type_of(default: Any) -> Hint:
    """The type of a default, where no annotation says one."""
    several = isinstance(default, tuple)
    kinds = {type(value) for value in (default if several else [default])}
    if len(kinds) != 1 or not kinds <= {*TYPES.values()}:
        return None, {}
    (kind,) = kinds
    return (tuple[kind, ...] if several else kind), {}


def hint_of(annotation: ast.expr) -> Hint:
    """The plain type in an annotation such as `Count | Float[Tensor, ""] | None`, and its bounds.

    None where there is none: a word on a command line cannot be a module or a tensor.
    """
    return one_of([plain_type(node) for node in alternatives(annotation)])


def hint_of_object(annotation: Any) -> Hint:
    """The same of an annotation that is at hand."""
    if isinstance(annotation, str):
        return hint_of(ast.parse(annotation, mode="eval").body)
    union = get_origin(annotation) in (Union, UnionType)
    return one_of([plain_object(a) for a in (get_args(annotation) if union else [annotation])])


def one_of(found: Sequence[Hint]) -> Hint:
    """The first of several types that a word can say, or None if that is one of them."""
    known = [(hint, limits) for hint, limits in found if hint not in (None, NoneType)]
    if not known:
        return None, {}
    hint, limits = known[0]
    return (hint | None if any(h is NoneType for h, _ in found) else hint), limits


def alternatives(node: ast.expr) -> Iterator[ast.expr]:
    """What stands between the bars of a union, or in the brackets of Union and Optional."""
    if isinstance(node, ast.BinOp):
        yield from alternatives(node.left)
        yield from alternatives(node.right)
    elif isinstance(node, ast.Subscript) and outer(node) in ("Optional", "Union"):
        inner = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
        for each in inner:
            yield from alternatives(each)
        if outer(node) == "Optional":
            yield ast.Constant(None)
    else:
        yield node


def outer(node: ast.Subscript) -> str:
    """The name in front of brackets, without its module's."""
    return ast.unparse(node.value).rpartition(".")[2]


def plain_type(node: ast.expr) -> Hint:
    """The type of one alternative and its bounds; None for what no word can say."""
    if isinstance(node, ast.Constant) and node.value is None:
        return NoneType, {}
    if isinstance(node, ast.Name):
        return named(node.id)
    if not isinstance(node, ast.Subscript):
        return None, {}
    inner = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
    if outer(node) == "Literal":
        return Literal[ast.literal_eval(node.slice)], {}  # pyright: ignore[reportInvalidTypeForm]
    hint, limits = plain_type(inner[0]) if outer(node) in ("tuple", "Annotated") else (None, {})
    if outer(node) == "tuple":
        return (hint and tuple[hint, ...]), limits
    if hint and isinstance(inner[1], ast.Call):
        given = {k.arg or "": ast.literal_eval(k.value) for k in inner[1].keywords}
        limits = {k: v for k, v in given.items() if v is not None}
    return hint, limits


def named(name: str) -> Hint:
    """A type of Python's, or one of `cl.bounds`."""
    hint: Any = TYPES.get(name, getattr(bounds, name, None))
    return (hint, {}) if get_origin(hint) is not Annotated else plain_object(hint)


def plain_object(hint: Any) -> Hint:
    """The type of one alternative that is at hand, and its bounds."""
    if hint in (None, NoneType):
        return NoneType, {}
    if hint in TYPES.values() or get_origin(hint) is Literal:
        return hint, {}
    first, *about = get_args(hint) or (None,)
    if get_origin(hint) is tuple:
        each, limits = hint_of_object(first)
        return (each and tuple[each, ...]), limits
    if get_origin(hint) is not Annotated or bounds.NO_FLAG in about:
        return None, {}
    kind, limits = hint_of_object(first)
    for said in (said for said in about if isinstance(said, bounds.Bounds)):
        limits = {k: v for k, v in said._asdict().items() if v is not None}
    return kind, limits


def said_of(name: str, docstring: str) -> str:
    """What the section `Args:` says of a parameter, on one line."""
    found = re.search(rf"^ +{name}: (.+(?:\n {{8,}}.+)*)", docstring, re.MULTILINE)
    return " ".join(found[1].split()).removesuffix(".") if found else ""
