"""Contrastive pretraining: parse, check, pretrain (`--help` lists the flags)."""

import sys

from cl.commands import pretrain_command as main

if __name__ == "__main__":
    sys.exit(main())
