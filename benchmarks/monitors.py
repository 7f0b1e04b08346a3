"""What watching costs: the time in every callback of a run, as a share of its training.

    python -m benchmarks.monitors [FLAG ...]

Pretrains (by default digits with the flags of bash_files/run_contrastive.sh, 20 epochs; other
words are main_contrastive.py's) and prints for each callback of cl/callbacks the seconds in its
hooks and their share: kNN and collapse measures, the look at each step's gradient, logs, saves. The
validation forward, which gives the probe's accuracy, is no part of it.
"""

import inspect
import pkgutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from functools import wraps
from importlib import import_module
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback

from cl import callbacks
from cl.config import Pretrain
from cl.config import run as from_words
from cl.train import train

DIGITS = (
    "digits resnet6_w16 --epochs 20 --optimizer adamw --lr 4e-3 --no-lr_scaling --batch_size 64 "
    "--temperature 0.5 --num_workers 2 --hidden_mlp 128 --encoding_size 64 --precision 32"
)
spent: Counter[str] = Counter()
depth = 0


def timed(name: str, hook: Callable[..., Any]) -> Callable[..., Any]:
    """A hook whose time counts for its callback; one inside of another counts once."""

    @wraps(hook)
    def run(*given: Any, **named: Any) -> Any:
        global depth
        depth += 1
        start = time.perf_counter()
        try:
            return hook(*given, **named)
        finally:
            depth -= 1
            if not depth:
                spent[name] += time.perf_counter() - start

    return run


def watch() -> None:
    """Time every hook that a callback of cl/callbacks defines."""
    for module in pkgutil.iter_modules(callbacks.__path__):
        home = import_module(f"{callbacks.__name__}.{module.name}")
        for name, found in inspect.getmembers(home, inspect.isclass):
            if issubclass(found, Callback) and found.__module__ == home.__name__:
                for hook, function in [*vars(found).items()]:
                    if hook.startswith("on_") and inspect.isfunction(function):
                        setattr(found, hook, timed(name, function))


class Span(Callback):
    """When training began and ended."""

    seconds = 0.0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.start = time.perf_counter()
        spent.clear()

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        Span.seconds = time.perf_counter() - self.start


def main() -> None:
    watch()
    init = pl.Trainer.__init__

    def with_span(self: pl.Trainer, *given: Any, callbacks: Any = (), **named: Any) -> None:
        init(self, *given, callbacks=[Span(), *callbacks], **named)

    pl.Trainer.__init__ = with_span  # pyright: ignore[reportAttributeAccessIssue]
    words = sys.argv[1:] or DIGITS.split()
    with tempfile.TemporaryDirectory() as folder:
        more = ["--output", folder, "--wandb", "off", "--no-baseline"]
        if from_words(Pretrain, [*words, *more], lambda config: train(config).code):
            sys.exit("the run failed")
    for name, seconds in spent.most_common():
        print(f"{name:16} {seconds:7.3f} s  {seconds / Span.seconds:6.2%}")
    whole = sum(spent.values())
    print(f"all callbacks    {whole:7.3f} s of {Span.seconds:.2f} s: {whole / Span.seconds:.2%}")


if __name__ == "__main__":
    main()
