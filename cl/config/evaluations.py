"""What the source of each evaluation says of it, read without importing: that takes seconds.

Nothing else in `cl.config` knows an evaluation by its name.
"""

import ast
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, make_dataclass
from functools import cache
from pathlib import Path
from typing import Any

from cl.config.flag import flag
from cl.config.plugin import file_of
from cl.config.setting import Setting
from cl.config.signature import hint_of, literal, said_of

FOLDER = Path(__file__).parents[1] / "eval"
ALL = "all"
KINDS = (("train", "test", "classes"), ("encoder", "data", "classes"))
UNTRAINED = ("untrained", "data", "classes")


@dataclass(frozen=True)
class Evaluation:
    """What the source of an evaluation says of it.

    Args:
        of_images: it learns from images, so the encoder is not frozen; else it gets features.
        pretrained: it starts from a pretrained encoder.
        trains: by SGD, with the options of the optimization.
        augmented: it has another way for `--augment`.
        summary: what it does.
        settings: its keyword-only parameters by name.
    """

    of_images: bool
    pretrained: bool
    trains: bool
    augmented: bool
    summary: str
    settings: dict[str, Setting]


def built_in() -> tuple[str, ...]:
    """The evaluations of `cl.eval`: its files without a leading underscore."""
    return tuple(sorted(file.stem for file in FOLDER.glob("[!_]*.py")))


