"""Linear evaluation: parse, check, evaluate (`--help` lists the flags)."""

import sys
from collections.abc import Sequence

from cl.config import Linear, run


def work(config: Linear) -> int:
    from cl.evaluate import evaluate  # seconds of imports, spent once the command line is right

    return evaluate(config)


def main(argv: Sequence[str] | None = None) -> int:
    return run(Linear, argv, work)


if __name__ == "__main__":
    sys.exit(main())
