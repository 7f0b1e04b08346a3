"""Packages that load all they have: their own code waits until something of it is asked for.

Lightning asks torchmetrics for two classes, and that package loads every measure of images, texts
and sounds, with transformers, torchvision and scipy's signals beneath them. wandb asks its package
of jobs whether one is staged, and that loads a client of its whole service. Optimizers tell torch's
compiler what it must leave alone, which loads it, with SymPy. Together they take more processor
time than PyTorch and Lightning. Here they are modules whose own code runs at the first name that is
not known beforehand: whoever uses them finds everything in its place.
"""

import logging
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache, partial, wraps
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from importlib.metadata import version
from importlib.util import find_spec
from threading import RLock
from types import FunctionType, ModuleType
from typing import Any

METRICS = "torchmetrics"  # which Lightning brings
PLOTS, COMPILER = f"{METRICS}.utilities.plot", "torch._dynamo"


@dataclass(frozen=True)
class Package:
    """A module that waits.

    Args:
        names: that it is asked for at every start, and where they come from.
        base: a submodule that comes before all others, which would else import it by halves.
        whole: its own code runs before any of its submodules, if it has some.
        then: what follows its own code.
    """

    names: dict[str, Callable[[], Any]] = field(default_factory=dict)
    base: str | None = None
    whole: bool = False
    then: Callable[[], None] = lambda: None


def home(module: str, name: str) -> Callable[[], Any]:
    """Where a name of a package comes from without its own code."""
    return lambda: getattr(import_module(module), name)


def waits(name: str) -> bool:
    """Whether the own code of a module has not run."""
    return isinstance(sys.modules.get(name), Deferred)


def made(module: str, name: str) -> Any:
    """What a module's own code makes, which runs now at the latest."""
    package = import_module(module)
    execute_once(package)
    return getattr(package, name)


def execute_once(package: ModuleType) -> None:
    """Run a module's own code, unless it has run."""
    with LOCK:
        if isinstance(package, Deferred):  # no other thread came before
            execute_code(package)


def plot_values(*given: Any, **options: Any) -> Any:
    """What torchmetrics draws a measure's values with."""
    return made(PLOTS, "plot_single_or_multi_val")(*given, **options)


def disable(
    fn: Callable[..., Any] | None = None, recursive: bool = True, **options: Any
) -> Callable[..., Any]:
    """`torch.compiler.disable`: nothing is compiled while the compiler is not loaded."""
    if fn is None:
        return partial(disable, recursive=recursive, **options)
    disabled = cache(lambda: made(COMPILER, "disable")(fn, recursive, **options))
    if not isinstance(fn, FunctionType):
        return disabled()

    @wraps(fn)
    def function(*given: Any, **named: Any) -> Any:
        call = fn if waits(COMPILER) else disabled()
        return call(*given, **named)

    vars(function)["_torchdynamo_disable"] = True  # by which the compiler knows it
    return function


def let_alone() -> None:
    """Tell the compiler not to look into the functions of this file, where it has a list."""
    rules = import_module(f"{COMPILER}.trace_rules")
    getattr(rules, "add", lambda module: None)(__name__)


def graph_break(msg: str = "") -> None:
    """Where a graph ends, of which there is none while the compiler is not loaded."""


class IsCompiled(type):
    """The type of `OptimizedModule`."""

    def __instancecheck__(cls, instance: object) -> bool:
        return not waits(COMPILER) and isinstance(instance, made(COMPILER, "OptimizedModule"))


class OptimizedModule(metaclass=IsCompiled):
    """What `torch.compile` makes of a module: none is while the compiler is not loaded."""


PACKAGES = {
    METRICS: Package(
        {
            "__version__": lambda: version(METRICS),
            "_logger": lambda: logging.getLogger(METRICS),
            "Metric": home(f"{METRICS}.metric", "Metric"),
            "MetricCollection": home(f"{METRICS}.collections", "MetricCollection"),
        },
        base="utilities",
    ),
    PLOTS: Package(
        {
            "_AX_TYPE": lambda: Any,
            "_PLOT_OUT_TYPE": lambda: Any,
            "plot_single_or_multi_val": lambda: plot_values,
        },
        whole=True,
    ),
    COMPILER: Package(
        {
            "disable": lambda: disable,
            "graph_break": lambda: graph_break,
            "OptimizedModule": lambda: OptimizedModule,
        },
        whole=True,
        then=let_alone,
    ),
    "wandb.sdk.launch": Package(),
}
LOCK = RLock()


class Deferred(ModuleType):
    """A package whose own code has not run."""

    def __getattr__(self, name: str) -> Any:
        """A known name, a submodule, or what the package's own code makes."""
        own, package = self.__name__, PACKAGES[self.__name__]
        if (known := package.names.get(name)) is not None:
            return known()
        if name.startswith("__"):
            raise AttributeError(f"module {own!r} has no attribute {name!r}")
        if not package.whole and find_spec(f"{own}.{name}") is not None:
            return import_module(f"{own}.{name}")
        return made(own, name)


def execute_code(package: ModuleType) -> None:
    """Run a package's own code; one that fails waits again."""
    assert package.__spec__ is not None
    assert package.__spec__.loader is not None
    package.__class__ = ModuleType
    try:
        package.__spec__.loader.exec_module(package)
        PACKAGES[package.__name__].then()
    except BaseException:
        package.__class__ = Deferred
        raise


class Deferring(Loader):
    """Loads a package as one that waits."""

    def __init__(self, real: Loader) -> None:
        self.real = real

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        """As the package's own loader makes it."""
        return self.real.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        """Give the package its own loader back, and run none of its code but its base's."""
        assert module.__spec__ is not None
        module.__spec__.loader = module.__loader__ = self.real
        module.__class__ = Deferred
        if (base := PACKAGES[module.__name__].base) is not None:
            try:
                import_module(f"{module.__name__}.{base}")
            except ImportError:  # of a version that is made otherwise
                execute_code(module)


class Loaded(Loader):
    """Finds a module that was loaded while it was looked for."""

    def __init__(self, module: ModuleType) -> None:
        self.module, self.spec = module, module.__spec__

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """The module, whose specification importlib replaces."""
        return self.module

    def exec_module(self, module: ModuleType) -> None:
        """Give it its own specification back."""
        module.__spec__ = self.spec


class DeferredFinder(MetaPathFinder):
    """Finds the modules above, wherever they are installed."""

    def find_spec(
        self, fullname: str, path: Any, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The module's spec with a loader that waits; None for those that do not.

        Of a submodule the package may come first, which loads it as a rule.
        """
        parent = fullname.rpartition(".")[0]
        if parent in PACKAGES and PACKAGES[parent].whole and waits(parent):
            execute_once(sys.modules[parent])
            if (there := sys.modules.get(fullname)) is not None:
                there.__spec__ = ModuleSpec(fullname, Loaded(there))  # which importlib prefers
                return there.__spec__
        if fullname not in PACKAGES:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = Deferring(spec.loader)
        return spec


def defer() -> None:
    """Let the packages wait from here on, where they are not loaded yet."""
    if not any(isinstance(each, DeferredFinder) for each in sys.meta_path):
        sys.meta_path.insert(0, DeferredFinder())
