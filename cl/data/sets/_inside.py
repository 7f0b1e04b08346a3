"""Files that a list, a table or a row of a data set names: they lie where the data set does."""

import os
from pathlib import Path


def file_inside(name: str, folder: Path, *others: Path) -> Path:
    """The file that a data set names; links are followed later, as those of its folders are.

    Args:
        name: relative to the folder, or absolute.
        folder: of the data set.
        others: folders in which it may lie, too.

    Raises:
        ValueError: it lies elsewhere.
    """
    roots = (Path(os.path.normpath(root.absolute())) for root in (folder, *others))
    whole = Path(os.path.normpath((folder / name).absolute()))
    if "\0" in name or not any(whole.is_relative_to(root) for root in roots):
        raise ValueError(f"{name} lies outside of the data set's folder {folder}")
    return Path(os.path.normpath(folder / name))
