"""A data set that has been read, and where it is looked for."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Generic

from typing_extensions import TypeVar

from cl.data.sets._copies import copies
from cl.data.sets._decode import suffixes_of
from cl.data.sets._images import Images
from cl.data.sets._texts import Captioned, Samples, TextPairs
from cl.data.sets._values import RGB, Decoding

S = TypeVar("S", bound=Samples, default=Images)


@dataclass(frozen=True)
class Where:
    """Where a data set is looked for; the fields are flags.

    Args:
        folder: `--data_folder`.
        train_dir: inside it.
        val_dir: inside it.
        class_list: a file with the classes to take.
        download: fetch what is not there.
        decoding: how image files become pixels.
        image_column: of a table.
        label_column: of a table.
        label_separator: between the labels in it.
    """

    folder: Path
    train_dir: str | None = None
    val_dir: str | None = None
    class_list: str | None = None
    download: bool = False
    decoding: Decoding = RGB
    image_column: str | None = None
    label_column: str | None = None
    label_separator: str | None = None

    @property
    def suffixes(self) -> tuple[str, ...]:
        """The endings of image files."""
        return suffixes_of(self.decoding)


@dataclass(frozen=True, eq=False)
class Source(Generic[S]):
    """A data set.

    Args:
        name: as on the command line.
        classes: their names.
        train: what is trained on.
        val: what is measured on; no image is in both.
        note: what a user should know about the images, as in "500 of 50,000 training images".
        skipped: names of the images that could not be read and were left out.
        held_out: the fraction of every class that became the validation part; 0 if the data set
            comes with one.
        split: how the validation part came about, in words; empty for the official one.
        left_out: the files that lie in its folders and are not used, in words.
        named: whether the classes have names; else numbers stand for them.
    """

    name: str
    classes: list[str]
    train: S
    val: S
    note: str = ""
    skipped: tuple[str, ...] = ()
    held_out: float = 0.0
    split: str = ""
    left_out: str = ""
    named: bool = True

    @property
    def multilabel(self) -> bool:
        """Whether an image may be of several classes."""
        return isinstance(self.train, Images) and self.train.multilabels is not None

    @cached_property
    def copied(self) -> str:
        """How many validation images are training images, byte for byte, in words."""
        if not isinstance(self.train, Images) or not isinstance(self.val, Images):
            return ""
        same, left = copies(self.train, self.val)
        said = []
        if same and self.val.files is not None:
            first = self.val.files.name(same[0])
            said = [f"{len(same):,} val images are copies of training images, {first} for one"]
        if left:
            said.append(f"{left:,} val images were not compared with training images of their size")
        return "; ".join(said)

    def describe(self) -> str:
        """The numbers of images and classes.

        >>> import numpy as np
        >>> one = Images(np.zeros(1, np.int64), np.zeros((1, 8, 8, 3), np.uint8))
        >>> Source("dots", ["dot"], one, one, held_out=0.5).describe()
        '1 train / 1 val (50 %), 1 class'
        """
        number = len(self.classes)
        kinds = f"{number:,} class{'es' * (number > 1)}" if number else "no labels"
        kinds += ", of which an image may have several" * self.multilabel
        if isinstance(self.train, TextPairs):
            corpora = [len(p.documents) for p in (self.train, self.val) if isinstance(p, TextPairs)]
            kinds = f"{' and '.join(f'{n:,}' for n in corpora)} documents"
        if isinstance(self.train, Captioned) and isinstance(self.val, Captioned):
            kinds = f"{len(self.train.texts):,} and {len(self.val.texts):,} captions"
        share = f"{self.held_out:.0%}".replace("%", " %") + ", stratified" * (
            number > 1 and not self.multilabel
        )
        how = share if self.held_out else self.split
        val = f"{len(self.val):,} val" + (f" ({how})" if how else "")
        notes = "".join(f"; {note}" for note in (self.note, self.left_out, self.copied) if note)
        return f"{len(self.train):,} train / {val}, {kinds}{notes}"

    def protocol(self) -> str:
        """How the parts came about, for an evaluation's card."""
        return "; ".join(filter(None, (self.split, self.note))) or "as the data set's"
