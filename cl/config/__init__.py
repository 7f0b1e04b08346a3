"""The command line: what can be set, what goes together, and how a run's settings are kept.

`fields.py` has every flag. Nothing here loads torch, so that help and errors come at once.
"""

from cl.config.environment import check_environment
from cl.config.line import CARDS, parse_linear, parse_pretrain
from cl.config.program import run
from cl.config.programs import Linear, Pretrain
from cl.config.stored import ConfigError, from_json, to_json

__all__ = [
    "CARDS",
    "ConfigError",
    "Linear",
    "Pretrain",
    "check_environment",
    "from_json",
    "parse_linear",
    "parse_pretrain",
    "run",
    "to_json",
]
