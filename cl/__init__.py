"""A laboratory for contrastive learning: methods, losses, evaluation, runs that repeat.

    import cl

    run = cl.pretrain("resnet6_w16", "digits", method="simclr", epochs=20)
    cl.evaluate(run, "digits", eval=["linear", "knn"])

Each name is loaded when it is first used, so that `import cl` takes milliseconds.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from cl.deferred import defer

if TYPE_CHECKING:
    from cl import losses, methods
    from cl.evaluation import embed, evaluate, load_encoder
    from cl.train import pretrain

__version__ = "0.1.0"
__all__ = ["embed", "evaluate", "load_encoder", "losses", "methods", "pretrain"]
HOMES = {
    "embed": "cl.evaluation",
    "evaluate": "cl.evaluation",
    "load_encoder": "cl.evaluation",
    "pretrain": "cl.train",
}

defer()


def __getattr__(name: str) -> Any:
    """A public name, from where it lives."""
    if name in HOMES:
        return getattr(import_module(HOMES[name]), name)
    if name in __all__:
        return import_module(f"cl.{name}")
    raise AttributeError(f"module 'cl' has no attribute {name!r}")


def __dir__() -> list[str]:
    """The public names."""
    return [*__all__, "__version__"]
