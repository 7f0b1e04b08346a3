"""A command line, or values from Python, become a configuration or the list of all their faults."""

import re
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import MISSING, replace
from typing import Any

from cl import rates
from cl.config import encoders
from cl.config.evaluations import ALL, about
from cl.config.handed_on import by_place, inherited, of_pretraining, own_names
from cl.config.helptext import help_of
from cl.config.launcher import is_first
from cl.config.own import Own
from cl.config.paths import exists, no_run
from cl.config.programs import C, Linear, Pretrain, folder_of_runs, rooms
from cl.config.rules import (
    OF_METHOD,
    contradictions,
    foreign_options,
    forgiven,
    kinds_of,
    of_eval_options,
    of_values,
    out_of_place,
)
from cl.config.schema import Option, did_you_mean, either, listed, options_of
from cl.config.signature import default_loss, loss, method, word_of
from cl.config.store import ConfigError, draft
from cl.config.thing import Kind
from cl.config.words import HELP, Line, options_named, sort, unsayable_in

NO_WORD = re.compile(r"\W+")
Read = Callable[[Option, Any], Any]


def parse_pretrain(argv: Sequence[str]) -> Pretrain:
    """The configuration of `main_contrastive.py`.

    Raises:
        ConfigError: with a sentence for each fault.
    """
    return parse(Pretrain, argv)


def parse_linear(argv: Sequence[str]) -> Linear:
    """The configuration of `main_linear.py`.

    Raises:
        ConfigError: with a sentence for each fault.
    """
    return parse(Linear, argv)


def parse(of: type[C], argv: Sequence[str]) -> C:
    """The configuration of a program; `--help` is answered here."""
    if asked := [i for i, word in enumerate(argv) if word in HELP]:
        at = asked[0]
        line = sort(of, argv[:at])
        sys.stdout.write(help_of(of, argv[at + 1 :], line.given))
        raise SystemExit(0)
    return assemble(of, sort(of, argv), Option.read)


def parse_transfer(config: Linear, argv: Sequence[str]) -> list[Linear]:
    """A command line with `--transfer` as a configuration for each data set, DATASET first.

    Args:
        config: as parsed.
        argv: its words.

    Raises:
        ConfigError: with a sentence for each fault of one of the data sets.
    """
    found = []
    for name in (config.dataset, *config.transfer):
        given = {k: v for k, v in sort(Linear, argv).given.items() if k != "transfer"}
        given["dataset"] = [name]
        if config.run_id:
            given["run_id"] = [f"{config.run_id}-{NO_WORD.sub('_', name)}"]
        found.append(replace(assemble(Linear, Line(given), Option.read), transfer=()))
    return found


def configure(program: type[C], values: Mapping[str, Any]) -> C:
    """The configuration of values that Python gives; they are checked as those of a command line.

    Args:
        program: `Pretrain` or `Linear`.
        values: by the names of the flags, those of the method, the loss and the evaluations too;
            `dataset`, `encoder`, `method`, `loss`, `scheduler` and what `eval` lists may be
            objects, see `is_own`.

    Returns:
        The configuration.

    Raises:
        ConfigError: with a sentence for each fault.
    """
    options = options_of(program)
    given = {
        name: as_word(options[name], value) if name in options else value
        for name, value in values.items()
    }
    choices = [given.get(kind) for kind in kinds_of(program)]
    several = [w for c in choices for w in (c if isinstance(c, list | tuple) else [c])]
    words = [word for word in several if isinstance(word, str)]
    known = options_named(program, words)
    known |= {o.shortcut: o for o in known.values() if o.shortcut}
    said = (name for name in given if name in known and not leaves_open(known[name], given[name]))
    line = Line({name: given[name] for name in said})
    no_options = unsayable_in(program, words)
    line.faults = [
        no_options.get(name) or f"unknown option {name}{did_you_mean(name, known) or '.'}"
        for name in given
        if name not in known
    ]
    return assemble(program, line, Option.check)


def leaves_open(option: Option, value: Any) -> bool:
    """Whether None from Python stands for what holds where an option is not given."""
    if value is not None or option.hint is not option.plain:  # None is a value of it
        return False
    return option.default == () or bool(option.about.get("none"))


