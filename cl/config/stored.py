"""A configuration as JSON: a run's config.json is data, and nothing in it is taken on trust."""

import json
from collections.abc import Mapping
from dataclasses import MISSING, asdict
from typing import Any, TypeVar

from cl.config import signature
from cl.config.evaluations import plugins
from cl.config.programs import Linear, Pretrain, linear_with
from cl.config.setting import Setting, closest, did_you_mean, settings_of
from cl.config.signature import methods

C = TypeVar("C", Pretrain, Linear)
VERSION = 1
DERIVED = "derived"
GLOBAL = "global_batch_size"
OPTIONS = ("method_options", "loss_options")
PROGRAMS: dict[str, type[Pretrain] | type[Linear]] = {
    "main_contrastive": Pretrain,
    "main_linear": Linear,
}


class ConfigError(ValueError):
    """All that is wrong with a command line or a file, a line each."""

    def __str__(self) -> str:
        return "\n".join(map(str, self.args))


def program_of(config: Pretrain | Linear) -> str:
    """The program that the configuration is for."""
    return next(name for name, of in PROGRAMS.items() if isinstance(config, of))


def to_json(config: Pretrain | Linear, derived: Mapping[str, Any] | None = None) -> str:
    """The text of a config.json.

    Args:
        config: every setting.
        derived: what follows from the settings, for people to read; of it only the global batch is
            read back, which the number of processes has a part in.
    """
    head = {"version": VERSION, "program": program_of(config)}
    tail = {DERIVED: dict(derived)} if derived else {}
    body = asdict(config)
    if isinstance(config, Pretrain):  # complete, whatever the method's defaults will be
        body["method_options"] = config.method_settings
    return json.dumps(head | body | tail, indent=2) + "\n"


def from_json(text: str) -> Pretrain | Linear:
    """The configuration in the text of a config.json.

    Raises:
        ConfigError: it is none; every unknown key and wrong value is named.
    """
    of, values = values_from_json(text)
    missing = [
        f"{name}: missing"
        for name, setting in settings_of(of).items()
        if setting.default is MISSING and name not in values
    ]
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
        raise ConfigError(f"not JSON: {error}") from None
    if not isinstance(found, dict):
        raise ConfigError("not a JSON object with settings")
    version, program = found.pop("version", None), found.pop("program", None)
    derived = found.pop(DERIVED, None)
    if version != VERSION:
        raise ConfigError(f"version: given {version}, allowed {VERSION}")
    if not isinstance(program, str) or program not in PROGRAMS:
        raise ConfigError(f"program: given {program}, allowed {', '.join(PROGRAMS)}")
    of = PROGRAMS[program]
    if of is Linear and isinstance(found.get("eval"), list):
        try:
            of = linear_with(plugins(found["eval"]))
        except ValueError as error:
            raise ConfigError(str(error)) from None
    options = {room: found.pop(room, {}) for room in OPTIONS} if of is Pretrain else {}
    earlier = flat_options(found) if of is Pretrain else {}
    if isinstance(derived, dict) and found.get(GLOBAL) is None and derived.get(GLOBAL):
        found[GLOBAL] = derived[GLOBAL]  # of as many processes as there were then
    values = checked(settings_of(of), found)
    return of, values | (options_of(values, options, earlier) if of is Pretrain else {})


def options_of(
    values: Mapping[str, Any], options: Mapping[str, Any], earlier: Mapping[str, Any]
) -> dict[str, Any]:
    """The options of a run's method and of its loss.

    Args:
        values: of the settings.
        options: what the file has for each of the two.
        earlier: a method's that stand beside the settings.

    Raises:
        ConfigError: there are no such options, or these values are not allowed.
    """
    for room, given in options.items():
        if not isinstance(given, dict):
            raise ConfigError(f"{room}: given {given}, allowed the options of a {room[:-8]}")
    drafted = draft(Pretrain, values)
    own = signature.method(drafted.method).settings
    kept = {k: v for k, v in earlier.items() if k in own}
    given = checked(own, kept | options["method_options"])
    return {
        "method_options": {k: v for k, v in given.items() if v != own[k].default},
        "loss_options": checked(
            signature.loss(drafted.loss_name).settings, options["loss_options"]
        ),
    }


def flat_options(found: dict[str, Any]) -> dict[str, Any]:
    """What stood beside the other settings before a method's options had a place of their own."""
    known = {name for method in methods().values() for name in method.settings}
    flat = {name: found.pop(name) for name in known & found.keys()}
    return {name: value for name, value in flat.items() if value not in (None, "auto")}


def checked(settings: Mapping[str, Setting], found: Mapping[str, Any]) -> dict[str, Any]:
    """The values that JSON gives to settings.

    Raises:
        ConfigError: there are no such settings, or these values are not allowed.
    """
    values, wrong = {}, []
    for key, value in found.items():
        if key not in settings:
            wrong.append(f"unknown key {key}{did_you_mean(closest(key, settings))}")
            continue
        try:
            values[key] = settings[key].from_json(value)
        except ValueError as error:
            wrong.append(str(error))
    if wrong:
        raise ConfigError(*wrong)
    return values


def draft(of: type[C], values: Mapping[str, Any]) -> C:
    """A configuration of the values that are known, with stand-ins for what has no default."""
    standing_in = {
        name: (*setting.choices, "")[0]
        for name, setting in settings_of(of).items()
        if setting.default is MISSING
    }
    return of(**{**standing_in, **values})
