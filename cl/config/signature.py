"""What the source of a method, loss, evaluation or schedule says: its options are keyword-only.

Name, type, default, bounds and help of an option stand once, at the function or class that has it.
They are read with `ast`, since importing takes seconds; of an object that is at hand its signature
is read.
"""

import ast
import inspect
import sys
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any

from cl.config.annotations import option, parameter_option
from cl.config.origins import Origin, Scope, defined_by, origin
from cl.config.own import Own, constant, file_of, syntax_of
from cl.config.schema import Option
from cl.config.thing import FOLDERS, NOTHING, PACKAGES, Kind, Thing, names

METHOD = "cl.methods._base:Method"


@cache
def things(kind: Kind) -> dict[str, Thing]:
    """Every thing of a kind by name: a file without leading underscore that has one of its name."""
    found = {}
    for name in names(kind):
        thing_name = name.replace("_", "") if kind == "method" else name
        if thing := read_thing(FOLDERS[kind] / f"{name}.py", kind, name, thing_name):
            found[name] = thing
    return found


def find(kind: Kind, word: str) -> Thing | None:
    """The thing of that name, or the user's own; None where there is none.

    Raises:
        ValueError: the user's own module is no Python.
    """
    if isinstance(word, Own):
        return of_object(word, kind)
    if word in things(kind):
        return things(kind)[word]
    file = file_of(word)
    return read_thing(file, kind, word, word.partition(":")[2]) if file else None


def methods() -> dict[str, Thing]:
    return things("method")


def losses() -> dict[str, Thing]:
    return things("loss")


def method(name: str) -> Thing:
    """The method of that name; of no such method there is nothing to say."""
    return find("method", name) or NOTHING


def loss(name: str) -> Thing:
    """The loss of that name; of no such loss there is nothing to say."""
    return find("loss", name) or NOTHING


def read_thing(file: Path, kind: Kind, name: str, thing_name: str) -> Thing | None:
    """What a file says of the class or function that is thing_name so; None if it has none."""
    body = syntax_of(file).body
    nodes = [n for n in body if isinstance(n, ast.FunctionDef | ast.ClassDef)]
    module, own, _ = name.partition(":")
    scope = Scope(module if own else f"{PACKAGES[kind]}.{name}", file)
    for node in nodes:
        called = node.name if own or kind != "method" else node.name.lower()
        if called != thing_name or isinstance(node, ast.ClassDef) is not (kind == "method"):
            continue
        if isinstance(node, ast.ClassDef):
            thing = of_class(scope, node)
        else:
            thing = of_function(scope, node, ast.get_docstring(node) or "", kind)
        return replace(
            thing,
            name=name,
            options={k: o for k, o in thing.options.items() if k not in setting_names(kind)},
            doc=ast.get_docstring(node) or "",
            source=ast.get_docstring(syntax_of(file)) or "",
            beside=tuple(n.name for n in nodes if n is not node),
            needs=thing.needs | (constant(file, "NEEDS") or {}),
            samples=constant(file, "SAMPLES") or thing.samples,
            defaults=thing.defaults or constant(file, "DEFAULTS") or {},
        )
    return None


@cache
def setting_names(kind: Kind) -> frozenset[str]:
    """The names of the settings of every run, which a thing is given under these names."""
    from cl.config import options  # which asks here for names

    return frozenset(options.option_names(kind == "eval"))


def of_function(scope: Scope, node: ast.FunctionDef, doc: str, kind: str) -> Thing:
    """What a signature says; the options' help stands in a docstring."""
    positional = [*node.args.posonlyargs, *node.args.args]
    arguments = {a.arg: ast.unparse(a.annotation) if a.annotation else "" for a in positional}
    defaults = dict(zip([*arguments][::-1], node.args.defaults[::-1], strict=False))
    loss = defaults.get("loss") if kind == "method" else None
    pairs = zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True)
    found = [option(a.arg, a.annotation, default, doc, kind) for a, default in pairs]
    return Thing(
        arguments=arguments,
        loss=None if loss is None else word_of_loss(scope, loss, node.lineno),
        options={o.name: o for o in found if o},
        keywords=tuple(a.arg for a in node.args.kwonlyargs),
    )


