"""What watching costs: kNN and collapse measures as a share of a run's time.

    python benchmarks/monitors.py [FLAG ...]

Pretrains (by default digits with the flags of bash_files/run_contrastive.sh, 20 epochs; other words
are main_contrastive.py's) and prints the seconds that the monitors took and their share. The
validation forward, which gives the probe's accuracy as well, is no part of it.
"""

import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

from cl.callbacks.geometry import Geometry
from cl.config import Pretrain
from cl.config import run as from_words
from cl.train import train

DIGITS = (
    "digits resnet6_w16 --epochs 20 --optimizer adamw --lr 4e-3 --no-lr_scaling --batch_size 64 "
    "--temperature 0.5 --num_workers 2 --hidden_mlp 128 --encoding_size 64 --precision 32"
)
HOOKS = ("on_train_batch_end", "on_validation_batch_end", "on_validation_epoch_end")
spent = dict.fromkeys(HOOKS, 0.0)


def timed(hook: str) -> Callable[..., None]:
    original = getattr(Geometry, hook)

    def run(*given: Any, **named: Any) -> None:
        start = time.perf_counter()
        original(*given, **named)
        spent[hook] += time.perf_counter() - start

    return run


def main() -> None:
    for hook in HOOKS:
        setattr(Geometry, hook, timed(hook))
    begun: list[float] = []
    Geometry.on_train_start = lambda *_: begun.append(time.perf_counter())
    Geometry.on_train_end = lambda *_: begun.append(time.perf_counter())
    words = sys.argv[1:] or DIGITS.split()
    with tempfile.TemporaryDirectory() as folder:
        more = ["--output", folder, "--wandb", "off", "--no-baseline"]
        if from_words(Pretrain, [*words, *more], lambda config: train(config).code):
            sys.exit("the run failed")
    whole = begun[1] - begun[0]
    for hook, seconds in spent.items():
        print(f"{hook:26} {seconds:7.3f} s  {seconds / whole:6.2%}")
    print(
        f"monitors {sum(spent.values()):.3f} s of {whole:.2f} s: {sum(spent.values()) / whole:.2%}"
    )


if __name__ == "__main__":
    main()
