"""What can be set of every run: a field is a flag; its default, type, range and help stand here.

A file is a group of `--help`, a class of fields. The options of a method, a loss or an evaluation
stand at that thing, see `signature`.
"""

from dataclasses import fields

from cl.config.options.data import DataOptions
from cl.config.options.evaluation import EvaluationOptions
from cl.config.options.hardware import HardwareOptions
from cl.config.options.large import LargeOptions
from cl.config.options.method import MethodOptions
from cl.config.options.optimization import OptimizationOptions
from cl.config.options.run import RunOptions
from cl.config.options.views import ViewsOptions
from cl.config.options.watching import WatchingOptions

GROUPS = (
    DataOptions,
    ViewsOptions,
    MethodOptions,
    LargeOptions,
    OptimizationOptions,
    HardwareOptions,
    RunOptions,
    WatchingOptions,
    EvaluationOptions,
)


PRETRAINING = (ViewsOptions, MethodOptions, LargeOptions, WatchingOptions)  # of it alone


def option_names(evaluates: bool) -> list[str]:
    """The names of all of them that an evaluation has, or a pretraining."""
    others = PRETRAINING if evaluates else (EvaluationOptions,)
    return [option.name for group in GROUPS if group not in others for option in fields(group)]
