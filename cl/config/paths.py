"""Paths that settings name: whether they are there, of the right kind, and can be used."""

import errno
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryFile

from cl.config.datasets import row_of
from cl.config.encoders import TIMM
from cl.config.machine import sentence_of
from cl.config.programs import Linear, Pretrain
from cl.config.schema import closest

# The largest config.json or cards.json is a thousandth of it.
LARGEST = 2**26


def no_run(option: str, given: str, runs: Path) -> str:
    """The message about a run that an option names and that is not there.

    Args:
        option: its name.
        given: its value.
        runs: the folder of runs, one of which may have been meant.
    """
    with suppress(OSError):
        names = (each.name for each in runs.iterdir() if each.is_dir())
        if near := closest(Path(given).name, names):
            return f"--{option} {given}: there is no such run or file; did you mean {near}?"
    return f"--{option} must be a run's folder or a file; there is no {given}."


def faults_of_paths(config: Pretrain | Linear) -> Iterator[str]:
    """Messages about what is not there, cannot be read, or cannot be written."""
    for name in ("resume_training_from", "pretrained_feature_extractor", "init_from"):
        given = getattr(config, name, None)
        resumed = name == "init_from" and config.resume_training_from  # its own folder has it
        if given and not resumed and (name, given) != ("init_from", TIMM):
            try:
                is_usable_folder(Path(given))
            except FileNotFoundError:
                yield no_run(name, given, config.runs_folder)
            except (OSError, ValueError) as error:
                why = error.strerror if isinstance(error, OSError) else error
                yield f"--{name} must be a run's folder or a file; {given}: {why}."
    if config.class_list and not (exists(config.class_list) and Path(config.class_list).is_file()):
        yield f"--class_list must be a file; there is no {config.class_list}."
    yield from faults_of_outputs(config)
    yield from faults_of_data(config)


def faults_of_data(config: Pretrain | Linear) -> Iterator[str]:
    """Messages about the folder of the data."""
    row, root = row_of(config.dataset), Path(config.data_folder)
    place = root / config.dataset.partition(":")[2]
    if row["argument"] == "PATH" and not (exists(place) or {*"*?["} & {*str(place)}):
        here = (
            f"; here it is with --data_folder {Path.cwd()}"
            if exists(config.dataset.partition(":")[2])
            else ""
        )
        yield f"DATASET {config.dataset}: there is no {place}{here}."
        return
    alone = Path(config.dataset.partition(":")[2]).is_absolute()  # as beir:/data/scifact
    if alone or not row["data_folder"]:
        return
    if config.download:
        if why := unwritable(root):
            yield f"--data_folder: {why}"
        return
    if not (exists(root) and root.is_dir()):
        fetch = "; --download makes and fills it." if row["download"] else "."
        yield f"--data_folder must be a folder; there is no {root}{fetch}"
        return
    try:
        folders = sorted(p.name for p in root.iterdir() if p.is_dir())
        for name in ("train_dir", "val_dir"):
            given = getattr(config, name)
            if given and row["class_folders"] and not (root / given).is_dir():
                there = " ".join(folders[:8]) or "it has none"
                yield f"--{name} must be a folder in {root} ({there}), not {given}."
    except OSError as error:
        yield f"--data_folder: {sentence_of(error)}"


def faults_of_outputs(config: Pretrain | Linear) -> Iterator[str]:
    """Messages about what cannot be written, which otherwise is known only after a training."""
    if mined := getattr(config, "mine", None):
        if exists(mined):
            yield f"--mine {mined}: there is such a file, and it is not overwritten."
        elif not (exists(Path(mined).parent) and Path(mined).parent.is_dir()):
            yield f"--mine {mined}: there is no folder {Path(mined).parent}."
    for name in ("show_views", "dry_run"):
        if picture := getattr(config, name, None):
            yield from faults_of_picture(name, Path(picture))
            return
    if config.resume_training_from:
        return
    if why := unwritable(config.runs_folder / (config.run_id or "")):  # all else is written there
        flag = "run_id" if config.run_id and not unwritable(config.runs_folder) else "output"
        yield f"--{flag}: {why}"


def faults_of_picture(name: str, picture: Path) -> Iterator[str]:
    """Messages about a picture that an option names and that cannot be written."""
    folder = picture.parent
    if exists(picture) and picture.is_dir():
        yield f"--{name} {picture}: {ISDIR}."
    elif why := unwritable(folder):
        yield f"--{name}: {why}"
    elif not exists(folder):
        yield f"--{name} {picture}: there is no folder {folder}."


ISDIR = "a folder stands where a file must be"


def exists(path: str | Path) -> bool:
    """Whether there is something at a path; of a name that is too long there is not."""
    return os.path.exists(path)  # noqa: PTH110, pathlib's raises where a name is too long


def is_usable_folder(path: Path) -> bool:
    """Whether a path is a folder that can be entered, else a plain file that can be read.

    Raises:
        OSError: it is neither; what is no plain file, as a pipe, could be waited for forever.
        ValueError: no path can be such a word.
    """
    if path.is_dir():
        os.scandir(path).close()
        return True
    if not path.is_file():
        path.stat()
        raise OSError(errno.EINVAL, "it is a pipe or a device, and no file", str(path))
    path.open("rb").close()
    return False


def read_settings_file(path: Path) -> str:
    """The text of a file that is small.

    Raises:
        OSError: it is not there, is no plain file, or too large to be one of settings.
        UnicodeDecodeError: it is no text.
    """
    if is_usable_folder(path):
        raise OSError(errno.EISDIR, ISDIR, str(path))
    if path.stat().st_size > LARGEST:
        said = f"it has {path.stat().st_size:,} bytes and is no file of settings"
        raise OSError(errno.EFBIG, said, str(path))
    return path.read_text(encoding="utf-8")


def unwritable(folder: Path) -> str:
    """Why no file can be made in a folder, or in one that would be made; empty if it can be."""
    try:
        with TemporaryFile(dir=existing_parent(folder)):
            return ""
    except (OSError, ValueError) as error:
        if isinstance(error, OSError) and isinstance(error.filename, str):
            error.filename = str(folder)  # and not the name of the file that was tried
        return f"{sentence_of(error)}."


def existing_parent(folder: Path) -> Path:
    """The folder itself, or the one in which it would be made.

    Raises:
        OSError: nobody can tell, as the name is too long.
    """
    for each in (folder, *folder.absolute().parents):
        try:
            each.lstat()
        except (FileNotFoundError, NotADirectoryError):
            continue
        return each
    return Path("/")
