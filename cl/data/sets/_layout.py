"""Where the parts of a folder lie: recognized by their names, or as the flags say."""

from dataclasses import dataclass, field
from pathlib import Path

from cl.data.sets._source import Where
from cl.data.sets._walk import (
    VALIDATION,
    Walk,
    holds_images,
    is_image,
    part_of_name,
    visible_folders,
)

FLAGS = "say which folders the parts are by --train_dir and --val_dir"


@dataclass
class Layout:
    """The folders of the parts.

    Args:
        train: folders of class folders, or of images.
        val: likewise; none where a part of the training images is held out.
        given: whether the flags said so.
    """

    train: list[Path]
    val: list[Path] = field(default_factory=list)
    given: bool = False

    def describe(self) -> str:
        """What validates, where no flag says it and it is not called val."""
        names = [folder.name for folder in self.val]
        return "" if self.given or names == ["val"] else f"{' and '.join(names)} validates"


def find_layout(where: Where, walk: Walk) -> Layout:
    """The parts of `--data_folder`: those of the flags, or folders named as parts are.

    Raises:
        ValueError: the parts cannot be told; the message says which flag does.
    """
    root = where.folder
    if where.train_dir is not None:
        val = [] if where.val_dir is None else [root / where.val_dir]
        return Layout([root / where.train_dir], val, given=True)
    found = recognize(root, walk) if root.is_dir() else Layout([root])
    if where.val_dir is not None:
        found.val, found.given = [root / where.val_dir], True
    return found


def recognize(root: Path, walk: Walk) -> Layout:
    """The parts by the names of the folders in a folder; the folder itself if none is a part's.

    Folders beside the training part that are not used are counted as left out. Where images lie
    directly in a folder called train, and others lie beside it, train is a class.
    """
    folders, parts = visible_folders(root), dict[str, list[Path]]()
    for folder in folders:
        parts.setdefault(part_of_name(folder.name) or "", []).append(folder)
    train = parts.get("train", [])
    others = [f for f in parts.get("", []) if holds_images(f, walk.suffixes)]
    if not train or (others and any(holds_images(f, walk.suffixes, below=False) for f in train)):
        return only_classes(root, folders, walk)
    in_classes = any(map(visible_folders, train))
    usable = [k for k in VALIDATION if k in parts and can_validate(parts[k], in_classes)]
    val = parts[usable[0]] if usable else []
    for folder in others + [f for k in VALIDATION for f in parts.get(k, []) if f not in val]:
        walk.left_out[f"in {folder.name}"] += sum(1 for _ in Walk(walk.suffixes).images(folder))
    return Layout(one_part(train), one_part(val))


def can_validate(folders: list[Path], in_classes: bool) -> bool:
    """Whether they hold class folders where the training part has them (a test part may not)."""
    return not in_classes or any(map(visible_folders, folders))


def one_part(folders: list[Path]) -> list[Path]:
    """The folders of a part: one, or numbered pieces as train.X1 and train.X2.

    Raises:
        ValueError: two folders may be the part.
    """
    stems = {folder.name.rstrip("0123456789") for folder in folders}
    if len(stems) > 1:
        names = ", ".join(folder.name for folder in folders)
        raise ValueError(f"--data_folder {folders[0].parent}: {names} may be one part; {FLAGS}")
    return folders


def only_classes(root: Path, folders: list[Path], walk: Walk) -> Layout:
    """A folder without a training part: its folders are the classes.

    Raises:
        ValueError: they look like something else.
    """
    deep = [f for f in folders if not holds_images(f, walk.suffixes, below=False)]
    parts = [f.name for f in deep if part_of_name(f.name) and holds_images(f, walk.suffixes)]
    if parts:
        raise ValueError(
            f"--data_folder {root}: {', '.join(parts)} may be a part or a class; {FLAGS}"
        )
    flat = any(is_image(p.name, walk.suffixes) for p in root.iterdir())
    if len(folders) == len(deep) == 1 and not flat and visible_folders(deep[0]):
        inside = deep[0].name
        raise ValueError(
            f"--data_folder {root}: it holds one folder, {inside}, with folders in it. If these "
            f"are the classes or parts, give --data_folder {deep[0]}; --train_dir . takes {inside} "
            "as the only class"
        )
    return Layout([root])