def as_word(option: Option, value: Any) -> Any:
    """A value from Python, with a word in place of each object of the user's own."""
    if not option.takes_own or isinstance(value, str | None):
        return value
    if option.many != 1:
        each = value if isinstance(value, list | tuple) else [value]
        return [word_of("eval", v) if callable(v) else v for v in each]
    kinds: dict[str, Kind] = {"method": "method", "loss": "loss"}
    return word_of(kinds[option.name], value) if option.name in kinds else Own(value)


def assemble(of: type[C], line: Line, read: Read) -> C:
    """The configuration of what was given.

    Args:
        of: which one.
        line: values that are not checked yet, and faults that are known already.
        read: how an option checks a value.

    Raises:
        ConfigError: with a sentence for each fault.
    """
    given, faults = line.given, line.faults
    if exchanged := exchanged_names(of, given, read):
        raise ConfigError(exchanged)
    meant = {name: value for name, value in given.items() if name not in line.guessed}
    values, failed = read_settings(of, meant, read, faults)
    failed |= line.guessed
    said, unasked = len(faults), dict[str, str]()
    line_values = by_place(values)
    there = inherited(of, line_values, faults, unasked)
    unread = len(faults) > said  # a file, and what it would have handed on is not missing
    said = len(faults)
    there |= of_pretraining(line_values, faults) | line_values
    failed |= {"eval"} if len(faults) > said else set()
    there = method_defaults(of, there) | there
    gone = [] if unread else missing(of, {*there, *failed}, line.lost)
    run = there.get("pretrained_feature_extractor")
    if gone and run is not None and not exists(run):  # what cannot say what the line leaves out
        gone = [no_run("pretrained_feature_extractor", run, folder_of_runs(there.get("output")))]
    elif gone and run is not None and (own := own_names(run, there)):
        gone = [own]
    faults += gone
    if "eval" in there and (wrong := unknown_evaluations(there["eval"])):
        faults += wrong
        failed |= {"eval"}
        del there["eval"]
    config, ignored = tidied(draft(of, there), values, failed, faults)
    faults += [text for text, about in contradictions(config) if not failed & {*about}]
    if not failed & {"method", "loss", "eval"}:
        config, more = with_options(config, meant, read, faults)
        config, last = tidied(config, values, failed, faults, known=True)
        ignored |= more | last
        if isinstance(config, Pretrain):
            faults += of_values(config)
        else:
            faults += [text for text, about in of_eval_options(config) if not failed & {*about}]
    if faults:
        raise ConfigError(*faults)
    warn(ignored | unasked)
    return config


def exchanged_names(of: type[Pretrain | Linear], given: Mapping[str, Any], read: Read) -> str:
    """The message about a data set and an encoder in each other's place; empty otherwise."""
    options = options_of(of)
    if not {"dataset", "encoder"} <= {*given}:
        return ""
    try:
        dataset = read(options["encoder"], given["dataset"])
        encoder = read(options["dataset"], given["encoder"])
    except ValueError:
        return ""
    try:
        read(options["dataset"], given["dataset"])
    except ValueError:
        if not encoders.unknown(dataset):
            return (
                f"DATASET {dataset} is an encoder and ENCODER {encoder} a data set: exchange them."
            )
    return ""


def read_settings(
    of: type[Pretrain | Linear], given: Mapping[str, Any], read: Read, faults: list[str]
) -> tuple[dict[str, Any], set[str]]:
    """The values of the settings, and the names of those that are refused."""
    options, values, failed = options_of(of), dict[str, Any](), set[str]()
    for name in (name for name in given if name in options):
        try:
            values[name] = read(options[name], given[name])
        except ValueError as error:
            faults.append(str(error))
            failed.add(name)
    for name, option in options.items():
        if (short := option.shortcut) and given.get(short):
            beside = option.about["shortcut"][1]
            if values.get(name, short) not in (short, *beside):
                faults.append(
                    f"--{short} cannot be used with --{name} {values[name]}, "
                    f"only with --{name} {either(beside)}."
                )
            values[name] = short
    return values, failed


