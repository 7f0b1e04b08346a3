"""What the configuration knows of a method, a loss, an evaluation or a schedule."""

import inspect
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from cl.config.schema import Option
from cl.losses import PairwiseLoss

Kind = Literal["method", "loss", "eval", "schedule"]
CL = Path(__file__).parents[1]
FOLDERS: dict[Kind, Path] = {
    "method": CL / "methods",
    "loss": CL / "losses",
    "eval": CL / "eval",
    "schedule": CL / "schedules",
}
PACKAGES: dict[Kind, str] = {kind: f"cl.{folder.name}" for kind, folder in FOLDERS.items()}
ANY_LOSS = ("PairwiseLoss", inspect.formatannotation(PairwiseLoss))
FEATURES = ("train", "test", "classes")
IMAGES = ("encoder", "data", "classes")
UNTRAINED = ("untrained", "data", "classes")
SCORED = ("sentences", "others", "scores")
NAMED = ("test", "names", "embed")


@dataclass(frozen=True)
class Thing:
    """What the source of a method, a loss, an evaluation or a schedule says of it.

    Args:
        name: on a command line.
        arguments: annotation of each positional parameter.
        loss: a method's own, the default of its parameter `loss`: the name of one here, else
            MODULE:NAME, or its source where that is no name.
        options: its options by name, but for those that are settings of every run.
        keywords: all its keyword-only parameters.
        defaults: settings of every run that a method's source has otherwise, its `defaults`.
        doc: its docstring.
        source: the docstring of its module.
        beside: the other functions and classes of its module.
        needs: options that say nothing without another one, the constant `NEEDS` of its module.
        samples: the kind of samples that a method alone can train on, the constant `SAMPLES` of its
            module; empty: of any but these.
        is_method: whether a class extends `Method`.
        lost: the base class that no source file defines, if through it the class may be one.
    """

    name: str = ""
    arguments: dict[str, str] = field(default_factory=dict)
    loss: str | None = None
    options: dict[str, Option] = field(default_factory=dict)
    keywords: tuple[str, ...] = ()
    defaults: dict[str, Any] = field(default_factory=dict)
    doc: str = ""
    source: str = ""
    beside: tuple[str, ...] = ()
    needs: dict[str, str] = field(default_factory=dict)
    samples: str = ""
    is_method: bool = False
    lost: str = ""

    @property
    def summary(self) -> str:
        """The first line of its docstring."""
        return self.doc.partition("\n")[0].rstrip(".") or self.name

    @property
    def pairwise(self) -> bool:
        """Whether it is a loss of `(z, ids, rows)`, as `--loss` needs it."""
        return list(self.arguments)[:3] == ["z", "ids", "rows"]

    @property
    def any_loss(self) -> bool:
        """Whether it is a method that computes any pairwise loss."""
        return self.arguments.get("loss") in ANY_LOSS

    @property
    def two_views(self) -> bool:
        """Whether it is a loss whose first axis is no number of views: it takes two of a sample."""
        axes = self.arguments.get("z", "")
        return bool(axes) and not re.search(r"""["']v n d""", axes)

    @property
    def sides(self) -> bool:
        """Whether it is a loss of sides, which takes hard negatives behind two of them."""
        return re.search(r"""["']s n d""", self.arguments.get("z", "")) is not None

    @property
    def of_images(self) -> bool:
        """Whether it is an evaluation that learns from images, so that no features are given."""
        return tuple(self.arguments) in (IMAGES, UNTRAINED)

    @property
    def pretrained(self) -> bool:
        """Whether it is an evaluation of a pretrained encoder."""
        return tuple(self.arguments) != UNTRAINED

    @property
    def trains(self) -> bool:
        """Whether it is an evaluation by SGD, with the options of the optimization."""
        return "training" in self.keywords

    @property
    def of_texts(self) -> bool:
        """Whether it is an evaluation that texts have too, by a function of that name."""
        return "of_texts" in self.beside or self.scored

    @property
    def scored(self) -> bool:
        """Whether it is an evaluation of pairs of texts with scores, and of nothing else."""
        return tuple(self.arguments) == SCORED

    @property
    def named(self) -> bool:
        """Whether it is an evaluation by the names of the classes, of an encoder of texts too."""
        return tuple(self.arguments) == NAMED

    @property
    def of_captions(self) -> bool:
        """Whether images with captions have it too, by a function of that name."""
        return "of_captions" in self.beside

    @property
    def augmented(self) -> bool:
        """Whether it is an evaluation that has another way for `--augment`."""
        return "augmented" in self.beside and ":" not in self.name


NOTHING = Thing()


def names(kind: Kind) -> tuple[str, ...]:
    """The files of a kind without leading underscore; a file is a thing."""
    return tuple(sorted(file.stem for file in FOLDERS[kind].glob("[!_]*.py")))
