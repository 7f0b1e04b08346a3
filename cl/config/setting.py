"""A setting: a name with its type, default, range and help, read from words and JSON alike."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, fields
from difflib import get_close_matches
from functools import cache, cached_property
from types import NoneType
from typing import Any, Literal, get_args, get_origin, get_type_hints

from cl.config import plugin

NOUNS = {int: ("a whole number", "whole numbers"), float: ("a number", "numbers")}


def closest(word: str, known: Iterable[str]) -> str | None:
    """The known word that was probably meant, or none."""
    near = get_close_matches(word, list(known), n=1)
    return near[0] if near else None


def fits(word: str, form: str) -> bool:
    """Whether a word is one that is allowed, which may go on behind a colon, or be the user's own.

    >>> fits("torchvision:MNIST", "torchvision:NAME"), fits("torchvision:", "torchvision:NAME")
    (True, False)
    """
    if form == plugin.FORM:
        return plugin.file_of(word) is not None
    head, colon, _ = form.partition(":")
    return word.startswith(head + colon) and word != head + colon if colon else word == form


def did_you_mean(word: str | None) -> str:
    """The tail of an error message.

    >>> did_you_mean(closest("--temprature", ["--temperature", "--momentum"]))
    '; did you mean --temperature?'
    """
    return f"; did you mean {word}?" if word else ""


@dataclass(frozen=True)
class Setting:
    """What is known of one setting.

    Args:
        name: of the field; its flag is `--name`.
        hint: its type: `int`, `float`, `bool`, `str`, a Literal of words, a tuple of numbers, or
            one of these or None.
        default: MISSING where it must be given.
        about: see `cl.config.flag`.
        group: under which `--help` lists it.
    """

    name: str
    hint: Any
    default: Any
    about: dict[str, Any]
    group: str = ""

    @property
    def label(self) -> str:
        """How messages call it."""
        return self.name.upper() if self.about.get("positional") else f"--{self.name}"

    @property
    def shortcut(self) -> str | None:
        """The value that a flag of its own name means, if there is such a flag."""
        return self.about.get("shortcut", (None,))[0]

    @cached_property
    def plain(self) -> Any:
        """The type without `| None`."""
        options = get_args(self.hint)
        return options[0] if NoneType in options else self.hint

    @cached_property
    def choices(self) -> tuple[str, ...]:
        if "choices" in self.about:
            return tuple(self.about["choices"])
        inner = get_args(self.plain)[0] if get_origin(self.plain) is tuple else self.plain
        return get_args(inner) if get_origin(inner) is Literal else ()

    @property
    def forms(self) -> tuple[str, ...]:
        """The words that are allowed, with those that go on behind a colon."""
        return (*self.choices, *self.about.get("open", ()))

    @cached_property
    def many(self) -> int | None:
        """How many values: 1, another number, or None for any number of them."""
        if get_origin(self.plain) is not tuple:
            return 1
        inner = get_args(self.plain)
        return None if Ellipsis in inner else len(inner)

    @cached_property
    def of(self) -> type:
        """The type of a single value."""
        return str if self.choices else (get_args(self.plain) or (self.plain,))[0]

    @property
    def allowed(self) -> str:
        """What may be given, in words."""
        if self.choices:
            return ", ".join(self.forms)
        if self.of is str:
            return "a path" if self.about.get("metavar") == "PATH" else "a name"
        if self.of is bool:
            return "true or false"
        one, several = NOUNS[self.of]
        noun = one if self.many == 1 else " ".join(filter(None, (str(self.many or ""), several)))
        low, high, above = (self.about.get(k) for k in ("low", "high", "above"))
        if low is not None and high is not None:
            return f"{noun} from {low} to {high}"
        if above is not None:
            return f"{noun} above {above}" + (f" up to {high}" if high is not None else "")
        return f"{noun} from {low} on" if low is not None else noun

    def refusal(self, given: object) -> ValueError:
        """The error that says what was given and what is allowed."""
        near = did_you_mean(closest(str(given), self.forms))
        if plugin.FORM in self.forms:
            near = near or plugin.absent(str(given))
        return ValueError(f"{self.label}: given {given}, allowed {self.allowed}{near}")

    def value_of(self, words: list[str] | bool) -> Any:
        """The value on a command line, where a switch says its own.

        Raises:
            ValueError: it is not allowed.
        """
        return words if isinstance(words, bool) else self.from_words(words)

    def from_words(self, words: list[str]) -> Any:
        """The value of the words behind the flag.

        Raises:
            ValueError: they are not allowed.
        """
        given = " ".join(words) or "nothing"
        if not words or self.many not in (None, len(words)):
            raise self.refusal(given)
        try:
            values = tuple(self.of(word) for word in words)
        except ValueError:
            raise self.refusal(given) from None
        return self.checked(values if self.many != 1 else values[0], given)

    def from_json(self, value: Any) -> Any:
        """The value as it stands in a JSON document.

        Raises:
            ValueError: it is not allowed.
        """
        if value is None and self.hint is not self.plain:
            return None
        if not isinstance(value, list):
            return self.checked(self.typed(value, value), value)
        if self.many == 1 or self.many not in (None, len(value)):
            raise self.refusal(value)
        return self.checked(tuple(self.typed(v, value) for v in value), value)

    def typed(self, value: Any, given: object) -> Any:
        """A single JSON value, of the setting's type: a whole number is also a number."""
        if self.of is float and type(value) is int and abs(value) < 2**53:
            return float(value)
        if type(value) is not self.of:
            raise self.refusal(given)
        return value

    def checked(self, value: Any, given: object) -> Any:
        """The value, if it is of the right length and within the range or the choices."""
        if isinstance(value, tuple) is (self.many == 1):
            raise self.refusal(given)
        for each in value if isinstance(value, tuple) else (value,):
            known = not self.choices or any(fits(each, form) for form in self.forms)
            if not known or not self.in_range(each):
                raise self.refusal(given)
        return value

    def in_range(self, value: Any) -> bool:
        if self.of not in NOUNS:
            return bool(value) or self.of is bool  # an empty word says nothing
        low, high = self.about.get("low", -math.inf), self.about.get("high", math.inf)
        above = self.about.get("above", -math.inf)
        return low <= value <= high and above < value < math.inf


@cache
def settings_of(of: type) -> dict[str, Setting]:
    """The settings of a configuration by name, grouped by the class that brought them in."""
    hints, found = get_type_hints(of), {f.name: f for f in fields(of)}
    return {
        name: Setting(
            name,
            hints[name],
            found[name].default,
            {key: what() if callable(what) else what for key, what in found[name].metadata.items()},
            base.__name__,
        )
        for base in of.__mro__[1:]
        for name in vars(base).get("__annotations__", ())
    }