def word_of_loss(scope: Scope, default: ast.expr, line: int) -> str | None:
    """The word for a method's default loss, see `Thing`; None where there is none."""
    if isinstance(default, ast.Constant):
        return None
    source = ast.unparse(default)
    if not isinstance(default, ast.Name | ast.Attribute):
        return source
    found = origin(scope, source, line)
    if found is None:
        return source
    ours = found.scope.module == f"{PACKAGES['loss']}.{found.name}"
    return found.name if ours else found.word


@cache
def of_class(scope: Scope, node: ast.ClassDef) -> Thing:
    """What its own `__init__` says, and its base class's behind `**options`."""
    inits = [n for n in node.body if isinstance(n, ast.FunctionDef) and n.name == "__init__"]
    base = base_of(scope, node)
    base = replace(base, defaults=defaults_of(node) or base.defaults)  # as Python inherits them
    if not inits:
        return base
    own = of_function(scope, inits[0], ast.get_docstring(node) or "", "method")
    if inits[0].args.vararg:  # hands on what stands in order
        own = replace(own, arguments=base.arguments | own.arguments, loss=own.loss or base.loss)
    chosen = {*own.keywords, *given_to_base(inits[0])}
    inherited = {k: o for k, o in base.options.items() if k not in chosen}
    return replace(
        base,
        arguments=own.arguments,
        loss=own.loss,
        options=own.options | (inherited if inits[0].args.kwarg else {}),
        keywords=own.keywords,
    )


def given_to_base(init: ast.FunctionDef) -> set[str]:
    """The options that a class gives its base class itself, in `super().__init__`."""
    calls = (n for n in ast.walk(init) if isinstance(n, ast.Call))
    to_base = (c for c in calls if ast.unparse(c.func).endswith(".__init__"))
    return {keyword.arg for call in to_base for keyword in call.keywords if keyword.arg}


def defaults_of(node: ast.ClassDef) -> dict[str, Any]:
    """The settings in a method's own `defaults`, a class attribute."""
    for each in node.body:
        value = getattr(each, "value", None)
        if isinstance(each, ast.Assign | ast.AnnAssign) and "defaults" in defined_by(each):
            return ast.literal_eval(value or ast.Dict([], []))
    return {}


def base_of(scope: Scope, node: ast.ClassDef) -> Thing:
    """What the base classes of a method say: of the first that is a method, else of the first."""
    if f"{scope.module}:{node.name}" == METHOD:
        return replace(NOTHING, is_method=True)
    found, lost = list[Thing](), ""
    for base in node.bases:
        name = ast.unparse(base.value if isinstance(base, ast.Subscript) else base)
        named = isinstance(base, ast.Name | ast.Attribute | ast.Subscript)
        source = origin(scope, name, node.lineno) if named else None
        if source is None or not isinstance(source.node, ast.ClassDef):
            lost = lost or name
        else:
            found.append(of_base(source, source.node))
    methods = [thing for thing in found if thing.is_method]
    first = (methods or found or [NOTHING])[0]
    return first if methods else replace(first, lost=lost or first.lost)


def of_base(source: Origin, node: ast.ClassDef) -> Thing:
    """What a class says that is another one's base, with the constants of its module."""
    thing, file = of_class(source.scope, node), source.scope.file
    return replace(
        thing,
        needs=thing.needs | (constant(file, "NEEDS") or {}),
        samples=constant(file, "SAMPLES") or thing.samples,
    )


