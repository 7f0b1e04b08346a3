"""One loss a file; a file's name is its function's name and its name on the command line.

Nothing heavy is imported here: the command line reads the names and the hyperparameters from the
files themselves.
"""

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

PairwiseLoss = Callable[..., Any]  # of `(z, ids, rows)`: which one a method takes `--loss` says
NAMES = sorted(p.stem for p in Path(__file__).parent.glob("[!_]*.py"))


def get_loss(name: str) -> Callable[..., Any]:
    """The loss of that name, e.g. `get_loss("dcl")` is `cl.losses.dcl.dcl`.

    Args:
        name: of a file here, or of a function of your own, `package.module:name`.

    Raises:
        ValueError: there is none.
    """
    if ":" in name:
        module, _, own = name.partition(":")
        return getattr(import_module(module), own)
    if name not in NAMES:
        raise ValueError(f"--loss {name}: there are {', '.join(NAMES)}")
    return getattr(import_module(f"cl.losses.{name}"), name)
