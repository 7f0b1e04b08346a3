"""The two commands: parse, check, then load what takes seconds and work."""

import sys
from collections.abc import Sequence

from cl.config import Linear, Pretrain, run
from cl.config.parse import parse_transfer


def pretrain_command(argv: Sequence[str] | None = None) -> int:
    """Contrastive pretraining: `main_contrastive.py` and `cl-pretrain`.

    Args:
        argv: the words of the command line, by default the process's.

    Returns:
        The exit code.
    """

    def work(config: Pretrain) -> int:
        if config.seeds:
            from cl.compare.work import run_seeds

            return run_seeds(config, sys.argv[1:] if argv is None else argv)
        from cl.train import train

        return train(config).code

    return run(Pretrain, argv, work)


def evaluate_command(argv: Sequence[str] | None = None) -> int:
    """Evaluation of an encoder: `main_linear.py` and `cl-evaluate`.

    Args:
        argv: the words of the command line, by default the process's.

    Returns:
        The exit code.
    """

    def work(config: Linear) -> int:
        from cl.evaluation import evaluate_configured, evaluate_transfer

        if config.transfer:
            words = sys.argv[1:] if argv is None else argv
            return evaluate_transfer(parse_transfer(config, words))
        return evaluate_configured(config).code

    return run(Linear, argv, work)
