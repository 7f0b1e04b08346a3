"""Linear evaluation: parse, check, evaluate (`--help` lists the flags)."""

import sys

from cl.commands import evaluate_command as main

if __name__ == "__main__":
    sys.exit(main())
