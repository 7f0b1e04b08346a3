"""A configuration as JSON: a run's config.json is data, and nothing in it is taken on trust."""

import json
from collections.abc import Mapping
from dataclasses import MISSING, asdict, fields
from typing import Any

from cl.config.datasets import bilinear_before, row_of
from cl.config.programs import C, Linear, Pretrain, rooms
from cl.config.rules import kinds_of
from cl.config.schema import Option, did_you_mean, either, options_of
from cl.config.signature import find, having

VERSION = 1
DERIVED = "derived"
GLOBAL, PROCESSES = "global_batch_size", "processes"
BILINEAR = "bilinear"
PROGRAMS: dict[str, type[Pretrain] | type[Linear]] = {
    "main_contrastive": Pretrain,
    "main_linear": Linear,
}


class ConfigError(ValueError):
    """All that is wrong with a command line or a file, a sentence each."""

    def __str__(self) -> str:
        return "\n".join(map(str, self.args))


def program_of(config: Pretrain | Linear) -> str:
    """The program that the configuration is for."""
    return next(name for name, of in PROGRAMS.items() if isinstance(config, of))


def to_json(config: Pretrain | Linear, derived: Mapping[str, Any] | None = None) -> str:
    """The text of a config.json.

    Args:
        config: every setting.
        derived: what follows from the settings, for people to read; of it only the number of
            processes, without which `batch_size` would say no global batch, and the places of the
            data are read back.
    """
    head = {"version": VERSION, "program": program_of(config)}
    tail = {DERIVED: {**derived, PROCESSES: config.processes}} if derived else {}
    if isinstance(config, Pretrain):  # complete, whatever the defaults will be
        options = {"method_options": config.method_settings}
    else:
        options = {"eval_options": config.eval_settings}
    return json.dumps(head | asdict(config) | options | tail, indent=2) + "\n"


def from_json(text: str) -> Pretrain | Linear:
    """The configuration in the text of a config.json.

    Raises:
        ConfigError: it is none; every unknown key and wrong value is named.
    """
    of, values = values_from_json(text)
    required = [name for name, o in options_of(of).items() if o.default is MISSING]
    missing = [f"{name} is missing." for name in required if name not in values]
    if missing:
        raise ConfigError(*missing)
    return of(**values)


def values_from_json(text: str) -> tuple[type[Pretrain] | type[Linear], dict[str, Any]]:
    """Whose configuration it is, and the values that are in it.

    Raises:
        ConfigError: as `from_json`, but for keys that are missing.
    """
    try:
        found = json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        raise ConfigError(f"this is not JSON: {error}.") from None
    if not isinstance(found, dict):
        raise ConfigError("this is not a JSON object with settings.")
    version, program = found.pop("version", None), found.pop("program", None)
    derived = found.pop(DERIVED, None)
    if version != VERSION:
        raise ConfigError(f"version must be {VERSION}, not {version}.")
    if not isinstance(program, str) or program not in PROGRAMS:
        raise ConfigError(f"program must be {either(PROGRAMS)}, not {program}.")
    of = PROGRAMS[program]
    nested = {f.name: found.pop(f.name, {}) for f in fields(of) if f.name.endswith("_options")}
    flat = flat_options(of, found)
    found |= crops_of_before(found, derived)
    if found.get(GLOBAL) is None and (batch := batch_of(found, derived)):
        found[GLOBAL] = batch
    values = checked(options_of(of), found)
    config = draft(Linear, values) if of is Linear else draft(Pretrain, values)
    return of, values | options_in(config, nested, flat)


def batch_of(found: Mapping[str, Any], derived: Any) -> int | None:
    """The global batch of a file's settings, of as many processes as there were then.

    Args:
        found: the settings.
        derived: what followed from them when the file was written; the settings may have been
            edited since. A file of before has no number of processes: of it the global batch is
            taken if it can be one of the settings.
    """
    size, then = found.get("batch_size"), derived if isinstance(derived, dict) else {}
    processes, whole = then.get(PROCESSES), then.get(GLOBAL)
    if isinstance(size, int) and isinstance(processes, int):
        return size * processes
    possible = isinstance(whole, int) and not (isinstance(size, int) and size and whole % size)
    return whole if possible else None


def crops_of_before(found: Mapping[str, Any], derived: Any) -> dict[str, Any]:
    """How a run of before resized its crops, whose paper or data set has bicubic ones now.

    Args:
        found: the settings of a file.
        derived: what followed from them; a file that no run of images wrote has no recipes.
    """
    recipes = derived.get("recipes") if isinstance(derived, dict) else None
    if not recipes or found.get("crop_interpolation") is not None:
        return {}
    if paper := found.get("recipe"):
        before = "crop_interpolation" not in found and paper in bilinear_before()
    else:
        now = row_of(str(found.get("dataset")))["recipe"].get("crop_interpolation", BILINEAR)
        before = recipes[0].get("crop_interpolation", BILINEAR) == BILINEAR != now
    return {"crop_interpolation": BILINEAR} if before else {}


def options_in(
    config: Pretrain | Linear, nested: Mapping[str, Any], flat: Mapping[str, Any]
) -> dict[str, dict[str, Any]]:
    """The options of what a run chose.

    Args:
        config: with the choices.
        nested: what the file has for each room of options.
        flat: what stands beside the settings in earlier files.

    Raises:
        ConfigError: there are no such options, or these values are not allowed.
    """
    try:
        found = rooms(config)
    except ValueError as error:  # an evaluation of the user's own that is not there
        raise ConfigError(str(error)) from None
    values = {}
    for room, options in found.items():
        given = nested[room]
        if not isinstance(given, dict):
            raise ConfigError(f"{room} must be an object with options, not {given}.")
        given = checked(options, {k: v for k, v in flat.items() if k in options} | given)
        unsaid = room == "loss_options"  # only what was given is written
        plain = {name: option.default for name, option in options.items()}
        if room == "method_options" and isinstance(config, Pretrain):
            plain = config.method_settings
        values[room] = {k: v for k, v in given.items() if unsaid or v != plain[k]}
    return values


def flat_options(of: type[Pretrain | Linear], found: dict[str, Any]) -> dict[str, Any]:
    """What stood beside the settings before options had a place of their own; taken out there."""
    kind = kinds_of(of)[0]
    words = found.get("eval") if of is Linear else []
    own = [find(kind, w) for w in words if ":" in str(w)] if isinstance(words, list) else []
    known = having((kind,)).keys() | {name for thing in own if thing for name in thing.options}
    flat = {name: found.pop(name) for name in known & found.keys()}
    return {name: value for name, value in flat.items() if value not in (None, "auto")}


def checked(options: Mapping[str, Option], found: Mapping[str, Any]) -> dict[str, Any]:
    """The values that JSON gives to options.

    Raises:
        ConfigError: there are no such options, or these values are not allowed.
    """
    values, wrong = {}, []
    for key, value in found.items():
        if key not in options:
            wrong.append(f"unknown key {key}{did_you_mean(key, options) or '.'}")
            continue
        try:
            values[key] = options[key].check(value)
        except ValueError as error:
            wrong.append(str(error))
    if wrong:
        raise ConfigError(*wrong)
    return values


def draft(of: type[C], values: Mapping[str, Any]) -> C:
    """A configuration of the values that are known, with stand-ins for what has no default."""
    required = {name: o for name, o in options_of(of).items() if o.default is MISSING}
    return of(**{**{name: (*o.choices, "")[0] for name, o in required.items()}, **values})