@cache
def default() -> str:
    """What is evaluated where `--eval` is not given, as `cl/eval/__init__.py` says."""
    for node in ast.parse((FOLDER / "__init__.py").read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "DEFAULT":
            return ast.literal_eval(node.value)
    raise LookupError(f"DEFAULT is missing in {FOLDER}/__init__.py")


@cache
def about(name: str) -> Evaluation:
    """What the source says of an evaluation.

    Args:
        name: of a file of `cl.eval`, or MODULE:FUNCTION of anything that can be imported.

    Raises:
        ValueError: there is no such function, or it is no evaluation.
    """
    module, plugin, own = name.partition(":")
    file = file_of(name) if plugin else FOLDER / f"{name}.py"
    body = ast.parse(file.read_text(encoding="utf-8")).body if file else []
    functions = {node.name: node for node in body if isinstance(node, ast.FunctionDef)}
    function = functions.get(own or name)
    if function is None:
        raise ValueError(
            f"--eval: given {name}, allowed {', '.join((*built_in(), ALL))} or the MODULE:FUNCTION "
            f"of an evaluation: {f'{file} has no {own or name}' if file else f'no module {module}'}"
        )
    first = tuple(a.arg for a in (*function.args.posonlyargs, *function.args.args))
    if first not in (*KINDS, UNTRAINED):
        kinds = ", ".join(f"({', '.join(kind)})" for kind in (*KINDS, UNTRAINED))
        raise ValueError(f"--eval {name}: takes ({', '.join(first)}), allowed {kinds}")
    names = {a.arg for a in function.args.kwonlyargs}
    return Evaluation(
        of_images=first != KINDS[0],
        pretrained=first != UNTRAINED,
        trains="training" in names,
        augmented="augmented" in functions and not plugin,
        summary=(ast.get_docstring(function) or name).partition("\n")[0].rstrip("."),
        settings=parameters(function),
    )


def parameters(function: ast.FunctionDef) -> dict[str, Setting]:
    """The keyword-only parameters that words on a command line can express."""
    text, found = ast.get_docstring(function) or "", {}
    for argument, value in zip(function.args.kwonlyargs, function.args.kw_defaults, strict=True):
        annotation, bounds = argument.annotation, {}
        if isinstance(annotation, ast.Subscript) and ast.unparse(annotation.value) == "Annotated":
            assert isinstance(annotation.slice, ast.Tuple)
            annotation, bounds = (
                annotation.slice.elts[0],
                ast.literal_eval(annotation.slice.elts[1]),
            )
        hint, _ = hint_of(annotation)
        if hint is None or value is None:
            continue
        about_it = {"help": said_of(argument.arg, text), **bounds}
        found[argument.arg] = Setting(argument.arg, hint, literal(value), about_it, "evaluations")
    return found


def meant(names: Iterable[str]) -> tuple[str, ...]:
    """The evaluations that `--eval` names; `all` are those of frozen features.

    The ones that train come first: all processes take part in them, in the others only one.
    """
    given = tuple(names)
    if given == (ALL,):
        given = tuple(name for name in built_in() if not about(name).of_images)
    return tuple(sorted(given, key=lambda name: not about(name).trains))


def having(what: str, names: Iterable[str] = ()) -> tuple[str, ...]:
    """The words of `--eval` for which something holds, in the order of `--help`.

    Args:
        what: an attribute of `Evaluation` that is true or false, or the name of a setting.
        names: further evaluations, by MODULE:FUNCTION.
    """

    def holds(name: str) -> bool:
        return what in about(name).settings or bool(getattr(about(name), what, False))

    known = [name for name in (*built_in(), *names) if holds(name)]
    features = [name for name in known if not about(name).of_images]
    several = [ALL] if {*features} & {*built_in()} else []
    return (*features, *several, *(name for name in known if name not in features))


def untrained() -> tuple[str, ...]:
    """The evaluations that start from random weights."""
    return tuple(name for name in built_in() if not about(name).pretrained)


def augmentable() -> tuple[str, ...]:
    """The evaluations that `--augment` can be used with."""
    return tuple(name for name in built_in() if about(name).augmented)


def of_images(names: Iterable[str]) -> tuple[str, ...]:
    """Those that learn from images."""
    return tuple(name for name in names if name != ALL and about(name).of_images)


def plugins(names: Iterable[object]) -> tuple[str, ...]:
    """The ones that are no file of `cl.eval`: MODULE:FUNCTION."""
    return tuple(name for name in names if isinstance(name, str) and ":" in name)


def either(names: Sequence[str]) -> str:
    """Several words as a choice.

    >>> either(["a", "b", "c"])
    'a, b or c'
    """
    *most, last = names
    return f"{', '.join(most)} or {last}" if most else last


def described() -> str:
    """The help of `--eval`."""
    each = "; ".join(f"{name}: {about(name).summary}" for name in built_in())
    return (
        f"{each}; {ALL}: those of frozen features, from one pass; MODULE:FUNCTION: an evaluation "
        "of your own that can be imported"
    )


def settings(names: Iterable[str], known: Iterable[str]) -> type:
    """The flags of the evaluations as fields of a configuration.

    Args:
        names: evaluations besides the built-in ones, by MODULE:FUNCTION.
        known: settings that every run has, which an evaluation is given under their names.
    """
    more, known = tuple(names), {*known}
    by_name: dict[str, dict[str, Setting]] = {}
    for evaluation in (*built_in(), *more):
        for name, setting in about(evaluation).settings.items():
            by_name.setdefault(name, {})[evaluation] = setting
    made: list[Any] = []
    for name, each in ((name, each) for name, each in by_name.items() if name not in known):
        needs = ("eval", having(name, more))
        one, *others = each.values()
        if any(other.hint != one.hint for other in others):
            raise ValueError(f"--eval: {either([*each])} have a --{name} of another type each")
        description, value = one.about, one.default
        if any(other.default != value for other in others):
            value = None  # each has its own
            shown = "; ".join(f"{e} {s.default}" for e, s in each.items())
            description = description | {"shown": shown}
        hint = one.hint if value is not None or one.default is None else one.hint | None
        made.append(
            (name, hint, flag(description["help"], value, **plain(description), needs=needs))
        )
    words = field(default=(default(),), metadata=chosen(more)) if more else None
    made += [("eval", tuple[str, ...], words)] if words else []
    group = make_dataclass("Evaluations", made, frozen=True, kw_only=True)
    group.__doc__ = "Settings of the evaluations; each has its own."
    return group


def plain(description: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in description.items() if key != "help"}


def chosen(more: Sequence[str] = ()) -> dict[str, Any]:
    """What is known of `--eval` itself."""
    words = (*built_in(), ALL, *more)
    return {"help": described(), "choices": lambda: words}
