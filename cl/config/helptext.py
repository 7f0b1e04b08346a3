"""`--help`: every setting with its default, in groups, laid out by argparse."""

from argparse import ArgumentParser, BooleanOptionalAction, HelpFormatter
from dataclasses import MISSING
from typing import Any

from cl.config.programs import Linear, Pretrain
from cl.config.rules import condition, spell
from cl.config.setting import Setting, settings_of
from cl.config.signature import all_settings, methods

EXAMPLES = {
    Pretrain: "main_contrastive.py digits resnet6_w16 --epochs 20",
    Linear: "main_linear.py digits resnet6_w16 --pretrained_feature_extractor trained_models/ID",
}


def help_of(of: type[Pretrain | Linear]) -> str:
    """The text of `--help`."""
    example = EXAMPLES[Linear if issubclass(of, Linear) else Pretrain]
    program = example.split()[0]
    parser = ArgumentParser(
        usage=f"{program} DATASET ENCODER [--flag value ...]",
        description=(of.__doc__ or "").partition("\n")[0],
        epilog=f"for example: python {example}",
        formatter_class=lambda prog: HelpFormatter(prog, max_help_position=32),
    )
    titles = {base.__name__: base.__doc__ for base in of.__mro__}
    groups: dict[str, Any] = {}
    for setting in settings_of(of).values():
        if setting.group not in groups:
            groups[setting.group] = parser.add_argument_group(
                setting.group.lower(), titles[setting.group]
            )
        add(groups[setting.group], setting)
    if of is Pretrain:
        groups["method"] = groups["Method"]
        groups["loss"] = parser.add_argument_group(
            "loss", "Options of the losses; each has its own."
        )
        for having in all_settings().values():
            setting = merged(having)
            add(groups[setting.group], setting)
    return parser.format_help()


def merged(having: dict[str, Setting]) -> Setting:
    """The option of several methods or losses as one flag, with the default of each."""
    one = next(iter(having.values()))
    having = {of: s for of, s in having.items() if s.group == one.group}
    by_default: dict[str, list[str]] = {}
    for of, setting in having.items():
        by_default.setdefault(setting.about["shown"], []).append(of.split()[1])
    shown = "; ".join(f"{', '.join(names)} {default}" for default, names in by_default.items())
    if len(by_default) == 1 and len(having) == len(methods()):
        (shown,) = by_default
    help = next((s.about["help"] for s in having.values() if s.about["help"]), "")
    return Setting(one.name, one.hint, one.default, {"help": help, "shown": shown}, one.group)


def add(group: Any, setting: Setting) -> None:
    """Add a setting's flags to a group of the help."""
    text = described(setting).replace("%", "%%")
    if setting.about.get("positional"):
        group.add_argument(setting.name, metavar=setting.label, help=text)
    elif setting.of is bool:
        group.add_argument(setting.label, action=BooleanOptionalAction, help=text)
    else:
        nargs = {1: None, None: "+"}.get(setting.many, setting.many)
        group.add_argument(setting.label, nargs=nargs, metavar=metavar(setting), help=text)
    if setting.shortcut:
        group.add_argument(
            f"--{setting.shortcut}",
            action="store_true",
            help=f"the same as {setting.label} {setting.shortcut}",
        )


def metavar(setting: Setting) -> Any:
    """What stands for the value."""
    if setting.choices and "metavar" not in setting.about:
        return f"{{{','.join(setting.choices)}}}"
    return setting.about.get("metavar") or {int: "N", float: "X"}.get(setting.of, "NAME")


def described(setting: Setting) -> str:
    """What a flag does, what it needs, its default."""
    text, default = setting.about["help"], setting.default
    if setting.choices and metavar(setting) == setting.about.get("metavar"):
        text = f"{text}: {setting.allowed}"
    if setting.about.get("positional"):
        return text
    if needs := setting.about.get("needs"):
        text = f"{text}; only with {condition(*needs)}"
    if default is MISSING:
        return f"{text} (required)"
    if isinstance(default, bool):
        default = "yes" if default else "no"
    shown = setting.about.get("shown") or ("none" if default is None else spell(default))
    return f"{text} (default: {shown})".lstrip()
