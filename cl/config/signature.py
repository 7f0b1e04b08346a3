"""What the source of a method, loss, evaluation or schedule says: its options are keyword-only.

Name, type, default, bounds and help of an option stand once, at the function or class that has it.
They are read with `ast`, since importing takes seconds; of an object that is at hand its signature
is read.
"""

import ast
import inspect
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from types import NoneType
from typing import Annotated, Any, Literal, get_origin

from cl import bounds
from cl.config.own import Own, constant, file_of, syntax_of
from cl.config.schema import Option
from cl.losses import PairwiseLoss

Kind = Literal["method", "loss", "eval", "schedule"]
CL = Path(__file__).parents[1]
FOLDERS: dict[Kind, Path] = {
    "method": CL / "methods",
    "loss": CL / "losses",
    "eval": CL / "eval",
    "schedule": CL / "schedules",
}
TYPES: dict[str, Any] = {"int": int, "float": float, "bool": bool, "str": str}
ANY_LOSS = ("PairwiseLoss", inspect.formatannotation(PairwiseLoss))
FEATURES = ("train", "test", "classes")
IMAGES = ("encoder", "data", "classes")
UNTRAINED = ("untrained", "data", "classes")
SCORED = ("sentences", "others", "scores")
NAMED = ("test", "names", "embed")


@dataclass(frozen=True)
class Thing:
    """What the source of a method, a loss, an evaluation or a schedule says of it.

    Args:
        name: on a command line.
        arguments: annotation of each positional parameter.
        loss: a method's own, the default of its parameter `loss`.
        options: its options by name, but for those that are settings of every run.
        keywords: all its keyword-only parameters.
        defaults: settings of every run that a method's source has otherwise, its `defaults`.
        doc: its docstring.
        source: the docstring of its module.
        beside: the other functions and classes of its module.
        needs: options that say nothing without another one, the constant `NEEDS` of its module.
        samples: the kind of samples that a method alone can train on, the constant `SAMPLES` of its
            module; empty: of any but these.
    """

    name: str = ""
    arguments: dict[str, str] = field(default_factory=dict)
    loss: str | None = None
    options: dict[str, Option] = field(default_factory=dict)
    keywords: tuple[str, ...] = ()
    defaults: dict[str, Any] = field(default_factory=dict)
    doc: str = ""
    source: str = ""
    beside: tuple[str, ...] = ()
    needs: dict[str, str] = field(default_factory=dict)
    samples: str = ""

    @property
    def summary(self) -> str:
        """The first line of its docstring."""
        return self.doc.partition("\n")[0].rstrip(".") or self.name

    @property
    def pairwise(self) -> bool:
        """Whether it is a loss of `(z, ids, rows)`, as `--loss` needs it."""
        return list(self.arguments)[:3] == ["z", "ids", "rows"]

    @property
    def any_loss(self) -> bool:
        """Whether it is a method that computes any pairwise loss."""
        return self.arguments.get("loss") in ANY_LOSS

    @property
    def two_views(self) -> bool:
        """Whether it is a loss whose first axis is no number of views: it takes two of a sample."""
        axes = self.arguments.get("z", "")
        return bool(axes) and not re.search(r"""["']v n d""", axes)

    @property
    def sides(self) -> bool:
        """Whether it is a loss of sides, which takes hard negatives behind two of them."""
        return re.search(r"""["']s n d""", self.arguments.get("z", "")) is not None

    @property
    def of_images(self) -> bool:
        """Whether it is an evaluation that learns from images, so that no features are given."""
        return tuple(self.arguments) in (IMAGES, UNTRAINED)

    @property
    def pretrained(self) -> bool:
        """Whether it is an evaluation of a pretrained encoder."""
        return tuple(self.arguments) != UNTRAINED

    @property
    def trains(self) -> bool:
        """Whether it is an evaluation by SGD, with the options of the optimization."""
        return "training" in self.keywords

    @property
    def of_texts(self) -> bool:
        """Whether it is an evaluation that texts have too, by a function of that name."""
        return "of_texts" in self.beside or self.scored

    @property
    def scored(self) -> bool:
        """Whether it is an evaluation of pairs of texts with scores, and of nothing else."""
        return tuple(self.arguments) == SCORED

    @property
    def named(self) -> bool:
        """Whether it is an evaluation by the names of the classes, of an encoder of texts too."""
        return tuple(self.arguments) == NAMED

    @property
    def of_captions(self) -> bool:
        """Whether images with captions have it too, by a function of that name."""
        return "of_captions" in self.beside

    @property
    def augmented(self) -> bool:
        """Whether it is an evaluation that has another way for `--augment`."""
        return "augmented" in self.beside and ":" not in self.name


