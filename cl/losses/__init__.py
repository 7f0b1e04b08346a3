"""One loss per file: the file's name is the function's name and the word after `--loss`.

The losses of `--loss` are functions `(z, ids, rows)` with keyword-only options:

- `z`: `(v, n, d)` embeddings of v views of n samples, gathered from all processes; of any length,
  since the losses on cosines normalize them.
- `ids`: `(n,)` integers; samples with equal ids are positives of each other, so class labels make a
  loss supervised. None: each sample is its own class.
- `rows`: the slice of samples that are this process's anchors, the local anchors; candidates are
  always all of `z`. By default all samples.

They return the mean over the local anchors, so that the average over equally large processes is the
loss of the whole batch. A loss without anchors, such as VICReg, is that of the whole batch on every
process. Arithmetic is in float32 at least, also under autocast.

A file may also say `negatives(views, samples)`, how many embeddings of other samples an anchor is
contrasted with. Importing this package imports no torch: the command line reads names and options
from the files.
"""

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

PairwiseLoss = Callable[..., Any]  # a function of (z, ids, rows); `--loss` chooses a method's
NAMES = sorted(p.stem for p in Path(__file__).parent.glob("[!_]*.py"))


def get_loss(name: str) -> Callable[..., Any]:
    """Import a loss by name: `get_loss("dcl")` is `cl.losses.dcl.dcl`.

    Args:
        name: one of `NAMES`, or `package.module:name` for a function of your own.

    Raises:
        ValueError: there is no loss of that name.
    """
    module, own = locate(name)
    return getattr(import_module(module), own)


def negatives(name: str, views: int, samples: int) -> int | None:
    """Count the embeddings of other samples that a loss contrasts an anchor with.

    Args:
        name: one of `NAMES`, or `package.module:name` for a function of your own.
        views: views per sample.
        samples: samples in the global batch.

    Returns:
        The count without class ids and with default options, 0 for a loss without negatives; None
        if the loss's file does not define `negatives(views, samples)`.

    Raises:
        ValueError: there is no loss of that name.
    """
    count = getattr(import_module(locate(name)[0]), "negatives", None)
    return None if count is None else count(views, samples)


def locate(name: str) -> tuple[str, str]:
    """The module of a loss and the function's name in it."""
    if ":" in name:
        module, _, own = name.partition(":")
        return module, own
    if name not in NAMES:
        raise ValueError(f"there is no loss {name}; choose one of {', '.join(NAMES)}")
    return f"cl.losses.{name}", name
