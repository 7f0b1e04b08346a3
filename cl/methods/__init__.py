"""One method a file: `simsiam.py` has the class SimSiam, which is `--method simsiam`.

A method is its heads and its objective. Its keyword-only parameters are its flags, as far as a word
on a command line can say them; the command line reads them from the source, so nothing heavy is
imported here.
"""

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cl.methods._base import Method as Method

NAMES = sorted(p.stem for p in Path(__file__).parent.glob("[!_]*.py"))


def get_method(name: str) -> type[Any]:
    """The method of that name, e.g. `get_method("barlow_twins")` is `BarlowTwins`.

    Args:
        name: of a file here, or of a class of your own, `package.module:Name`.

    Raises:
        ValueError: there is none.
    """
    if ":" in name:
        module, _, own = name.partition(":")
        return getattr(import_module(module), own)
    if name not in NAMES:
        raise ValueError(f"--method {name}: there are {', '.join(NAMES)}")
    module = import_module(f"cl.methods.{name}")
    class_name = name.replace("_", "")
    classes = (t for t in vars(module).values() if isinstance(t, type))
    return next(c for c in classes if c.__name__.lower() == class_name)


def __getattr__(name: str) -> Any:
    """`Method`, and the class of every method: `from cl.methods import Method, SimCLR`."""
    if name == "Method":
        return import_module("cl.methods._base").Method
    for file in NAMES if name != name.lower() else ():
        if file.replace("_", "") == name.lower():
            return get_method(file)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
