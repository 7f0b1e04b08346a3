"""A program's frame: parse, check, work; what went wrong in a line each and an exit code."""

import sys
from collections.abc import Callable, Sequence

from cl.config.environment import check_environment
from cl.config.line import parse
from cl.config.stored import C, ConfigError

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
        config = parse(of, words)
        check_environment(config)
        return work(config)
    except ValueError as error:
        if "--debug" in words:
            raise
        lines = error.args if isinstance(error, ConfigError) else [" ".join(str(error).split())]
        sys.stderr.writelines(f"error: {line}\n" for line in lines)
        return WRONG
