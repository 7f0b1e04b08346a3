"""`main_contrastive.py ... --seeds 0 1 2`: one row of a comparison, trained once with each seed."""

import re
from collections.abc import Iterator, Sequence
from typing import Any

from cl.compare.cells import digest
from cl.compare.plan import Comparison, Row
from cl.config import Pretrain
from cl.config.evaluations import default, evaluations_of
from cl.config.handed_on import RUNS
from cl.config.schema import as_words, options_of
from cl.config.words import sort

SHARED = ("precision", "wandb", "project", "num_workers")  # with the evaluations
OWN = ("seeds", "seed", "run_id", "output", "debug")  # said of each run, or of all of them


def plan_of_seeds(config: Pretrain, argv: Sequence[str]) -> Comparison:
    """A command line with `--seeds` as a comparison of one row.

    Args:
        config: as parsed.
        argv: its words.
    """
    words = tuple(words_of(config, argv))
    evaluations = evaluations_of(config.dataset, config.data_folder)[:1] or (default(),)
    evaluate = ["--eval", *evaluations]
    for name in SHARED:
        value = getattr(config, name)
        if value != options_of(Pretrain)[name].default:
            evaluate += as_words(name, value)
    trained = config.method if config.loss_name in ("", config.method) else config.loss_name
    row = Row(trained, (), tuple(evaluate), evaluations[0])
    name = config.run_id or "-".join((re.sub(r"\W+", "_", trained), "seeds", digest(words)))
    return Comparison(name, words, config.seeds, evaluations[0], None, (row,))


def words_of(config: Pretrain, argv: Sequence[str]) -> Iterator[str]:
    """The words that all seeds share; runs that they name are named by their folders."""
    given: dict[str, Any] = sort(Pretrain, argv).given
    positional = ("dataset", "encoder")
    yield from (word for name in positional for word in given.get(name, ()))
    for name, value in given.items():
        if name not in (*positional, *OWN):
            yield from as_words(name, str(getattr(config, name)) if name in RUNS else value)
