"""The command line: what can be set, what goes together, and how a run's settings are kept.

`options/` has the flags of every run, a group a file; those of a method, a loss or an evaluation
stand at that thing. Nothing here loads torch, so that help and errors come at once.
"""

from cl.config.check import check_environment
from cl.config.own import is_own
from cl.config.parse import configure, parse_linear, parse_pretrain
from cl.config.program import run
from cl.config.programs import Linear, Pretrain
from cl.config.store import ConfigError, from_json, to_json
from cl.config.words import FILES

CARDS = FILES["verify"]
__all__ = [
    "CARDS",
    "ConfigError",
    "Linear",
    "Pretrain",
    "check_environment",
    "configure",
    "from_json",
    "is_own",
    "parse_linear",
    "parse_pretrain",
    "run",
    "to_json",
]
