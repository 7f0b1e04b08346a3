"""How functions of arrays are compiled for the CPU, and where the results are kept."""

from collections.abc import Callable
from typing import Any

from numba import njit

FAST = {"contract", "reassoc", "arcp", "nsz"}  # what is not a number stays so


def compiled(**options: Any) -> Callable[..., Any]:
    """`njit` without the lock, cached on disk in __pycache__ or in the user's cache folder.

    Where neither can be written, each process compiles for itself.
    """

    def compile_function(function: Callable[..., Any]) -> Any:
        try:
            return njit(nogil=True, cache=True, **options)(function)
        except RuntimeError:  # numba finds no folder for it
            return njit(nogil=True, **options)(function)

    return compile_function
