"""A data set that was read: its two parts, and where it was looked for."""

from dataclasses import dataclass
from pathlib import Path

from cl.data.sets._images import Images


@dataclass(frozen=True)
class Where:
    """Where a data set is looked for; the fields are flags.

    Args:
        folder: `--data_folder`.
        train_dir: inside it.
        val_dir: inside it.
        class_list: a file with the classes to take.
        download: fetch what is not there.
    """

    folder: Path
    train_dir: str | None = None
    val_dir: str | None = None
    class_list: str | None = None
    download: bool = False


@dataclass(frozen=True, eq=False)
class Source:
    """A data set.

    Args:
        name: as on the command line.
        classes: their names.
        train: what is trained on.
        val: what is measured on; no image is in both.
        note: what the user should know about the parts.
        skipped: names of the images that could not be read and were left out.
    """

    name: str
    classes: list[str]
    train: Images
    val: Images
    note: str = ""
    skipped: tuple[str, ...] = ()

    def describe(self) -> str:
        """Sizes of the two parts and the number of classes."""
        return (
            f"{len(self.train):,} train / {len(self.val):,} val {self.note}, "
            f"{len(self.classes)} classes"
        )
