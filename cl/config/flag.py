"""How a field of a configuration says that it is a flag."""

from collections.abc import Callable
from dataclasses import MISSING, field, fields
from typing import Any


def flag(help: str | Callable[[], str], default: Any = MISSING, **about: Any) -> Any:
    """A field of a configuration, and so a flag; without a default it must be given.

    Args:
        help: of `--help`.
        default: of the flag; it is written behind the help, unless `shown` says more.
        about: `low`, `high` (inclusive) and `above` (exclusive) bound a number; `needs=("method",
            ("simsiam",))` allows the flag only where that other setting has one of those values
            (None: where it is given);
            `shortcut=("lars", ("sgd",))` makes `--lars` another way to set the value, allowed
            beside these; `positional=True` takes the name away; `once=True` keeps the value out of
            what `--config` hands on; `choices` are the words that are allowed, and `open` those
            that go on behind their colon as the user likes; `metavar` and `shown` are for `--help`.
            What can be called, the help too, is called when the settings are first asked for.
    """
    if default is MISSING:
        return field(metadata={"help": help, **about})
    return field(default=default, metadata={"help": help, **about})


def again(group: type, name: str, default: Any) -> Any:
    """The field of a group with another default."""
    (found,) = (f for f in fields(group) if f.name == name)
    return field(default=default, metadata=found.metadata)
