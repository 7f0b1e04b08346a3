"""`main_contrastive.py ... --seeds 0 1 2`: one row of a comparison, trained once with each seed."""

import re
from collections.abc import Iterator, Sequence
from typing import Any

from cl.compare.cells import digest
from cl.compare.plan import Comparison, Row
from cl.config import Pretrain
from cl.config.handed_on import RUNS
from cl.config.schema import as_words, options_of
from cl.config.words import sort

SHARED = ("precision", "wandb", "project", "num_workers")  # with the evaluations
OWN = ("seeds", "seed", "run_id", "output", "debug")  # said of each run, or of all of them


def plan_of_seeds(config: Pretrain, argv: Sequence[str], evaluation: str) -> Comparison:
    """A command line with `--seeds` as a comparison of one row.

    Args:
        config: as parsed.
        argv: its words.
        evaluation: that the data can have.
    """
    words = tuple(words_of(config, argv))
    evaluate = ["--eval", evaluation]
    for name in SHARED:
        value = getattr(config, name)
        if value != options_of(Pretrain)[name].default:
            evaluate += as_words(name, value)
    row = Row(trained_by(config), (), tuple(evaluate), evaluation)
    name = name_of_seeds(config, argv)
    return Comparison(name, words, config.seeds, evaluation, None, (row,))


def name_of_seeds(config: Pretrain, argv: Sequence[str]) -> str:
    """The name of the comparison, and of its folder: the same for any seeds."""
    if config.run_id:
        return config.run_id
    words = digest(tuple(words_of(config, argv)))
    return "-".join((re.sub(r"\W+", "_", trained_by(config)), "seeds", words))


def trained_by(config: Pretrain) -> str:
    """The loss, or the method where it has its own."""
    return config.method if config.loss_name in ("", config.method) else config.loss_name


def words_of(config: Pretrain, argv: Sequence[str]) -> Iterator[str]:
    """The words that all seeds share; runs that they name are named by their folders."""
    given: dict[str, Any] = sort(Pretrain, argv).given
    positional = ("dataset", "encoder")
    yield from (word for name in positional for word in given.get(name, ()))
    for name, value in given.items():
        if name not in (*positional, *OWN):
            yield from as_words(name, str(getattr(config, name)) if name in RUNS else value)
