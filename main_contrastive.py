"""Contrastive pretraining: parse, check, pretrain (`--help` lists the flags)."""

import sys
from collections.abc import Sequence

from cl.config import Pretrain, run


def work(config: Pretrain) -> int:
    from cl.train import pretrain  # seconds of imports, spent once the command line is right

    return pretrain(config)


def main(argv: Sequence[str] | None = None) -> int:
    return run(Pretrain, argv, work)


if __name__ == "__main__":
    sys.exit(main())
