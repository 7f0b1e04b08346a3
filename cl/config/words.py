"""The words of a command line, sorted by argparse to the flags they belong to.

argparse ends at the first fault. So that all are found at once, a flag that is unknown is said to
be so and then read as the one that was probably meant, and what the words mean is not argparse's.
"""

import json
import re
from argparse import SUPPRESS, ArgumentParser
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise, takewhile
from pathlib import Path
from typing import Any

from cl.config.annotations import SAYABLE
from cl.config.paths import exists, read_settings_file
from cl.config.programs import Linear, Pretrain
from cl.config.rules import kinds_of
from cl.config.schema import Option, closest, fits, options_of
from cl.config.signature import find, having, unsayable

NUMBER = re.compile(r"[-+]?\.?\d")
PAIR = re.compile(r"\w+=")  # NAME=VALUE
HELP = ("-h", "--help")
FILES = {"config": "config.json", "verify": "cards.json"}  # in a run's folder
ACCUMULATION = (
    ": a large --batch_size with a small --mini_batch_size is what it should be, the loss of the "
    "whole batch; summed over small batches, each sample meets the negatives of its own alone."
)


@dataclass
class Line:
    """What was found.

    Args:
        given: for each option the words behind its flag, what a switch means, or a value.
        faults: messages.
        guessed: the options whose flag was misspelt, so that what follows from it is not said.
        lost: after an unknown flag it is not clear whose the words behind it are.
        no_options: why parameters of the user's own things are none.
    """

    given: dict[str, Any] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    guessed: set[str] = field(default_factory=set)
    lost: bool = False
    no_options: dict[str, str] = field(default_factory=dict)


def options_named(of: type[Pretrain | Linear], words: Iterable[str]) -> dict[str, Option]:
    """The options of a program, of its things, and of the user's own things that words name."""
    kinds = kinds_of(of)
    own = [find(kind, word) for word in words if ":" in word for kind in kinds]
    brought = [thing.loss or "" for thing in own if thing and thing.any_loss]
    own += [find("loss", word) for word in brought if ":" in word]
    found = {k: o for thing in own if thing for k, o in thing.options.items()}
    return found | {n: next(iter(o.values())) for n, o in having(kinds).items()} | options_of(of)


def unsayable_in(of: type[Pretrain | Linear], words: Iterable[str]) -> dict[str, str]:
    """Why parameters of the user's own things that words name are no options, by name."""
    words = [*words]
    return {
        name: f"{name} of {thing} is no option; {SAYABLE}."
        for kind in kinds_of(of)
        for name, thing in unsayable(kind, words).items()
    }


def values_in(argv: Sequence[str]) -> list[str]:
    """The words that may name things of the user's own, those in the file of `--config` too."""
    words = [part for word in argv for part in word.split("=", 1)]
    found = [*words]
    for flag, word in pairwise(words):
        if flag.removeprefix("--") in FILES:
            try:
                file = json.loads(read_settings_file(config_file(flag[2:], word)))
            except (OSError, ValueError, RecursionError):  # which is said when it is read
                continue
            chosen = [file.get(k) for k in ("method", "loss")] if isinstance(file, dict) else []
            several = file.get("eval") if isinstance(file, dict) else None
            found += [w for w in (*chosen, *(several or ())) if isinstance(w, str)]
    return found


def config_file(flag: str, word: str) -> Path:
    """The file of `--config` or `--verify`: itself, or the one in a run's folder."""
    path = Path(word)
    return path / FILES[flag] if exists(path) and path.is_dir() else path


def flags_of(of: type[Pretrain | Linear], words: Iterable[str] = ()) -> dict[str, dict[str, Any]]:
    """Every flag of a program, with what argparse needs to know of it."""
    return arguments_of(options_named(of, words))


def arguments_of(options: Mapping[str, Option]) -> dict[str, dict[str, Any]]:
    """What argparse needs to know of options, by flag."""
    found: dict[str, dict[str, Any]] = {}
    for name, option in options.items():
        if option.about.get("positional"):
            continue
        if option.of is bool:
            for flag, value in ((f"--{name}", True), (f"--no-{name}", False)):
                found[flag] = {"dest": name, "action": "store_const", "const": value}
        else:
            found[f"--{name}"] = {"dest": name, "nargs": "?" if option.many == 1 else "*"}
        if short := option.shortcut:
            found[f"--{short}"] = {"dest": short, "action": "store_const", "const": True}
    return found