def of_object(word: Own, kind: Kind) -> Thing:
    """What the signature of a class or function says, and those of its base classes."""
    thing = word.object.func if isinstance(word.object, partial) else word.object
    bases = thing.__mro__ if isinstance(thing, type) else (thing,)
    inits = [word.object]
    if bases[1:]:
        inits = [vars(base)["__init__"] for base in bases if "__init__" in vars(base)]
    read = of_signatures(inits, "method" if bases[1:] else "loss" if kind == "method" else kind)
    said = [constants_of(base) for base in bases]
    return replace(
        read,
        name=word,
        options={k: o for k, o in read.options.items() if k not in setting_names(kind)},
        defaults=dict(getattr(thing, "defaults", {} if bases[1:] else said[0]["DEFAULTS"])),
        doc=inspect.getdoc(thing) or "",
        needs={k: v for each in reversed(said) for k, v in each["NEEDS"].items()},
        samples=next((each["SAMPLES"] for each in said if each["SAMPLES"]), ""),
        is_method=True,
    )


def of_signatures(inits: Iterable[Callable[..., Any]], group: str) -> Thing:
    """What signatures say, each of which hands on to the next one what it has no name for."""
    arguments, found, loss = dict[str, str](), dict[str, Option | None](), None
    onward = True  # whether what stands in order is handed on
    for init in inits:
        parameters = inspect.signature(init).parameters.values()
        for p in parameters:
            if p.kind is p.KEYWORD_ONLY:
                found.setdefault(p.name, parameter_option(p, group))
            elif onward and p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL):
                arguments.setdefault(p.name, annotation_text(p.annotation))
                brought = p.name == "loss" and p.default not in (p.empty, None)
                loss = loss or (word_of("loss", p.default) if brought else None)
        onward = onward and any(p.kind is p.VAR_POSITIONAL for p in parameters)
        if not any(p.kind is p.VAR_KEYWORD for p in parameters):
            break
    options = {name: option for name, option in found.items() if option}
    return Thing(arguments=arguments, loss=loss, options=options, keywords=tuple(found))


def annotation_text(annotation: Any) -> str:
    """An annotation as in a source file; empty where there is none."""
    if annotation is inspect.Parameter.empty:
        return ""
    return annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)


def constants_of(thing: Any) -> dict[str, Any]:
    """What the module of a class or function says of it; a notebook may call other things so."""
    module = sys.modules.get(getattr(thing, "__module__", None) or "")
    plain = {"NEEDS": {}, "DEFAULTS": {}, "SAMPLES": ""}
    said = {name: getattr(module, name, default) for name, default in plain.items()}
    return {k: v if isinstance(v, type(plain[k])) else plain[k] for k, v in said.items()}


def word_of(kind: Kind, thing: Any) -> str:
    """An object as a word: the name of one that is a file here, else `Own`."""
    module, called = getattr(thing, "__module__", None) or "", getattr(thing, "__qualname__", "")
    package, _, name = module.rpartition(".")
    if package != PACKAGES[kind] or getattr(sys.modules[module], called, None) is not thing:
        return Own(thing)
    stem, called = (name.replace("_", ""), called.lower()) if kind == "method" else (name, called)
    return name if name in names(kind) and stem == called else Own(thing)


def default_loss(word: str) -> str | None:
    """The loss that a method has where `--loss` is not given; None if that of all methods."""
    known = method(word)
    return known.loss if known.any_loss else None


def unsayable(kind: Kind, words: Iterable[str]) -> dict[str, str]:
    """Parameters of the user's own things that are no options, with the thing that has each."""
    found = ((word, find(kind, word)) for word in words if ":" in word)
    known = ((word, thing) for word, thing in found if thing)
    return {
        name: f"--{kind} {word}"
        for word, thing in known
        for name in thing.keywords
        if name not in thing.options
    }


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


@cache
def having(kinds: tuple[Kind, ...]) -> dict[str, dict[str, Option]]:
    """For each name of an option, the things that have it and that a run can have.

    They are called as they are chosen: `--method simsiam`, `--loss dcl`, `--eval knn`.
    """
    by_name: dict[str, dict[str, Option]] = {}
    for kind in kinds:
        for thing in things(kind).values():
            if kind != "loss" or thing.name in computed():
                for name, found in thing.options.items():
                    by_name.setdefault(name, {})[f"--{kind} {thing.name}"] = found
    return by_name
