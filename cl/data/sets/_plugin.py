"""A data set of the user's own, MODULE:NAME: no file of this package knows it."""

from collections.abc import Callable
from inspect import isclass, signature
from typing import Any

from cl.data.sets._images import Images
from cl.data.sets._rows import dataset_row, module_of
from cl.data.sets._source import Source, Where


def read_plugin(name: str, where: Where) -> Source[Any]:
    """The data set that MODULE:NAME returns, see `read_own`.

    Raises:
        ValueError: it cannot be imported, returns none, or one of another kind than its row says,
            or a label has no class.
    """
    source = read_own(name, where)
    kind, said = source.train.kind, dataset_row(name)["kind"]
    if kind != said:
        raise ValueError(
            f"DATASET {name} gives {kind}, but its module says {said}; it needs a line "
            f'ROW = {{"kind": "{kind}"}}'
        )
    parts = [part for part in (source.train, source.val) if isinstance(part, Images)]
    last = max((int(part.labels.max(initial=-1)) for part in parts), default=-1)
    if last >= len(source.classes):
        raise ValueError(
            f"DATASET {name} has a label {last}, but {len(source.classes)} names of classes"
        )
    return source


def read_own(name: str, where: Where) -> Source[Any]:
    """The data set that MODULE:NAME returns.

    FUNCTION is called with `(name, where)` and returns a `Source`, or whatever `from_dataset` or
    `from_texts` takes, or two of these, for training and for validation; with texts its module has
    `ROW = {"kind": "text"}`. It may also be such a data set itself, or the class of one with the
    parameters that torchvision's classes have.

    Raises:
        ValueError: it cannot be imported, or returns none of these.
    """
    from cl.data.sets._from_texts import from_items  # with torch
    from cl.data.sets._map_style import as_pair
    from cl.data.sets._torchvision import read_class

    module, _, called = name.partition(":")
    found = getattr(module_of(name), called, None)
    if found is None:
        raise ValueError(f"DATASET {name}: there is no {called} in {module}")
    if isclass(found):
        return read_class(name, found, called, where, module)
    made = called_with(found, name, where) if callable(found) else found
    if isinstance(made, Source):
        return made
    made = as_pair(made)
    train, val = made if isinstance(made, tuple) and len(made) == 2 else (made, None)
    for part in (train, train if val is None else val):
        if not (hasattr(part, "__getitem__") and hasattr(part, "__len__")):
            raise ValueError(
                f"DATASET {name}: {called} gives a {type(part).__name__}; it must give a "
                "cl.data.sets.Source, or data sets with len() and items (PIL image, label)"
            )
    return from_items(train, val, name=name, decoding=where.decoding)


def called_with(function: Callable[..., Any], name: str, where: Where) -> Any:
    """What a function of the user's own gives.

    Raises:
        ValueError: it does not take `(name, where)`.
    """
    try:
        signature(function).bind(name, where)
    except TypeError as error:
        raise ValueError(f"DATASET {name} must be a function of (name, where): {error}") from None
    return function(name, where)
