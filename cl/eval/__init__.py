"""One evaluation a file; a file's name is its function's name and its name in `--eval`.

What a function takes says what it is, and the command line reads that from the source:

- `(train, test, classes)`: features and labels of both parts, of a frozen encoder;
- `(encoder, data, classes)`: it learns from images, from a pretrained encoder on;
- `(untrained, data, classes)`: the same from random weights.

`MULTILABEL = True` in its file says that labels may be `(n c)`, 1 for each class of an image that
may be of several; without it such images are refused.

`NUMBERS` in its file has the names of its numbers that are one number each, where they are not
those of `score`: what a comparison may compare. `{OPTION}` stands for each value of an option;
`NUMBERS_OF_TEXTS` and `NUMBERS_OF_CAPTIONS` are those of its functions of that name.

Keyword-only parameters are its flags, but for those that every run has (`seed`, `dataset`,
`channels_last`, ...) and `training`, with which it trains by SGD. A second function `augmented` in
the file is what it does with `--augment`. Each returns an `EvalResult`.
"""

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cl.eval._result import EvalResult as EvalResult
    from cl.eval._result import score as score

NAMES = sorted(p.stem for p in Path(__file__).parent.glob("[!_]*.py"))
DEFAULT = "linear"


def get_evaluation(name: str, function: str = "") -> Callable[..., Any]:
    """The evaluation of that name, e.g. `get_evaluation("knn")` is `cl.eval.knn.knn`.

    Args:
        name: of a file here, MODULE:NAME of anything that can be imported, or an object's.
        function: another one of the same module.

    Raises:
        ValueError: there is none.
    """
    if given := getattr(name, "object", None):
        return getattr(import_module(given.__module__), function) if function else given
    module, _, own = name.partition(":")
    if not own and name not in NAMES:
        raise ValueError(f"--eval {name}: there are {', '.join(NAMES)}")
    found = import_module(module if own else f"cl.eval.{name}")
    return getattr(found, function or own or name)


def __getattr__(name: str) -> Any:
    """What an evaluation returns and what makes one: `from cl.eval import EvalResult, score`."""
    if name in ("EvalResult", "score"):
        return getattr(import_module("cl.eval._result"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
