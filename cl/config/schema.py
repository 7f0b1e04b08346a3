"""An option: its name, type, default, range and help; it checks words, JSON and Python alike."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import MISSING, dataclass, field, fields
from difflib import get_close_matches
from functools import cache, cached_property
from pathlib import PurePath
from types import NoneType
from typing import Any, Literal, get_args, get_origin, get_type_hints

from cl.config import own

NOUNS = {int: ("a whole number", "whole numbers"), float: ("a number", "numbers")}


def flag(help: str | Callable[[], str], default: Any = MISSING, **about: Any) -> Any:
    """A field of a configuration that is a flag; without a default it must be given.

    Args:
        help: of `--help`.
        default: of the flag; it is written behind the help, unless `shown` says more.
        about: `low`, `high` (inclusive), `above` and `below` (exclusive) bound a number;
            `common=True` shows it in the short `--help`; `needs=("method", ("simsiam",))` allows
            the flag only where that other setting has one of those values (None: where it is
            given); `shortcut=("lars", ("sgd",))` makes `--lars` another way to set the value,
            allowed beside these; `positional=True` takes the name away; `known_as` are names that
            it has elsewhere, for who types one; `once=True` keeps the value out of what `--config`
            hands on; `empty=True` allows the empty text; `none=True` takes None from Python as if
            nothing was given, of a number whose usual value is none or depends on others;
            `of_words=True` lets a list of any words go on to the next flag; `choices` are the words
            that are allowed, `open` those that go on behind their colon as the user likes, and
            `noun` is what a choice is called; `of_path` gives a function that says what a path in
            its place may have been meant as; `metavar` and `shown` are for `--help`.
            What can be called, the help too, is called when the options are first asked for.
    """
    if default is MISSING:
        return field(metadata={"help": help, **about})
    return field(default=default, metadata={"help": help, **about})


def again(group: type, name: str, default: Any, **about: Any) -> Any:
    """The field of a group with another default, and what else `flag` takes."""
    (found,) = (f for f in fields(group) if f.name == name)
    return field(default=default, metadata={**found.metadata, **about})


def closest(word: str, known: Iterable[str]) -> str | None:
    """The known word that was probably meant: one that begins so, or of nearly the same letters.

    >>> closest("--weight", ["--weight_decay", "--lr"]), closest("--pretrained", ["--train_dir"])
    ('--weight_decay', None)
    """
    names = {name.strip("-").replace("-", "_"): name for name in known}
    wanted = word.strip("-").replace("-", "_")
    near = get_close_matches(wanted, names, n=1, cutoff=0.75 if wanted[3:] else 0.65)
    longer = sorted((name for name in names if wanted[2:] and name.startswith(wanted)), key=len)
    found = longer or near
    return names[found[0]] if found else None


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """The end of an error message.

    >>> did_you_mean("--temprature", ["--temperature", "--momentum"])
    '; did you mean --temperature?'
    """
    near = closest(word, known)
    return f"; did you mean {near}?" if near else ""


def either(words: Iterable[str], last: str = "or") -> str:
    """Several words as a choice.

    >>> either(["a", "b", "c"])
    'a, b or c'
    """
    *most, end = words
    return f"{', '.join(most)} {last} {end}" if most else end


def spell(value: Any) -> str:
    """A value as it is written on a command line."""
    if isinstance(value, tuple | list):
        return " ".join(map(spell, value))
    return str(value).removesuffix(".0") if isinstance(value, float) else str(value)


def as_words(flag: str, value: Any) -> list[str]:
    """A flag with its value, as the words of a command line.

    >>> as_words("temperature", 0.2), as_words("lars", False), as_words("crop_scale", [0.2, 1.0])
    (['--temperature', '0.2'], ['--no-lars'], ['--crop_scale', '0.2', '1'])
    >>> as_words("data_folder", "my data"), as_words("wandb_notes", "-x")  # which is no flag
    (['--data_folder', 'my data'], ['--wandb_notes=-x'])
    """
    if isinstance(value, bool):
        return [f"--{flag}" if value else f"--no-{flag}"]
    words = [*map(spell, value if isinstance(value, tuple | list) else [value])]
    if len(words) == 1 and words[0].startswith("-"):
        return [f"--{flag}={words[0]}"]
    return [f"--{flag}", *words]


def fits(word: str, form: str) -> bool:
    """Whether a word is one that is allowed, which may go on behind a colon, or be the user's own.

    >>> fits("torchvision:MNIST", "torchvision:NAME"), fits("torchvision:", "torchvision:NAME")
    (True, False)
    """
    if form == own.FORM:
        return own.is_own(word) or own.file_of(word) is not None
    head, colon, _ = form.partition(":")
    return word.startswith(head + colon) and word != head + colon if colon else word == form


@dataclass(frozen=True)
class Option:
    """What is known of one option.

    Args:
        name: of the field or parameter; its flag is `--name`.
        hint: its type: `int`, `float`, `bool`, `str`, a Literal of words, a tuple of these, or one
            of these or None, or, behind it, a Literal of words that may stand for it.
        default: MISSING where it must be given.
        about: see `flag`.
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

    @property
    def takes_own(self) -> bool:
        """Whether it may be an object of the user's own."""
        return own.FORM in self.forms

    @property
    def words(self) -> tuple[str, ...]:
        """The words that may stand for a value of another type, as in `float | Literal["auto"]`."""
        others = [t for t in get_args(self.hint) if get_origin(t) is Literal]
        return () if self.choices else tuple(word for t in others for word in get_args(t))

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
    def bounds(self) -> str:
        """The range of a number, in words; empty if it has none."""
        low, high, above, below = (self.about.get(k) for k in ("low", "high", "above", "below"))
        if low is not None and high is not None:
            return f"from {low} to {high}"
        said = f"above {above}" if above is not None else f"at least {low}" * (low is not None)
        ends = f"at most {high}" * (high is not None), f"below {below}" * (below is not None)
        return " and ".join(filter(None, (said, *ends)))

    @property
    def allowed(self) -> str:
        """What it may be, in words."""
        if self.choices:
            return either(self.forms)
        if self.of is bool:
            return "true or false"
        if self.of is str:
            several = "a name" if self.many == 1 else "a list of names"
            known = {"PATH": "a path", "TEXT": "a text"}
            return known.get(self.about.get("metavar", ""), several)
        one, several = NOUNS[self.of]
        noun = one if self.many == 1 else " ".join(filter(None, (str(self.many or ""), several)))
        said = f"{noun} {self.bounds}".replace(" at least", " of at least").rstrip()
        return either([said, *self.words])

    def refusal(self, given: object) -> ValueError:
        """The error that says what is wrong with a value and what to do."""
        plain = isinstance(given, str | int | float | tuple | list | dict | None)
        word = spell(given) if plain else f"an object of {type(given).__qualname__}"
        noun = self.about.get("noun")
        near = did_you_mean(word, self.forms) or self.near_form(word)
        if own.FORM in self.forms and not near:
            near = f"; {own.absent(word)}" * bool(own.absent(word))
        if noun and isinstance(given, str):
            near = near or (self.about["of_path"](word) if "of_path" in self.about else "")
            choice = f"; choose from {', '.join(self.forms)}."
            return ValueError(f"unknown {noun} {word}{near or choice}")
        return ValueError(f"{self.label} must be {self.allowed}, not {word}{near or '.'}")

    def near_form(self, word: str) -> str:
        """The end of an error message about `NAME:REST` where it is NAME that is misspelled."""
        name, colon, rest = word.partition(":")
        known = {form.partition(":")[0] for form in self.forms if ":" in form}
        near = closest(name, known) if colon and name not in known else None
        return f"; did you mean {near}:{rest}?" if near else ""

    def read(self, words: list[str] | bool) -> Any:
        """The value of the words behind the flag, or that of a switch.

        Raises:
            ValueError: they are not allowed.
        """
        if isinstance(words, bool):
            return words
        if not any(words) and not (words and self.about.get("empty")):
            raise ValueError(f"{self.label} needs a value: {self.allowed}.")
        if len(words) == 1 and words[0] in self.words:
            return words[0]
        try:
            values = [self.of(word) for word in words]
        except ValueError:
            raise self.refusal(" ".join(words)) from None
        return self.check(values if self.many != 1 else values[0])

    def check(self, value: Any) -> Any:
        """A value of JSON or Python as the option's type.

        Raises:
            ValueError: it is not allowed.
        """
        if value is None and self.hint is not self.plain:
            return None
        if isinstance(value, str) and value in self.words:
            return value
        numbers = getattr(value, "tolist", None)
        if numbers is not None and getattr(value, "ndim", 0) == 1:  # of a NumPy array
            value = numbers()
        several = isinstance(value, list | tuple)
        if several is (self.many == 1) or (several and self.many not in (None, len(value))):
            raise self.refusal(value)
        if not several:
            return self.check_one(value)
        return tuple(self.check_one(each) for each in value)

    def check_one(self, value: Any) -> Any:
        """A single value: a whole number is also a number, a path also a word, NumPy's likewise."""
        scalar = getattr(value, "shape", None) == () and hasattr(value, "item")
        given: Any = value.item() if scalar else value
        if self.of is float and type(given) is int and abs(given) < 2**53:
            given = float(given)
        if self.of is str and isinstance(given, PurePath):
            given = str(given)
        return self.allow(given)

    def allow(self, value: Any) -> Any:
        """A single value that is of the type and within the range or the choices."""
        if type(value) is not self.of and not (self.takes_own and own.is_own(value)):
            raise self.refusal(repr(value) if isinstance(value, str) else value)
        free = not self.choices and ":" not in str(value)
        if self.forms and not free and not any(fits(value, form) for form in self.forms):
            raise self.refusal(value)
        if self.of is str and not value and not self.about.get("empty"):
            raise ValueError(f"{self.label} needs a value: {self.allowed}.")
        if self.about.get("holds", "") not in str(value):
            raise ValueError(
                f"{self.label} must have {self.about['holds']} in it, not be {value!r}."
            )
        if self.of in NOUNS and not self.in_range(value):
            must = self.bounds if abs(value) < math.inf and self.bounds else self.allowed
            raise ValueError(f"{self.label} must be {must}, not {spell(value)}.")
        return value

    def in_range(self, value: float) -> bool:
        low, high = self.about.get("low", -math.inf), self.about.get("high", math.inf)
        above, below = self.about.get("above", -math.inf), self.about.get("below", math.inf)
        return low <= value <= high and above < value < below


@cache
def options_of(of: type) -> dict[str, Option]:
    """The options of a configuration by name, grouped by the class that brought them in."""
    hints, found = get_type_hints(of), {f.name: f for f in fields(of)}
    return {
        name: Option(
            name,
            hints[name],
            found[name].default,
            {key: what() if callable(what) else what for key, what in found[name].metadata.items()},
            base.__name__,
        )
        for base in of.__mro__[1:]
        for name in vars(base).get("__annotations__", ())
    }


def filled(options: dict[str, Option], given: Any) -> dict[str, Any]:
    """All of a thing's options: those given, and the defaults of the others."""
    return {name: option.default for name, option in options.items()} | dict(given)


def listed(names: Sequence[str]) -> str:
    """Flags in a sentence.

    >>> listed(["lr", "epochs"])
    '--lr and --epochs'
    """
    return either([f"--{name}" for name in names], last="and")
