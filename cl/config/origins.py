"""Where a name in a source file is from: its imports are followed, and nothing is imported."""

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from math import inf
from pathlib import Path

from cl.config.own import file_of, syntax_of
from cl.config.thing import names

LAZY = "cl.methods"  # whose classes are found when they are asked for


@dataclass(frozen=True)
class Scope:
    """A source file, in which names mean something.

    Args:
        module: its dotted name.
        file: where it is.
    """

    module: str
    file: Path

    @property
    def package(self) -> str:
        """What the dots of a relative import start from."""
        inside = self.file.name == "__init__.py"
        return self.module if inside else self.module.rpartition(".")[0]


@dataclass(frozen=True)
class Origin:
    """The statement that defines a name.

    Args:
        scope: the file in which it stands.
        name: there.
        node: a class, a function or an assignment.
    """

    scope: Scope
    name: str
    node: ast.stmt

    @property
    def word(self) -> str:
        """It as `package.module:Name`."""
        return f"{self.scope.module}:{self.name}"


def origin(
    scope: Scope, name: str, before: float = inf, asked: tuple[str, ...] = ()
) -> Origin | None:
    """What defines `X` or `module.X`; None where no source file does.

    Args:
        scope: the file in which the name is used.
        name: the name.
        before: the line at which it is used; what stands from there on does not count.
        asked: the modules and names on the way here, since imports may go in circles.
    """
    known = [node for node in statements(syntax_of(scope.file).body) if node.lineno < before]
    for node in reversed(known):
        found = Origin(scope, name, node) if name in defined_by(node) else None
        if isinstance(node, ast.Import | ast.ImportFrom):
            found = imported(scope, node, name, asked)
        if found is not None:
            return behind(found, asked) or found
    return None


def behind(found: Origin, asked: tuple[str, ...]) -> Origin | None:
    """What another name was given to, as in `Base = BYOL`; None of any other statement."""
    value = getattr(found.node, "value", None)
    if not isinstance(value, ast.Name | ast.Attribute):
        return None
    return origin(found.scope, ast.unparse(value), found.node.lineno, asked)


def statements(body: Iterable[ast.stmt]) -> Iterator[ast.stmt]:
    """The statements of a module, those below `if` and `try` too."""
    for node in body:
        if isinstance(node, ast.If | ast.Try):
            handlers = [each for h in getattr(node, "handlers", ()) for each in h.body]
            yield from statements([*handlers, *node.orelse, *node.body])
        else:
            yield node


def defined_by(node: ast.stmt) -> set[str]:
    """The names that a statement gives something."""
    if isinstance(node, ast.ClassDef | ast.FunctionDef):
        return {node.name}
    targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
    return {target.id for target in targets if isinstance(target, ast.Name)}


def imported(
    scope: Scope, node: ast.Import | ast.ImportFrom, name: str, asked: tuple[str, ...]
) -> Origin | None:
    """What defines a name that an import brings; None if this one does not."""
    head, _, rest = name.partition(".")
    if isinstance(node, ast.Import):
        for alias in node.names:
            bound = alias.asname or alias.name
            if name.startswith(f"{bound}."):
                return in_module(alias.name, name.removeprefix(f"{bound}."), asked)
        return None
    module = module_behind(scope, node)
    for alias in node.names:
        if alias.name == "*" and (found := in_module(module, name, asked)):
            return found
        if head == (alias.asname or alias.name):
            return in_module(module, f"{alias.name}.{rest}".rstrip("."), asked)
    return None


def module_behind(scope: Scope, node: ast.ImportFrom) -> str:
    """The module behind `from`, a dot for each package above taken away."""
    above = scope.package.split(".")
    kept = above[: len(above) + 1 - node.level] if node.level else []
    return ".".join([*kept, *filter(None, [node.module])])


def in_module(module: str, name: str, asked: tuple[str, ...] = ()) -> Origin | None:
    """What defines the name in another module, or in a module of that package."""
    word = f"{module}:{name}"
    if word in asked:
        return None
    asked = (*asked, word)
    head, _, rest = name.partition(".")
    file = file_of(f"{module}:{head}")
    found = origin(Scope(module, file), name, asked=asked) if file else None
    if found is None and rest:
        return in_module(f"{module}.{head}", rest, asked)
    if found is None and module == LAZY:
        stems = [stem for stem in names("method") if stem.replace("_", "") == head.lower()]
        return in_module(f"{LAZY}.{stems[0]}", head, asked) if stems else None
    return found
