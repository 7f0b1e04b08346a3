"""A pretraining that torchrun starts, to which something happens once: `STEP RANK MARK FLAG ...`.

A process runs the shell command of the environment's `BREAK` after a step.
"""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch

import main_contrastive
from cl.callbacks.saver import Saver

if __name__ == "__main__":
    torch.set_num_threads(1)
    step, rank, mark = int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])
    see = Saver.on_train_batch_end

    def on_train_batch_end(self: Saver, trainer: Any, *rest: Any) -> None:
        see(self, trainer, *rest)
        if trainer.global_step == step and trainer.global_rank == rank and not mark.exists():
            mark.touch()
            subprocess.run(["sh", "-c", os.environ["BREAK"]], check=True)

    Saver.on_train_batch_end = on_train_batch_end
    sys.exit(main_contrastive.main(sys.argv[4:]))
