"""A command line becomes a configuration, or the list of everything that is wrong with it."""

import json
import os
import sys
from collections.abc import Collection, Mapping, Sequence
from dataclasses import MISSING, fields, replace
from itertools import takewhile
from pathlib import Path
from typing import Any

from cl.config import signature
from cl.config.evaluations import plugins
from cl.config.helptext import help_of
from cl.config.programs import Linear, Pretrain, linear_with
from cl.config.rules import (
    contradictions,
    foreign_options,
    forgiven,
    of_values,
    out_of_place,
    spell,
)
from cl.config.setting import settings_of
from cl.config.stored import C, ConfigError, draft, values_from_json
from cl.config.words import HELP, Sorted, sort

CARDS = "cards.json"
FILES = {"config": "config.json", "verify": CARDS}


def parse_pretrain(argv: Sequence[str]) -> Pretrain:
    """The configuration of `main_contrastive.py`.

    Raises:
        ConfigError: with a line for each fault.
    """
    return parse(Pretrain, argv)


def parse_linear(argv: Sequence[str]) -> Linear:
    """The configuration of `main_linear.py`.

    Raises:
        ConfigError: with a line for each fault.
    """
    return parse(Linear, argv)


def parse(of: type[C], argv: Sequence[str]) -> C:
    """The configuration of a program; `--help` is answered here."""
    if of is Linear:
        of = linear_with(plugins(evaluations_on(argv)))  # pyright: ignore[reportAssignmentType]
    if any(word in HELP for word in argv):
        sys.stdout.write(help_of(of))
        raise SystemExit(0)
    words = sort(of, argv)
    line, failed = read(of, words)
    values = inherited(of, line, words.wrong) | line
    words.wrong += missing(of, {*values, *failed}, words)
    config, ignored = tidied(draft(of, values), line, failed, words.wrong)
    words.wrong += [text for text, about in contradictions(config) if not failed & {*about}]
    if isinstance(config, Pretrain) and not failed & {"method", "loss"}:
        config, more = with_options(config, words)
        ignored |= more
        words.wrong += of_values(config)
    if words.wrong:
        raise ConfigError(*words.wrong)
    if ignored and os.environ.get("LOCAL_RANK", "0") == "0":
        reasons: dict[str, list[str]] = {}
        for name, why in ignored.items():
            reasons.setdefault(why, []).append(f"--{name}")
        said = ", ".join(f"{' '.join(names)} ({why})" for why, names in reasons.items())
        sys.stderr.write(f"warning: ignored: {said}\n")
    return config


def evaluations_on(argv: Sequence[str]) -> list[Any]:
    """The words of `--eval`, on the line or in the file that it names; faults are found later."""
    words = [part for word in argv for part in (word.split("=", 1) if word[:2] == "--" else [word])]
    behind = {
        w: words[i + 1 :] for i, w in enumerate(words) if w in ("--eval", "--verify", "--config")
    }
    if "--eval" in behind:
        return list(takewhile(lambda word: not word.startswith("--"), behind["--eval"]))
    for file in (rest[0] for flag, rest in sorted(behind.items(), reverse=True) if rest):
        path = Path(file)
        try:
            found = json.loads(
                (path / CARDS if path.is_dir() else path).read_text(encoding="utf-8")
            )
        except (OSError, ValueError, RecursionError):
            continue
        given = found.get("eval") if isinstance(found, dict) else None
        return given if isinstance(given, list) else []
    return []


def read(of: type[Pretrain | Linear], words: Sorted) -> tuple[dict[str, Any], set[str]]:
    """The values on the line, and the names of those that are refused."""
    settings, values, failed = settings_of(of), dict[str, Any](), set[str]()
    positional = [name for name, s in settings.items() if s.about.get("positional")]
    words.wrong += [f"unexpected word {word}" for word in words.rest[len(positional) :]]
    given = words.given | {n: [w] for n, w in zip(positional, words.rest, strict=False)}
    for name in (name for name in given if name in settings):
        try:
            values[name] = settings[name].value_of(given[name])
        except ValueError as error:
            words.wrong.append(str(error))
            failed.add(name)
    for name, value in words.shortcuts.items():
        beside = settings[name].about["shortcut"][1]
        if values.get(name, value) not in (value, *beside):
            words.wrong.append(
                f"--{value}: given with --{name} {values[name]}, allowed with --{name} "
                + " or ".join(beside)
            )
        values[name] = value
    return values, failed


