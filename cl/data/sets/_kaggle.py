"""ImageNet as Kaggle delivers it: class folders train, all of val in one, whose labels a table has.

https://www.kaggle.com/c/imagenet-object-localization-challenge
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from cl.data.sets._folders import class_folder, read_class_list, read_folders
from cl.data.sets._images import in_files
from cl.data.sets._source import Source, Where
from cl.data.sets._table import column_in, columns_in, files_named
from cl.data.sets._walk import Walk, visible_folders

IMAGES = Path("ILSVRC", "Data", "CLS-LOC")
SOLUTION, MAPPING = "LOC_val_solution.csv", "LOC_synset_mapping.txt"
COLUMNS = ["ImageId", "PredictionString"]  # n01978287 85 1 499 272, a synset and a box each


def read_imagenet(
    name: str, where: Where, known: Sequence[str] | None = None, called: str = ""
) -> Source:
    """ImageNet in class folders, or as Kaggle delivers it; see `read_folders`."""
    home = None if where.train_dir or where.val_dir else delivered_in(where.folder)
    if home is None:
        return read_folders(name, where, known, called, wordnet=True)
    if visible_folders(home / IMAGES / "val"):  # was sorted into class folders
        return read_folders(name, replace(where, folder=home / IMAGES), known, called, wordnet=True)
    return read_delivered(home, where, known, called, name)


def delivered_in(folder: Path) -> Path | None:
    """The folder that holds ILSVRC, where one inside of it down to CLS-LOC may be named."""
    deep = len(IMAGES.parts)
    for named in range(deep + 1):
        place = folder.absolute().joinpath(*IMAGES.parts[named:])
        whole = place.parts[-deep:] == IMAGES.parts
        if whole and (place / "train").is_dir() and (place / "val").is_dir():
            return place.parents[deep - 1]
    return None


def read_delivered(
    home: Path, where: Where, known: Sequence[str] | None, called: str, name: str
) -> Source:
    """The classes of the training part, and the validation images that are of one of them.

    Args:
        home: the folder that holds ILSVRC and the tables.
        where: with the flags.
        known: the classes to take, if there are more and no `--class_list` is given.
        called: what `known` is, for the note.
        name: of the data set.

    Raises:
        ValueError: a class or image is not there, or a table.
    """
    walk, flag = Walk(where.suffixes), f"--data_folder {where.folder}"
    only, note = read_class_list(where.class_list)
    if only is None and known:
        only, note = known, called
    if only is None and (home / MAPPING).is_file():  # so that none of the 1,000 is missed
        lines = (home / MAPPING).read_text(encoding="utf-8").splitlines()
        only = sorted(line.partition(" ")[0] for line in lines if line.strip())
    classes, train = class_folder([home / IMAGES / "train"], flag, walk, only)
    number = {c: label for label, c in enumerate(classes)}
    labels = {i: number[c] for i, c in solution(home, flag).items() if c in number}
    files = sorted(labels)
    paths = [f"{IMAGES}/val/{i}.JPEG" for i in files]
    val = in_files(files_named(paths, home / SOLUTION, flag), [labels[i] for i in files])
    if (home / IMAGES / "test").is_dir():
        walk.left_out["in test"] += sum(1 for _ in walk.images(home / IMAGES / "test"))
    return Source(name, classes, train, val, note, left_out=walk.describe())


def solution(home: Path, flag: str) -> dict[str, str]:
    """The synset of each validation image.

    Raises:
        ValueError: the table is not there, or is another one.
    """
    table = home / SOLUTION
    if not table.is_file():
        raise ValueError(
            f"{flag}: there is no {table}, which has the labels of the images in "
            f"{home / IMAGES / 'val'}; it comes with them"
        )
    if columns_in(table, flag) != COLUMNS:
        raise ValueError(f"{flag}: {table} must have the columns {', '.join(COLUMNS)}")
    images, boxes = (column_in(table, column, flag) for column in COLUMNS)
    return {i: b.partition(" ")[0] for i, b in zip(images, boxes, strict=True)}
