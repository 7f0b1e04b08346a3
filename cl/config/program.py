"""A program's frame: parse, check, work; what is wrong in a sentence each, and an exit code."""

import os
import sys
from argparse import ArgumentParser
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

from cl.config.check import check_environment
from cl.config.launcher import is_first
from cl.config.machine import is_of_machine, sentence_of
from cl.config.parse import parse
from cl.config.programs import PROGRAMS, C, from_clone
from cl.config.store import ConfigError
from cl.interrupts import Stop, interrupts
from cl.terminal import escape_controls

WRONG = 2  # the exit code of a command that cannot be carried out as it stands


def run(of: type[C], argv: Sequence[str] | None, work: Callable[[C], int]) -> int:
    """Run a program; its exit code back.

    Args:
        of: its configuration.
        argv: its words, by default the process's.
        work: what it does, with a configuration that was checked.
    """
    words = sys.argv[1:] if argv is None else argv
    try:
        with interrupts.handled():
            config = parse(of, words)
            check_environment(config)
            if "--debug" not in words:  # a lost process is a sentence, no stack of torch's own
                os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
            if is_first() and "torch" not in sys.modules:
                sys.stderr.write("loading PyTorch ...\n")  # takes seconds
            return work(config)
    except Stop as stop:
        sys.stderr.write(f"{stop}\n")
        return stop.code
    except ModuleNotFoundError as error:
        if "--debug" in words or (error.name or "").startswith("cl."):
            raise
        sys.stderr.write(f"error: {without_packages(error)}\n")
        return WRONG
    except Exception as error:
        if "--debug" in words:
            raise
        return refuse(error)


class Parser(ArgumentParser):
    """Says what is wrong in one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(WRONG, f"error: {escape_controls(message)}; see {self.prog} --help\n")


def refuse(error: Exception) -> int:
    """Say in a sentence why a command cannot be carried out, or what the machine refuses.

    Returns:
        The exit code.

    Raises:
        Exception: the error, where the program itself is wrong.
    """
    if not (isinstance(error, ValueError) or is_of_machine(error)):
        raise error
    lines = error.args if isinstance(error, ConfigError) else [sentence_of(error)]
    sys.stderr.writelines(f"error: {escape_controls(line)}\n" for line in lines)
    return WRONG


def without_packages(error: ModuleNotFoundError) -> str:
    """What to do where a package is missing, as it is where another Python was meant."""
    environment = PROGRAMS / ".venv"
    how = "install the package again"
    if from_clone():
        other = environment.exists() and Path(sys.prefix).resolve() != environment.resolve()
        how = f"run {environment / 'bin' / 'python'}" if other else "make setup installs it"
    return f"{error.name} is not installed for {sys.executable}; {how}."
