"""The words of a command line, sorted to the flags they belong to.

argparse gives up at the first fault and lets `--gpus 0 1` swallow the data set behind it; here
all faults are collected and a list ends where its numbers or choices do.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from cl.config.programs import Linear, Pretrain
from cl.config.setting import closest, did_you_mean, settings_of
from cl.config.signature import all_settings, plug_in

NUMBER = re.compile(r"[-+]?\.?\d")
PAIR = re.compile(r"\w+=")  # NAME=VALUE
HELP = ("-h", "--help")
ACCUMULATION = (
    ": a large --batch_size with a small --mini_batch_size is what it should be, the loss of the "
    "whole batch; summed over small batches, each sample meets the negatives of its own alone"
)


@dataclass(frozen=True)
class Flag:
    """How many words a flag takes, and what it says by itself.

    Args:
        name: the setting's.
        many: the most words behind it; None is as many numbers, or words of the choices, as there
            are.
        means: the value of a flag that takes none.
        choices: the words that it may be.
    """

    name: str
    many: int | None
    means: bool | str | None = None
    choices: tuple[str, ...] = ()

    def goes_on(self, word: str) -> bool:
        """Whether a list that has begun goes on with a word."""
        return bool(NUMBER.match(word) or PAIR.match(word)) or word in self.choices


@dataclass
class Sorted:
    """What was found.

    Args:
        given: for each setting the words behind its flag, or what a flag without words means.
        shortcuts: for each setting the value that its shortcut means, if that stood there.
        rest: words that belong to no flag.
        wrong: messages.
        lost: after an unknown flag it is not clear whose the words behind it are.
    """

    given: dict[str, list[str] | bool] = field(default_factory=dict)
    shortcuts: dict[str, str] = field(default_factory=dict)
    rest: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    lost: bool = False


def flags_of(of: type[Pretrain | Linear], argv: Sequence[str] = ()) -> dict[str, Flag]:
    """Every flag of a program, and those of the user's own methods and losses that a line names."""
    settings = [s for s in settings_of(of).values() if not s.about.get("positional")]
    if of is Pretrain:
        settings += [next(iter(having.values())) for having in all_settings().values()]
        words = [word.rpartition("=")[2] for word in argv if ":" in word]
        own = [plug_in(word, group) for word in words for group in ("method", "loss")]
        settings += [s for thing in own if thing for s in thing.settings.values()]
    found = {}
    for s in settings:
        found[s.label] = Flag(s.name, s.many, choices=s.choices)
        if s.of is bool:
            found[s.label] = Flag(s.name, 0, means=True)
            found[f"--no-{s.name}"] = Flag(s.name, 0, means=False)
        if s.shortcut:
            found[f"--{s.shortcut}"] = Flag(s.name, 0, means=s.shortcut)
    return found


def is_flag(word: str) -> bool:
    """Whether a word is a flag and no negative number."""
    return len(word) > 1 and word.startswith("-") and not NUMBER.match(word)


def sort(of: type[Pretrain | Linear], argv: Sequence[str]) -> Sorted:
    """Give every word its flag; the last of several equal flags counts."""
    flags, found, words = flags_of(of, argv), Sorted(), list(argv)
    while words:
        word = words.pop(0)
        if not is_flag(word):
            found.rest.append(word)
            continue
        option, equals, value = word.partition("=")
        if option not in flags:
            meant = closest(option, [*flags, *HELP])
            sums = of is Pretrain and "accum" in option
            found.wrong.append(
                f"unknown flag {option}{ACCUMULATION if sums else did_you_mean(meant)}"
            )
            found.lost = found.lost or meant not in flags
            option = meant or option  # read on as if it had been meant, to find later faults too
        if flag := flags.get(option):
            if equals:
                words.insert(0, value)
            take(flag, words, found, behind=bool(equals))
    if found.lost:
        found.rest.clear()
    return found


def take(flag: Flag, words: list[str], found: Sorted, behind: bool) -> None:
    """Move a flag's words from the line to what was found.

    Args:
        flag: whose.
        words: the rest of the line; what is taken is removed.
        found: where it goes.
        behind: the first word stood behind an equals sign, so it is the flag's whatever it is.
    """
    taken = [words.pop(0)] if behind else []
    while words and not is_flag(words[0]) and len(taken) < (flag.many or len(taken) + 1):
        if flag.many == 0 or (flag.many is None and taken and not flag.goes_on(words[0])):
            break
        taken.append(words.pop(0))
    if flag.means is None:
        found.given[flag.name] = taken
    elif taken:
        found.wrong.append(f"--{flag.name}: given {taken[0]}, allowed nothing behind it")
    elif isinstance(flag.means, str):
        found.shortcuts[flag.name] = flag.means
    else:
        found.given[flag.name] = flag.means
