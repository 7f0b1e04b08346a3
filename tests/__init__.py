"""Tests mirror `cl`. `check` holds its shapes and types while they run: an int is a float here.

Without beartype nothing is checked.
"""

from collections.abc import Callable
from typing import Any

try:
    from beartype import BeartypeConf, beartype
except ImportError:

    def check(function: Callable[..., Any]) -> Callable[..., Any]:
        return function

else:
    check = beartype(conf=BeartypeConf(is_pep484_tower=True))
