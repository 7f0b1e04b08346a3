"""Packages that load all they have: their own code waits until something of it is asked for.

Lightning asks torchmetrics for two classes, and that package loads every measure of images, texts
and sounds, with transformers, torchvision and scipy's signals beneath them. wandb asks its package
of jobs whether one is staged, and that loads a client of its whole service. Together they take more
processor time than PyTorch and Lightning. Here they are packages whose submodules can be imported
at once, and whose own code runs at the first name that is none of these: whoever uses them finds
everything in its place.
"""

import logging
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from importlib.metadata import version
from importlib.util import find_spec
from threading import RLock
from types import ModuleType
from typing import Any

METRICS = "torchmetrics"  # which Lightning brings


@dataclass(frozen=True)
class Package:
    """A package that waits.

    Args:
        names: that it is asked for at every start, and where they come from.
        base: a submodule that comes before all others, which would else import it by halves.
    """

    names: dict[str, Callable[[], Any]] = field(default_factory=dict)
    base: str | None = None


def home(module: str, name: str) -> Callable[[], Any]:
    """Where a name of a package comes from without its own code."""
    return lambda: getattr(import_module(module), name)


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
    "wandb.sdk.launch": Package(),
}
LOCK = RLock()


class Deferred(ModuleType):
    """A package whose own code has not run."""

    def __getattr__(self, name: str) -> Any:
        """A known name, a submodule, or what the package's own code makes."""
        own = self.__name__
        if (known := PACKAGES[own].names.get(name)) is not None:
            return known()
        if name.startswith("__"):
            raise AttributeError(f"module {own!r} has no attribute {name!r}")
        if find_spec(f"{own}.{name}") is not None:
            return import_module(f"{own}.{name}")
        with LOCK:
            if type(self) is Deferred:  # no other thread came before
                execute_code(self)
        return getattr(self, name)


def execute_code(package: ModuleType) -> None:
    """Run a package's own code; one that fails waits again."""
    assert package.__spec__ is not None
    assert package.__spec__.loader is not None
    package.__class__ = ModuleType
    try:
        package.__spec__.loader.exec_module(package)
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


class DeferredFinder(MetaPathFinder):
    """Finds the packages above, wherever they are installed."""

    def find_spec(
        self, fullname: str, path: Any, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The package's spec with a loader that waits; None for every other module."""
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
