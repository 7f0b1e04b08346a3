"""The evaluations that `--eval` names, by what their sources say of them.

Nothing else in `cl.config` knows an evaluation by its name.
"""

from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from string import Formatter
from typing import Any

from cl.config.datasets import kind_of, row_of
from cl.config.own import FORM, absent, constant, file_of
from cl.config.schema import either
from cl.config.signature import find
from cl.config.thing import (
    FEATURES,
    FOLDERS,
    IMAGES,
    NAMED,
    SCORED,
    UNTRAINED,
    Thing,
    names,
)

ALL = "all"
KINDS = (FEATURES, IMAGES, UNTRAINED, SCORED, NAMED)


def built_in() -> tuple[str, ...]:
    """The evaluations of `cl.eval`: its files without a leading underscore."""
    return names("eval")


@cache
def default() -> str:
    """What is evaluated where `--eval` is not given, as `cl/eval/__init__.py` says."""
    return constant(FOLDERS["eval"] / "__init__.py", "DEFAULT")


def about(name: str) -> Thing:
    """What the source says of an evaluation, or the function itself.

    Args:
        name: of a file of `cl.eval`, MODULE:NAME of anything that can be imported, or an object's.

    Raises:
        ValueError: there is no such function, or it is no evaluation.
    """
    found = find("eval", name)
    if found is None:
        file, (_, _, own) = file_of(name), name.partition(":")
        why = f"{file} has no function {own}." if file else absent(name)
        why = why or f"choose from {', '.join((*built_in(), ALL, FORM))}."
        raise ValueError(f"unknown evaluation {name}; {why}")
    if tuple(found.arguments) not in KINDS:
        kinds = either([f"({', '.join(kind)})" for kind in KINDS])
        raise ValueError(f"--eval {name} must take {kinds}, not ({', '.join(found.arguments)}).")
    return found


def meant(given: Iterable[str]) -> tuple[str, ...]:
    """The evaluations that `--eval` names; `all` are those of frozen features.

    The ones that train come first: all processes take part in them, in the others only one.
    """
    features = [name for name in built_in() if of_features(name)]
    found = dict.fromkeys(n for word in given for n in (features if word == ALL else [word]))
    return tuple(sorted(found, key=lambda name: not about(name).trains))


def words_having(what: str, more: Iterable[str] = ()) -> tuple[str, ...]:
    """The words of `--eval` for which something holds, in the order of `--help`.

    Args:
        what: a property of `Thing` that is true or false, or the name of an option.
        more: further evaluations, by MODULE:NAME.
    """

    def holds(name: str) -> bool:
        return what in about(name).options or bool(getattr(about(name), what, False))

    known = [name for name in (*built_in(), *more) if holds(name)]
    features = [name for name in known if of_features(name)]
    several = [ALL] if {*features} & {*built_in()} else []
    return (*features, *several, *(name for name in known if name not in features))


def untrained() -> tuple[str, ...]:
    """The evaluations that start from random weights."""
    return tuple(name for name in built_in() if not about(name).pretrained)


def numbers_of(name: str, kind: str, options: Mapping[str, Any]) -> tuple[str, ...]:
    """The names of the numbers that an evaluation may give, those that are one number each.

    Which ones it gives depends on the data too: `top5` needs more than five classes.

    Args:
        name: of a file of `cl.eval`; what one of the user's own gives is not known.
        kind: of the samples.
        options: of the evaluation, by name.

    Returns:
        The first one first; nothing where they are not known.
    """
    if name not in built_in():
        return ()
    of = {"text": "_OF_TEXTS", "image-text": "_OF_CAPTIONS"}.get(kind, "")
    file, shared = FOLDERS["eval"] / f"{name}.py", FOLDERS["eval"] / "_result.py"
    own = constant(file, f"NUMBERS{of}") or constant(file, "NUMBERS")
    if own is None:
        several = constant(file, "MULTILABEL")
        own = (
            *constant(shared, "NUMBERS"),
            *(constant(shared, "NUMBERS_OF_SEVERAL") if several else ()),
        )
    return tuple(number for form in own for number in each_value(form, options))


def each_value(form: str, options: Mapping[str, Any]) -> Iterator[str]:
    """A name once for each value of the option that stands in it, as `shot{shots}`."""
    for _, option, *_ in Formatter().parse(form):
        if option:
            yield from (form.format_map({option: value}) for value in options[option])
            return
    yield form


def augmentable() -> tuple[str, ...]:
    """The evaluations that `--augment` can be used with."""
    return tuple(name for name in built_in() if about(name).augmented)


def for_texts() -> tuple[str, ...]:
    """The evaluations that texts have; the file of one has a function of that name."""
    return tuple(name for name in built_in() if about(name).of_texts)


def for_captions() -> tuple[str, ...]:
    """The evaluations that images with captions have; the file of one has such a function."""
    return tuple(name for name in built_in() if about(name).of_captions)


def evaluations_for(kind: str, *, labeled: bool, scored: bool, searchable: bool) -> tuple[str, ...]:
    """What a data set is evaluated by where nothing is asked for, the first one above all.

    Args:
        kind: of its samples.
        labeled: images have labels.
        scored: pairs of texts have scores.
        searchable: a query has a relevant document.

    Returns:
        Their names; none where there is nothing to evaluate on.
    """
    if kind == "image-text":
        return for_captions()
    if kind == "images":
        return (default(),) if labeled else ()
    return tuple(n for n in for_texts() if (scored if about(n).scored else searchable))


def expected_of(dataset: str, folder: str) -> tuple[str, ...]:
    """The same of a data set that is not read, by what its row says.

    Args:
        dataset: its name.
        folder: of data sets.
    """
    scored = row_of(dataset)["scores"]
    kind = kind_of(dataset, folder)
    return evaluations_for(kind, labeled=True, scored=scored, searchable=not scored)


def what_lacks(kind: str) -> str:
    """What a data set has not, which can be evaluated by nothing."""
    return "no labels" if kind == "images" else "neither scores nor a document to find"


def asking_for(evaluations: Iterable[str]) -> list[str]:
    """The words of a command line that ask for evaluations; none for the default one."""
    asked = [*evaluations]
    return ["--eval", *asked] if asked not in ([], [default()]) else []


def of_features(name: str) -> bool:
    """Whether an evaluation is of the features of images, as those that `all` means."""
    return not (about(name).of_images or about(name).scored or about(name).named)


def by_names(given: Iterable[str]) -> tuple[str, ...]:
    """Those by the names of the classes, which need an encoder of texts beside that of images."""
    return tuple(name for name in given if name != ALL and about(name).named)


def of_images(given: Iterable[str]) -> tuple[str, ...]:
    """Those that learn from images."""
    return tuple(name for name in given if name != ALL and about(name).of_images)


def plugins(given: Iterable[object]) -> tuple[str, ...]:
    """The ones that are no file of `cl.eval`: MODULE:NAME."""
    return tuple(name for name in given if isinstance(name, str) and ":" in name)


def describe_evaluations() -> str:
    """The help of `--eval`."""
    each = "; ".join(f"{name}: {about(name).summary}" for name in built_in())
    return (
        f"{each}; {ALL}: those of frozen features, from one pass; {FORM}: an evaluation of your "
        "own that can be imported"
    )