def inherited(
    of: type[Pretrain | Linear], line: Mapping[str, Any], wrong: list[str]
) -> dict[str, Any]:
    """What the file of `--config`, or of `--verify`, hands on; faults are added to `wrong`."""
    flag = next((name for name in ("verify", "config") if name in line), None)
    if flag is None:
        return {}
    path = Path(line[flag])
    path = path / CARDS if path.is_dir() else path
    try:
        theirs, values = values_from_json(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not text"
        wrong.append(f"--{flag}: given {path}, allowed a run's {FILES[flag]} ({reason})")
    except ConfigError as error:
        wrong += [f"--{flag} {path}: {text}" for text in error.args]
    else:
        settings = settings_of(of)
        if issubclass(theirs, Linear) is issubclass(of, Linear):
            once = {name for name, s in settings.items() if s.about.get("once")}
            if "batch_size" in line:  # which the line's own word is on
                once.add("global_batch_size")
            known = {f.name for f in fields(of)}  # not what is of an evaluation that is left out
            return {n: v for n, v in values.items() if n not in once and n in known}
        wrong.append(f"--{flag}: given {path} of the other program, allowed one of this program")
    return {}


def missing(of: type[Pretrain | Linear], there: Collection[str], words: Sorted) -> list[str]:
    """Messages about settings without a default that are not there."""
    return [
        f"{s.label}: missing, allowed {s.allowed}"
        for name, s in settings_of(of).items()
        if s.default is MISSING
        and name not in there
        and not (words.lost and s.about.get("positional"))
    ]


def tidied(
    config: C, line: Mapping[str, Any], failed: set[str], wrong: list[str]
) -> tuple[C, dict[str, str]]:
    """The configuration without settings it has no use for, and these with the reason.

    One that the line itself gives is an error, unless it is `forgiven`; one that a file handed on
    is not, for the user did not ask for it.
    """
    settings = settings_of(type(config))
    ignored = {}
    for name, why in out_of_place(config, settings).items():
        if failed & {name, settings[name].about.get("needs", ("eval",))[0]}:
            continue
        if name in line and not forgiven(config, name):
            wrong.append(refusal(name, line[name], why))
        elif name in line or getattr(config, name) != settings[name].default:
            ignored[name] = why
    return replace(config, **{name: settings[name].default for name in ignored}), ignored


def with_options(config: Pretrain, words: Sorted) -> tuple[Pretrain, dict[str, str]]:
    """The configuration with its method's and its loss's options, and why others are ignored."""
    rooms = {
        "method_options": signature.method(config.method).settings,
        "loss_options": signature.loss(config.loss_name).settings,
    }
    given = {n: w for n, w in words.given.items() if n not in settings_of(Pretrain)}
    inherited = [*config.method_options, *config.loss_options]
    ignored = {}
    for name, why in foreign_options(config, [*inherited, *given]).items():
        if name in given and not forgiven(config, name):
            words.wrong.append(refusal(name, given[name], why))
        else:
            ignored[name] = why
    options = {}
    for room, own in rooms.items():
        options[room] = {k: v for k, v in getattr(config, room).items() if k in own}
        for name in (name for name in given if name in own):
            try:
                options[room][name] = own[name].value_of(given[name])
            except ValueError as error:
                words.wrong.append(str(error))
    return replace(config, **options), ignored


def refusal(name: str, value: Any, why: str) -> str:
    """The message about a flag in the wrong place."""
    given = "" if isinstance(value, bool) else f"given {spell(value)}, "
    return f"--{name}: {given}allowed {why}"