NOTHING = Thing()


def names(kind: Kind) -> tuple[str, ...]:
    """The files of a kind without leading underscore; a file is a thing."""
    return tuple(sorted(file.stem for file in FOLDERS[kind].glob("[!_]*.py")))


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
        return of_object(word)
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
    for node in nodes:
        own = node.name.lower() if kind == "method" and ":" not in name else node.name
        if own != thing_name or isinstance(node, ast.ClassDef) is not (kind == "method"):
            continue
        if isinstance(node, ast.ClassDef):
            thing = of_class(file, node)
        else:
            thing = of_function(node, ast.get_docstring(node) or "", kind)
        return replace(
            thing,
            name=name,
            options={k: o for k, o in thing.options.items() if k not in setting_names(kind)},
            doc=ast.get_docstring(node) or "",
            source=ast.get_docstring(syntax_of(file)) or "",
            beside=tuple(n.name for n in nodes if n is not node),
            needs=constant(file, "NEEDS") or {},
            samples=constant(file, "SAMPLES") or "",
            defaults=thing.defaults or constant(file, "DEFAULTS") or {},
        )
    return None


@cache
def setting_names(kind: Kind) -> frozenset[str]:
    """The names of the settings of every run, which a thing is given under these names."""
    from cl.config import options  # which asks here for names

    return frozenset(options.option_names(kind == "eval"))


def of_function(node: ast.FunctionDef, doc: str, kind: str) -> Thing:
    """What a signature says; the options' help stands in a docstring."""
    positional = [*node.args.posonlyargs, *node.args.args]
    arguments = {a.arg: ast.unparse(a.annotation) if a.annotation else "" for a in positional}
    defaults = dict(zip([*arguments][::-1], node.args.defaults[::-1], strict=False))
    loss = defaults.get("loss")
    pairs = zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True)
    found = [option(a.arg, a.annotation, default, doc, kind) for a, default in pairs]
    return Thing(
        arguments=arguments,
        loss=loss.id if isinstance(loss, ast.Name) else None,
        options={o.name: o for o in found if o},
        keywords=tuple(a.arg for a in node.args.kwonlyargs),
    )


def of_class(file: Path, node: ast.ClassDef) -> Thing:
    """What its own `__init__` says, and its base class's behind `**options`."""
    inits = [n for n in node.body if isinstance(n, ast.FunctionDef) and n.name == "__init__"]
    base = base_of(file, node) or NOTHING
    defaults = defaults_of(node) or base.defaults  # as Python inherits a class attribute
    if not inits:
        return replace(base, defaults=defaults)
    own = of_function(inits[0], ast.get_docstring(node) or "", "method")
    inherited = {k: o for k, o in base.options.items() if k not in own.keywords}
    options = own.options | (inherited if inits[0].args.kwarg else {})
    return replace(own, options=options, defaults=defaults)


def defaults_of(node: ast.ClassDef) -> dict[str, Any]:
    """The settings in a method's own `defaults`, a class attribute."""
    for each in node.body:
        if isinstance(each, ast.AnnAssign) and ast.unparse(each.target) == "defaults":
            return ast.literal_eval(each.value or ast.Dict([], []))
    return {}


