"""`--help`: what people set most, everything, or one method, loss, evaluation or data set."""

import inspect
import shutil
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import MISSING
from typing import Any

from cl.config import datasets
from cl.config.evaluations import ALL
from cl.config.programs import Linear, Pretrain, start_of
from cl.config.rules import condition, kinds_of
from cl.config.schema import Option, did_you_mean, either, options_of, spell
from cl.config.signature import default_loss, find, having, loss_of, things
from cl.config.store import ConfigError
from cl.config.thing import Kind, Thing

Row = tuple[str, str]  # what stands on the left, and on the right
EXAMPLES = {
    Pretrain: "main_contrastive.py digits resnet6_w16 --epochs 20",
    Linear: "main_linear.py digits resnet6_w16 --pretrained_feature_extractor trained_models/ID",
}
TOPICS = ("all", "method NAME", "loss NAME", "eval NAME", "data NAME")
COLUMN = 30  # where the right side begins
NARROW = 70  # a terminal that has no room for two sides


def help_of(
    of: type[Pretrain | Linear], topic: Sequence[str] = (), given: Mapping[str, Any] | None = None
) -> str:
    """The text of `--help`.

    Args:
        of: the program.
        topic: the words behind `--help`: none, `all`, or a kind and a name.
        given: words of other flags; the options of what they choose are shown too.

    Raises:
        ConfigError: there is no such topic.
    """
    kinds: dict[str, Kind] = {"method": "method", "loss": "loss", "eval": "eval"}
    if not topic or topic[0].startswith("-"):
        return program_help(of, chosen(of, given or {}), whole=False)
    first, name = topic[0], topic[1] if topic[1:] else ""
    if first == "all":
        return program_help(of, {}, whole=True)
    if first == "data":
        return data_help(name)
    if first not in kinds:
        near = did_you_mean(first, ["all", *kinds, "data"])
        raise ConfigError(f"--help has no topic {first}{near or f'; choose {either(TOPICS)}.'}")
    thing = find(kinds[first], name)
    if thing is None:
        raise ConfigError(unknown_topic(first, name, things(kinds[first])))
    return thing_help(kinds[first], thing)


def unknown_topic(kind: str, name: str, known: Mapping[str, Any]) -> str:
    """The message about a name that is missing or that nothing has."""
    noun = {"eval": "evaluation", "data": "data set"}.get(kind, kind)
    choice = f"; choose from {', '.join(known)}."
    if not name:
        return f"--help {kind} needs a name{choice}"
    return f"unknown {noun} {name}{did_you_mean(name, known) or choice}"


def chosen(of: type[Pretrain | Linear], given: Mapping[str, Any]) -> dict[str, Thing]:
    """What a line chooses, or the program's defaults, by `--method NAME` and the like."""
    defaults, found = options_of(of), {}
    for kind in kinds_of(of):
        default = defaults[kind].default
        names = given.get(kind) or (default if isinstance(default, tuple) else [default])
        if kind == "loss":
            method = (given.get("method") or [defaults["method"].default])[0]
            words = given.get(kind) or [default_loss(method) or str(default)]
            names = [loss_of(method, word) for word in words]
        for name in (name for name in names if name != ALL):
            if thing := find(kind, name):
                found[f"--{kind} {name}"] = thing
    return found


def program_help(of: type[Pretrain | Linear], shown: Mapping[str, Thing], *, whole: bool) -> str:
    """The flags of a program.

    Args:
        of: the program.
        shown: the things whose options are shown; of all of them where `whole`.
        whole: every flag, not only the common ones.
    """
    program, _, words = EXAMPLES[of].partition(" ")
    start = start_of(program)
    titles = {base.__name__: base.__doc__ or "" for base in of.__mro__}
    parts: dict[str, list[Row]] = {}
    for option in options_of(of).values():
        if whole or option.about.get("common"):
            title = f"{option.group.removesuffix('Options').lower()}: {titles[option.group]}"
            parts.setdefault(title, []).extend(option_rows(option))
    for label, thing in shown.items():
        if thing.options:
            parts[f"options of {label}:"] = rows_of(thing.options.values())
    for kind in kinds_of(of) if whole else ():
        merged = (merge(each) for each in having((kind,)).values())
        parts[f"options of --{kind}; each NAME has its own:"] = rows_of(merged)
    more = " ".join(f"[{topic}]" for topic in TOPICS)
    parts["help:"] = [(f"--help {more}", "every flag, or one thing with its options and source")]
    usage = fill(f"usage: {start[-1]} DATASET ENCODER [--flag value ...]")
    said = (of.__doc__ or "").partition("\n")[0]
    example = fill(f"example: {' '.join(start)} {words}")
    return "\n\n".join([usage, said, *map(part, parts, parts.values()), example]) + "\n"


