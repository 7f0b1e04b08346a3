"""A data set of the user's own, MODULE:NAME: no file of this package knows it."""

from inspect import isclass

from cl.data.sets._rows import module_of
from cl.data.sets._source import Source, Where


def read_plugin(name: str, where: Where) -> Source:
    """The data set that MODULE:NAME returns.

    FUNCTION is called with `(name, where)` and returns a `Source`, or whatever `from_dataset`
    takes, or two of these, for training and for validation. It may also be such a data set itself,
    or the class of one with the parameters that torchvision's classes have.

    Raises:
        ValueError: it cannot be imported, or returns none of these.
    """
    from cl.data.sets._from_dataset import from_dataset  # with torch
    from cl.data.sets._torchvision import read_class

    module, _, called = name.partition(":")
    found = getattr(module_of(name), called, None)
    if found is None:
        raise ValueError(f"DATASET {name}: there is no {called} in {module}")
    if isclass(found):
        return read_class(name, found, called, where, module)
    made = found(name, where) if callable(found) else found
    if isinstance(made, Source):
        return made
    train, val = made if isinstance(made, tuple) and len(made) == 2 else (made, None)
    for part in (train, train if val is None else val):
        if not (hasattr(part, "__getitem__") and hasattr(part, "__len__")):
            raise ValueError(
                f"DATASET {name}: {called} gives a {type(part).__name__}; it must give a "
                "cl.data.sets.Source, or data sets with len() and items (PIL image, label)"
            )
    return from_dataset(train, val, name=name, decoding=where.decoding)