def base_of(file: Path, node: ast.ClassDef) -> Thing | None:
    """The class that a class of this folder extends, if that is in a file of this folder too."""
    wanted = {ast.unparse(base) for base in node.bases}
    for imported in syntax_of(file).body:
        if not isinstance(imported, ast.ImportFrom) or not imported.module:
            continue
        package, _, module = imported.module.rpartition(".")
        folder = FOLDERS["method"] if package == "cl.methods" else file.parent
        other = folder / f"{module}.py"
        if not wanted & {alias.name for alias in imported.names} or not other.exists():
            continue
        for theirs in syntax_of(other).body:
            if isinstance(theirs, ast.ClassDef) and theirs.name in wanted:
                return of_class(other, theirs)
    return None


def of_object(word: Own) -> Thing:
    """What the signature of a class or function says, and those of its base classes."""
    thing = word.object
    bases = thing.__mro__ if isinstance(thing, type) else (thing,)
    inits = [vars(b)["__init__"] for b in bases if "__init__" in vars(b)] if bases[1:] else [thing]
    arguments, found, loss = dict[str, str](), dict[str, Option | None](), None
    kind: Kind = "method" if bases[1:] else "loss"
    for init in inits:
        parameters = inspect.signature(init).parameters.values()
        for p in parameters:
            text = "" if p.annotation is p.empty else p.annotation
            text = text if isinstance(text, str) else inspect.formatannotation(text)
            if p.kind is p.KEYWORD_ONLY:
                node = ast.parse(text, mode="eval").body if text else None
                default = None if p.default is p.empty else ast.Constant(p.default)
                found.setdefault(p.name, option(p.name, node, default, "", kind))
            elif init is inits[0] and p.kind is not p.VAR_KEYWORD:
                arguments[p.name] = text
                loss = getattr(p.default, "__name__", None) if p.name == "loss" else loss
        if not any(p.kind is p.VAR_KEYWORD for p in parameters):
            break
    options = {k: o for k, o in found.items() if o and k not in setting_names(kind)}
    defaults = dict(getattr(thing, "defaults", {}))
    return Thing(
        word, arguments, loss, options, tuple(found), defaults, inspect.getdoc(thing) or ""
    )


def option(
    name: str, annotation: ast.expr | None, default: ast.expr | None, doc: str, kind: str
) -> Option | None:
    """A keyword-only parameter as an option; None if no word on a command line can express it."""
    hint, limits = hint_of(annotation)
    if hint is None or default is None:
        return None
    try:
        value = ast.literal_eval(default)
    except ValueError:  # an expression, which only the loss evaluates: its source
        value = ast.unparse(default)
    return Option(name, hint, value, {"help": said_of(name, doc)} | limits, kind)


def hint_of(annotation: ast.expr | None) -> tuple[Any, dict[str, Any]]:
    """The plain type in an annotation such as `Count | Float[Tensor, ""] | None`, and its bounds.

    None where there is none: a word on a command line cannot be a module or a tensor.
    """
    options = [plain_type(node) for node in alternatives(annotation)] if annotation else []
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


def plain_type(node: ast.expr) -> tuple[Any, dict[str, Any]]:
    """The type of one alternative and its bounds; None for what no word can say."""
    if isinstance(node, ast.Constant) and node.value is None:
        return NoneType, {}
    if isinstance(node, ast.Name):
        return named(node.id)
    if not isinstance(node, ast.Subscript):
        return None, {}
    outer = ast.unparse(node.value).rpartition(".")[2]
    inner = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
    if outer == "Literal":
        return Literal[ast.literal_eval(node.slice)], {}  # pyright: ignore[reportInvalidTypeForm]
    hint, limits = plain_type(inner[0]) if outer in ("tuple", "Annotated") else (None, {})
    if outer == "tuple":
        return (hint and tuple[hint, ...]), limits
    if hint and isinstance(inner[1], ast.Call):
        given = {k.arg or "": ast.literal_eval(k.value) for k in inner[1].keywords}
        limits = {k: v for k, v in given.items() if v is not None}
    return hint, limits


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