def part(title: str, lines: Sequence[Row]) -> str:
    return "\n".join([fill(title), *(row(*line) for line in lines)])


def merge(having: Mapping[str, Option]) -> Option:
    """The option of several things as one, with the default of each."""
    one, by_default = next(iter(having.values())), dict[str, list[str]]()
    for of, option in having.items():
        by_default.setdefault(describe_default(option), []).append(of.split()[1])
    said = [f"{', '.join(names)}: {default}" for default, names in by_default.items()]
    help = next((o.about["help"] for o in having.values() if o.about["help"]), "")
    shown = "; ".join(said)
    return Option(one.name, one.hint, one.default, {"help": help, "shown": shown}, one.group)


def thing_help(kind: str, thing: Thing) -> str:
    """One method, loss or evaluation: what it does, its options, where it is from."""
    text = inspect.cleandoc(thing.doc).partition("\nArgs:")[0]
    said = [f"--{kind} {thing.name}", *map(fill, text.split("\n\n"))]
    if kind == "method":
        loss = "any of --loss" if thing.any_loss else thing.loss or "its own"
        said.append(f"loss: {loss}")
    brought = (f"--{name} {spell(value)}" for name, value in thing.defaults.items())
    said.append(fill(" ".join(["trained with", *brought])) if thing.defaults else "")
    lines = rows_of(thing.options.values())
    said.append(part("options:", lines) if lines else "It has no options.")
    said.append(fill(f"source: {' '.join(thing.source.split())}"))
    return "\n\n".join(filter(None, said)) + "\n"


def data_help(name: str) -> str:
    """One data set: what it is, its images, its flags, where it is from."""
    known, word = datasets.rows(), name.partition(":")[0]
    if word not in known and not datasets.is_file(name):
        raise ConfigError(unknown_topic("data", name, known))
    about = datasets.row_of(name)
    flags = {"data_folder": "--data_folder", "download": "--download"}
    said = [flag for key, flag in flags.items() if about[key]]
    said += ["--train_dir", "--val_dir", "--class_list"] * about["class_folders"]
    lines = [
        ("images", f"{about['size']} px by default"),
        ("mean", spell(about["mean"])),
        ("std", spell(about["std"])),
        ("flags", ", ".join(said) or "none"),
    ]
    form = datasets.form(word) if word in known else name
    source = fill(f"source: {datasets.source(name)}")
    return (
        "\n\n".join(
            [form, fill(about["help"] or "A data set of your own."), part("row:", lines), source]
        )
        + "\n"
    )


def rows_of(options: Iterable[Option]) -> list[Row]:
    """The rows of several options."""
    return [row for option in options for row in option_rows(option)]


def option_rows(option: Option) -> Iterator[Row]:
    """An option, and the flag that is another way to set it."""
    yield left(option), right(option)
    if option.shortcut:
        yield f"--{option.shortcut}", f"the same as {option.label} {option.shortcut}"


def left(option: Option) -> str:
    """A flag with what stands for its value."""
    if option.about.get("positional"):
        return option.label
    if option.of is bool:
        return f"--[no-]{option.name}"
    value = option.about.get("metavar") or {int: "N", float: "X"}.get(option.of, "NAME")
    value = " ".join(value) if isinstance(value, tuple) else value
    return f"{option.label} {value}{' ...' * (option.many is None)}"


def right(option: Option) -> str:
    """What a flag does, what it takes and needs, its default."""
    text, positional = option.about["help"], option.about.get("positional")
    if option.choices and not positional and option.name != "eval":
        text = f"{text}: {option.allowed}" if text else option.allowed
    if needs := option.about.get("needs"):
        text = f"{text}; {condition(*needs)}"
    if positional:
        return text
    if option.default is MISSING:
        return f"{text} (required)"
    return f"{text} (default: {describe_default(option)})"


def describe_default(option: Option) -> str:
    """A default as a reader reads it."""
    if shown := option.about.get("shown"):
        return shown
    if isinstance(option.default, bool):
        return "yes" if option.default else "no"
    return "none" if option.default in (None, ()) else spell(option.default)


def columns() -> int:
    return shutil.get_terminal_size().columns - 1


def fill(text: str, indent: str = "") -> str:
    """A paragraph as wide as the terminal; an address is never broken."""
    return textwrap.fill(
        " ".join(text.split()),
        max(columns(), 30),
        subsequent_indent=indent,
        initial_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )


def row(flag: str, text: str) -> str:
    """A flag and its help, side by side where there is room."""
    if columns() < NARROW:
        return f"{fill(flag, '  ')}\n{fill(text, ' ' * 6)}"
    said = fill(text, " " * COLUMN)
    if len(flag) < COLUMN - 3:
        return f"  {flag}".ljust(COLUMN) + said.lstrip()
    return f"  {flag}\n{said}"
