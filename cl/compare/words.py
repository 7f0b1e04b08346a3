"""What the words of a plan's rows mean, known without loading PyTorch."""

from dataclasses import fields

from cl.compare.plan import Comparison, Row
from cl.config import ConfigError, Linear, Pretrain, parse_linear, parse_pretrain
from cl.config.evaluations import about, meant, numbers_of
from cl.config.options import DataOptions
from cl.config.schema import as_words, either

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
        ConfigError: the words of the row are wrong, or its measure is no number of its evaluations.
    """
    seeded = ("--seed", str(seed))
    training = parse_pretrain([*plan.run, *(row.run or ()), *seeded])
    evaluate = (*data_words(training), *row.evaluate, *seeded)
    weights = () if row.run is None else (WEIGHTS, "RUN")
    evaluation = parse_linear([*evaluate, *weights])
    check_measure(row.measure, evaluation)
    return training, evaluate, evaluation


def check_measure(measure: str, config: Linear) -> None:
    """Refuse a number that is not made, which the table would miss in the end.

    Raises:
        ConfigError: its evaluation is not asked for, or has no such number.
    """
    evaluations = meant(config.eval)
    evaluation, slash, number = measure.partition("/")
    if evaluation not in evaluations:
        asked = " ".join(evaluations)
        raise ConfigError(f"measure {measure} is of no evaluation in --eval {asked}.")
    options = {k: option.default for k, option in about(evaluation).options.items()}
    known = numbers_of(evaluation, config.kind, options | {**config.eval_options})
    if slash and known and number not in known:
        has = either(known, "and")
        raise ConfigError(f"measure {measure}: {evaluation} has no {number}; it has {has}.")


def data_words(config: Pretrain) -> tuple[str, ...]:
    """Data set and encoder of a configuration with the flags that say which data these are."""
    words = [config.dataset, config.encoder]
    for option in fields(DataOptions):
        value = getattr(config, option.name)
        if option.name not in LOADING | {"dataset", "encoder"} and value != option.default:
            words += as_words(option.name, value)
    return tuple(words)