def method_defaults(of: type[Pretrain | Linear], there: Mapping[str, Any]) -> dict[str, Any]:
    """The loss that a method has by default; the optimizer and rates that it or its loss brings.

    Who names an optimizer has its usual rate; whether that is scaled by the batch it says itself.
    """
    if of is Linear:
        return {}
    name = there.get("method", options_of(of)["method"].default)
    chosen = method(name)
    first: dict[str, Any] = {"loss": default_loss(name) or options_of(of)["loss"].default}
    if "optimizer" not in there:
        first |= chosen.defaults or loss((first | dict(there))["loss"]).defaults
    optimizer = (first | dict(there)).get("optimizer", options_of(of)["optimizer"].default)
    usual = {"lr": rates.usual_rate(optimizer), "lr_scaling": rates.are_scaled(optimizer)}
    return usual | first


def unknown_evaluations(names: Sequence[str]) -> list[str]:
    """Messages about evaluations of the user's own that are none."""
    wrong = []
    for name in (name for name in names if name != ALL):
        try:
            about(name)
        except ValueError as error:
            wrong.append(str(error))
    return wrong


def missing(of: type[Pretrain | Linear], there: Collection[str], lost: bool) -> list[str]:
    """Messages about settings without a default that are not there."""
    wrong = []
    for name, o in options_of(of).items():
        if o.default is MISSING and name not in there and not (lost and o.about.get("positional")):
            choose = f"choose from {', '.join(o.forms)}" if o.choices else f"give {o.allowed}"
            wrong.append(f"{o.label} is missing; {choose}.")
    return wrong


def tidied(
    config: C,
    line: Mapping[str, Any],
    failed: set[str],
    faults: list[str],
    *,
    known: bool = False,
) -> tuple[C, dict[str, str]]:
    """The configuration without settings it has no use for, and these with the reason.

    One that the line itself gives is an error, unless it is `forgiven`; one that a file handed on
    is not, for the user did not ask for it.

    Args:
        config: as drafted.
        line: what was given.
        failed: settings whose values were refused already.
        faults: are added to.
        known: whether the options of what is chosen are, on which other settings depend.
    """
    options, ignored = options_of(type(config)), dict[str, str]()
    for name, why in out_of_place(config, options).items():
        other = options[name].about.get("needs", ("eval",))[0]
        if failed & {name, other} or (other == OF_METHOD) is not known:
            continue
        given = line.get(name) is not None  # None, of Python, asks for nothing
        if given and not forgiven(config, name):
            faults.append(f"--{name} {why}.")
            failed.add(name)  # whatever its value is
        elif given or getattr(config, name) != options[name].default:
            ignored[name] = why
    return replace(config, **{name: options[name].default for name in ignored}), ignored


def with_options(
    config: C, given: Mapping[str, Any], read: Read, faults: list[str]
) -> tuple[C, dict[str, str]]:
    """The configuration with the options of what was chosen, and why others are ignored."""
    found, settings = rooms(config), options_of(type(config))
    shortcuts = {o.shortcut for o in settings.values()}
    asked = [name for name in given if name not in settings and name not in shortcuts]
    kept = [name for room in found for name in getattr(config, room)]
    ignored = {}
    for name, why in foreign_options(config, [*kept, *asked]).items():
        given_here = name in asked and given[name] is not None
        if given_here and not forgiven(config, name):
            faults.append(f"--{name} {why}.")
        elif given_here or name in kept:
            ignored[name] = why
    values = {}
    for room, options in found.items():
        values[room] = {k: v for k, v in getattr(config, room).items() if k in options}
        for name in (name for name in asked if name in options):
            try:
                values[room][name] = read(options[name], given[name])
            except ValueError as error:
                faults.append(str(error))
    return replace(config, **values), ignored


def warn(ignored: Mapping[str, str]) -> None:
    """Say what is ignored and why, a sentence for each reason."""
    by_reason: dict[str, list[str]] = {}
    for name, why in ignored.items():
        by_reason.setdefault(why, []).append(name)
    for why, names in by_reason.items() if is_first() else ():
        why = why.replace("needs", "need", 1) if names[1:] else why
        sys.stderr.write(f"warning: ignored {listed(names)}, which {why}.\n")