def sort(of: type[Pretrain | Linear], argv: Sequence[str]) -> Line:
    """Give every word its flag; the last of several equal flags counts."""
    options = options_named(of, values_in(argv))
    flags = arguments_of(options)
    line = Line(no_options=unsayable_in(of, values_in(argv)))
    argv = [lowered(word) for word in argv]
    parser = ArgumentParser(add_help=False, allow_abbrev=False, argument_default=SUPPRESS)
    parser._negative_number_matcher = NUMBER  # argparse's own does not know -1e-3
    for flag, settings in flags.items():
        dest, const = settings.get("dest"), settings.get("const")
        also = [] if const is None else [f"--{dest}={str(const).lower()}"]
        parser.add_argument(flag, *also, **settings)
    for word in dict.fromkeys(argv):
        if is_flag(word) and word not in parser._option_string_actions:
            report_unknown(of, word, options, flags, parser, line)
    found, rest = parser.parse_known_args(argv)
    rest = [word for word in rest if word != "--"]
    for name, value in vars(found).items():
        if name in options and options[name].many != 1 and isinstance(value, list):
            value = listed_words(value)
            end = ends(options[name], value)
            rest, value = [*rest, *value[end:]], value[:end]  # `--gpus 0 1 digits resnet18`
        line.given[name] = value if isinstance(value, bool | list) else [value or ""]
    line.given.pop(SUPPRESS, None)
    positional = [name for name, o in options.items() if o.about.get("positional")]
    if not line.lost:
        line.given |= {n: [w] for n, w in zip(positional, rest, strict=False)}
        line.faults += [f"unexpected word {word}." for word in rest[len(positional) :]]
    return line


def lowered(word: str) -> str:
    """A word, with True and False behind its equals sign, as sweeps write them, in lower case."""
    flag, equals, value = word.partition("=")
    small = value.lower()
    return f"{flag}{equals}{small}" if is_flag(word) and small in ("true", "false") else word


def listed_words(words: list[str]) -> list[str]:
    """The words of a list, also of one that stands in brackets behind an equals sign.

    >>> listed_words(["[0.9, 0.95]"]), listed_words(["0.9", "0.95"])  # the first is of a sweep
    (['0.9', '0.95'], ['0.9', '0.95'])
    """
    if len(words) == 1 and words[0].startswith("[") and words[0].endswith("]"):
        return [word.strip(" '\"") for word in words[0][1:-1].split(",")]
    return words


def is_flag(word: str) -> bool:
    """Whether a word is a flag and no negative number."""
    return word.startswith("-") and word.strip("-") != "" and not NUMBER.match(word)


def report_unknown(
    of: type[Pretrain | Linear],
    word: str,
    options: Mapping[str, Option],
    flags: dict[str, dict[str, Any]],
    parser: ArgumentParser,
    line: Line,
) -> None:
    """Say what is wrong with a word that is no flag as it stands, and let argparse read on."""
    flag, equals, value = word.partition("=")
    if flag in flags:
        if equals and "const" in flags[flag]:
            line.faults.append(f"{flag} takes true or false behind an equals sign, not {value}.")
            parser.add_argument(word, **flags[flag])
        return
    elsewhere = {w: name for name, o in options.items() for w in o.about.get("known_as", ())}
    name = flag.lstrip("-").replace("-", "_")
    name = elsewhere.get(name, name)
    near = f"--{name}" if f"--{name}" in flags else closest(flag, [*flags, *HELP])
    said = f"; did you mean {near}?" if near else "; see --help all."
    if name in options and options[name].about.get("positional"):
        near, said = None, f"; {name.upper()} is a word without a flag: DATASET ENCODER."
    if issubclass(of, Pretrain) and "accum" in flag:
        said = ACCUMULATION
    line.faults.append(line.no_options.get(name) or f"unknown flag {flag}{said}")
    line.lost = line.lost or near not in flags
    if near in flags:
        line.guessed.add(flags[near]["dest"])
    if flag not in parser._option_string_actions:
        parser.add_argument(flag, **flags.get(near or "", {"dest": SUPPRESS, "nargs": "*"}))


def ends(option: Option, words: Sequence[str]) -> int:
    """Where a list ends: behind as many words as it takes, its last number or choice.

    One of any words ends at the next flag.
    """
    if not words or words[0] in option.words:
        return len(words[:1])
    if option.many:
        return option.many
    if option.about.get("of_words"):
        return len(words)

    held = option.about.get("holds")

    def goes_on(word: str) -> bool:
        return (
            bool(held and held in word)
            or bool(NUMBER.match(word) or PAIR.match(word))
            or any(fits(word, form) for form in option.forms)
        )

    return 1 + len([*takewhile(goes_on, words[1:])])
