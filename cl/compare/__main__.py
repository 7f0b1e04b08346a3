"""`python -m cl.compare PLAN.toml`: run what is missing of a comparison, and print its table."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from cl import runs
from cl.compare.plan import read_plan
from cl.compare.words import check_rows
from cl.config import parse_pretrain
from cl.config.program import refuse
from cl.interrupts import Stop


def main(argv: Sequence[str] | None = None) -> int:
    """Run a comparison; its exit code back: 0 where every cell has its number, else 1.

    2 says that the plan cannot be carried out as it stands.
    """
    parser = argparse.ArgumentParser(prog="python -m cl.compare", description=__doc__)
    parser.add_argument("plan", type=Path, help="a TOML file, see docs/compare.md")
    parser.add_argument("--dry_run", action="store_true", help="measure, print cells and cost, end")
    parser.add_argument("--jobs", type=int, help="cells at a time; by default one for each GPU")
    parser.add_argument("--gpus", type=int, nargs="+", default=[], help="GPUs for the jobs")
    parser.add_argument("--budget", type=float, help="refuse what would take more minutes")
    parser.add_argument("--retry", action="store_true", help="run failed cells again")
    parser.add_argument(
        "--output", type=Path, help="folder of comparisons, by default that of runs"
    )
    words = sys.argv[1:] if argv is None else argv
    asked = parser.parse_args(words)
    try:
        plan = read_plan(asked.plan)
        check_rows(plan)
        from cl.compare import work  # it loads PyTorch, which takes seconds

        place = asked.output or parse_pretrain(plan.run).runs_folder
        work.check_folder(place / plan.name, f"name {plan.name}")
        again = runs.command_from_here("-m cl.compare", *words)
        return work.run_plan(plan, place / plan.name, asked, again, work.Sources())
    except Stop as stop:
        sys.stderr.write(f"{stop}\n")
        return stop.code
    except KeyboardInterrupt:
        return 130
    except Exception as error:
        return refuse(error)


if __name__ == "__main__":
    sys.exit(main())
