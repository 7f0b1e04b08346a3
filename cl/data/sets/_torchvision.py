"""Classification data sets of torchvision by the name of their class, and classes like them."""

import inspect
from collections.abc import Callable
from contextlib import nullcontext
from difflib import get_close_matches
from typing import Any

from cl.data.sets._from_texts import from_items
from cl.data.sets._source import Source, Where
from cl.locking import alone

TRAIN = {"STL10": "train+unlabeled", "LFWPeople": "train"}  # where `split` has another default
VALIDATION = ("test", "val", "valid")


def read_torchvision(name: str, called: str, where: Where) -> Source:
    """A data set of torchvision.

    Args:
        name: of the data set.
        called: torchvision's class.
        where: torchvision expects it.

    Raises:
        ValueError: torchvision has no such data set, it is not there, or it has no classes.
    """
    return read_class(name, class_of(name, called), called, where)


def read_class(
    name: str, of: Callable[..., Any], called: str, where: Where, library: str = "torchvision"
) -> Source:
    """A data set whose class takes `root`, `train` or `split`, and `download` as torchvision's do.

    Its `train` or `split` says what is trained on and what validates: the test part, or the
    validation part where it has no other; of one that is not divided a tenth is held out.
    """
    accepted = parameters(name, of)
    open_part = opener(called, of, accepted, where, library)
    made = parts(called, accepted, open_part)
    return from_items(*made, name=name, decoding=where.decoding)


def opener(
    called: str, of: Callable[..., Any], accepted: dict[str, Any], where: Where, library: str
) -> Callable[..., Any]:
    """What makes a part of a data set from the arguments that choose it."""
    base: dict[str, Any] = {"root": str(where.folder)} if "root" in accepted else {}
    flag, fetch = f"--data_folder {where.folder}", ""
    if where.download:
        if "download" not in accepted:
            raise ValueError(f"--download: {library} cannot fetch {called}")
        base["download"], flag = True, "--download"
    elif "download" in accepted:
        fetch = "; --download fetches it"

    def part(**which: Any) -> Any:
        # It looks itself whether all is there: what another process is unpacking may seem so.
        waits = alone(where.folder / f".{called}.lock") if where.download else nullcontext()
        try:
            with waits:
                return of(**base, **which)
        except (OSError, RuntimeError) as error:
            raise ValueError(f"{flag}: no whole {called} of {library} ({error}){fetch}") from None

    return part


def class_of(name: str, called: str) -> Callable[..., Any]:
    """The class of that name."""
    from torchvision import datasets

    known = [n for n in datasets.__all__ if n != "VisionDataset"]  # the others' base
    if called not in known:
        near = get_close_matches(called, known, n=1)
        meant = f"; did you mean torchvision:{near[0]}?" if near else ""
        raise ValueError(f"DATASET {name}: torchvision has no data set {called}{meant}")
    return getattr(datasets, called)


def parameters(name: str, of: Callable[..., Any]) -> dict[str, Any]:
    """What a data set's class takes, with the defaults.

    Raises:
        ValueError: it needs more than a folder.
    """
    found = {p.name: p for p in inspect.signature(of).parameters.values()}
    free = {n for n, p in found.items() if p.kind is p.VAR_KEYWORD}
    empty = inspect.Parameter.empty
    needed = [n for n, p in found.items() if p.default is empty and n not in {"root", *free}]
    if needed:
        raise ValueError(f"DATASET {name}: needs {', '.join(needed)}, not given here")
    accepted = {n: p.default for n, p in found.items()}
    return accepted | ({"download": False} if free else {})


def parts(called: str, accepted: dict[str, Any], part: Callable[..., Any]) -> tuple[Any, Any]:
    """What is trained on, and what validates or None."""
    if "train" in accepted:
        return part(train=True), part(train=False)
    if "split" not in accepted:
        return part(), None
    train = part(split=TRAIN.get(called, accepted["split"]))
    for name in VALIDATION:
        try:
            return train, part(split=name)
        except ValueError as error:  # torchvision's own, before it looks for files
            if not str(error).startswith("Unknown value"):
                raise
    return train, None
