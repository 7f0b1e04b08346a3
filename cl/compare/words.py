"""What the words of a plan's rows mean, known without loading PyTorch."""

from collections.abc import Sequence
from dataclasses import fields

from cl.compare.plan import Comparison, Row
from cl.config import ConfigError, Linear, Pretrain, parse_linear, parse_pretrain
from cl.config.evaluations import meant
from cl.config.options import DataOptions
from cl.config.schema import as_words

WEIGHTS = "--pretrained_feature_extractor"
# Settings of the data that say how they are loaded, not what they are.
LOADING = {"batch_size", "global_batch_size", "num_workers", "backend", "last_batch_fill"}


def check_rows(plan: Comparison) -> None:
    """Parse the words of all rows, before anything is loaded for them.

    Raises:
        ConfigError: with a sentence for each fault, which names its row.
    """
    faults = list[str]()
    for row in plan.rows:
        try:
            parse_row(plan, row, plan.seeds[0])
        except ConfigError as error:
            faults += [f"row {row.name}: {text}" for text in error.args]
    if faults:
        raise ConfigError(*faults)


def parse_row(plan: Comparison, row: Row, seed: int) -> tuple[Pretrain, tuple[str, ...], Linear]:
    """A row with a seed: how it is pretrained, and how evaluated, in words and as parsed.

    The words name no weights yet.

    Raises:
        ConfigError: the words of the row are wrong, or its measure is of another evaluation.
    """
    seeded = ("--seed", str(seed))
    training = parse_pretrain([*plan.run, *(row.run or ()), *seeded])
    evaluate = (*data_words(training), *row.evaluate, *seeded)
    weights = () if row.run is None else (WEIGHTS, "RUN")
    evaluation = parse_linear([*evaluate, *weights])
    check_measure(row.measure, meant(evaluation.eval))
    return training, evaluate, evaluation


def check_measure(measure: str, evaluations: Sequence[str]) -> None:
    """Refuse a number of an evaluation that is not made, which the table would miss in the end.

    Raises:
        ConfigError: it is of none of these.
    """
    if not any(measure == name or measure.startswith(f"{name}/") for name in evaluations):
        asked = " ".join(evaluations)
        raise ConfigError(f"measure {measure} is of no evaluation in --eval {asked}.")


def data_words(config: Pretrain) -> tuple[str, ...]:
    """Data set and encoder of a configuration with the flags that say which data these are."""
    words = [config.dataset, config.encoder]
    for option in fields(DataOptions):
        value = getattr(config, option.name)
        if option.name not in LOADING | {"dataset", "encoder"} and value != option.default:
            words += as_words(option.name, value)
    return tuple(words)
