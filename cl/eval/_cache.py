"""A content-addressed cache of extracted features, with checksums."""

import hashlib
import json
import os
import shutil
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import cl
from cl import checkpoints, distributed
from cl.checkpoints.space import say_bytes
from cl.data.sets import RGB, Images
from cl.data.sets._sums import hash_images
from cl.eval._result import Features
from cl.locking import lock_file
from cl.versions import versions_of

COMPUTING = ("torch", "timm", "transformers")  # packages that make features of weights


def computed_by(encoder: nn.Module) -> str:
    """How features come about, as far as no tensor tells: configurations of models, and versions.

    A model of transformers has in its configuration which activation it uses, how many heads, ...
    """
    found: list[Any] = [getattr(module, "config", None) for module in encoder.modules()]
    models = (config.to_json_string() for config in found if hasattr(config, "to_json_string"))
    return json.dumps([[*dict.fromkeys(models)], {"cl": cl.__version__, **versions_of(COMPUTING)}])


def cache_key(
    encoder: nn.Module, images: Images, transform: str, built: Mapping[str, Any] | None = None
) -> str:
    """What features depend on: the encoder's bits and its code's version, data, preparation.

    Args:
        encoder: its weights and buffers.
        images: their labels with their pixels, or with where they lie and in which state.
        transform: in words.
        built: what no tensor of the encoder tells.
    """
    words = f"{checkpoints.fingerprint(encoder)} {transform} {json.dumps(built, sort_keys=True)}"
    words += computed_by(encoder)
    words += "" if images.decoding == RGB else f" {images.decoding}"
    return hash_images(
        hashlib.sha256(words.encode()), images, lambda files, at: files.cache_key(at)
    )[:16]


def load_features(file: Path, samples: int) -> Features | None:
    """Features kept earlier, mapped and not read into memory; None if they are not whole."""
    labels = labels_file(file)
    if not (checkpoints.valid(file) and checkpoints.valid(labels)):
        return None
    try:
        h, known = np.load(file, mmap_mode="r"), np.load(labels)
    except (OSError, ValueError, EOFError):  # not of this program
        return None
    if not len(h) == len(known) == samples:
        return None
    with warnings.catch_warnings():  # that the map is not writable is the point of it
        warnings.simplefilter("ignore", UserWarning)
        return torch.from_numpy(h), torch.from_numpy(known)


def map_privately(file: Path) -> Tensor:
    """Features kept earlier, mapped so that whatever is written into them stays in memory."""
    return torch.from_numpy(np.load(file, mmap_mode="c"))


def labels_file(file: Path) -> Path:
    """Where the labels of features stand."""
    return file.with_suffix(".labels.npy")


PAUSE = 0.5  # s between two looks whether another evaluation has ended


@contextmanager
def written_alone(file: Path, wait: Callable[[], object]) -> Iterator[None]:
    """Wait until no other evaluation writes these features; its lock ends with its process.

    Args:
        file: of the features; all processes of this evaluation come here together.
        wait: is called by the first process, once, where there is something to wait for.
    """
    lock, waited = file.with_suffix(".lock"), False
    handle: int | None = None
    while True:
        busy = False
        if distributed.rank() == 0:
            try:
                handle = lock_file(lock)
            except BlockingIOError:
                busy = True
        if not distributed.broadcast_object(busy):
            break
        if distributed.rank() == 0 and not waited:
            wait()
        waited = True
        time.sleep(PAUSE)
    try:
        yield
    finally:
        if handle is not None:
            lock.unlink(missing_ok=True)
            os.close(handle)


def shortage(folder: Path, samples: int, width: int) -> str:
    """Why features are not kept: both numbers, where a disk has no room; empty where it has."""
    folder.mkdir(parents=True, exist_ok=True)
    size, free = samples * (4 * width + 8), shutil.disk_usage(folder).free
    if size < free:
        return ""
    return f"they take {say_bytes(size)}, {say_bytes(free)} are free: they are not kept in {folder}"


def map_new_file(new: Path, samples: int, width: int) -> Tensor:
    """Room for features in a file that is mapped, so that a pass needs no memory for them.

    Raises:
        OSError: the disk has no room; without this check the process would end at a write.
    """
    array = np.lib.format.open_memmap(new, "w+", np.float32, (samples, width))
    with new.open("r+b") as file:
        os.posix_fallocate(file.fileno(), 0, new.stat().st_size)
    return torch.from_numpy(array)


def gather_features(own: Features) -> Features:
    """The features and labels of all processes, in memory."""
    parts: list[Any] = distributed.gather_objects(own)
    h, labels = zip(*parts, strict=True)
    return torch.cat(h), torch.cat(labels)


def unfinished_file(file: Path, writer: str) -> Path:
    """What a file is called until it is complete.

    Args:
        file: of features or labels.
        writer: whose name no other has that may write the same file now.
    """
    return file.with_suffix(f".{writer}.new")


def save_features(
    file: Path, features: Features, samples: int, writer: str, *, mapped: bool = False
) -> None:
    """Keep features of which each process has its shard; the file appears when it is complete.

    Args:
        file: on a file system that all processes see.
        features: of this process's `shard`.
        samples: of all processes.
        writer: see `unfinished_file`.
        mapped: the features are in the new file already, see `map_new_file`.
    """
    first = samples * distributed.rank() // distributed.world_size()
    file.parent.mkdir(parents=True, exist_ok=True)
    for path, tensor in ((labels_file(file), features[1]), (file, features[0])):
        new, own = unfinished_file(path, writer), tensor.contiguous().numpy()
        row = own.dtype.itemsize * int(np.prod(own.shape[1:]))
        in_place = mapped and path == file
        if distributed.rank() == 0 and not in_place:
            np.lib.format.open_memmap(new, "w+", own.dtype, (samples, *own.shape[1:])).flush()
        for turn in range(distributed.world_size()):
            # One after the other and no page twice: hosts that share the folder keep pages of it.
            distributed.barrier()
            if turn == distributed.rank():
                with new.open("r+b") as written:
                    if not in_place:
                        written.seek(new.stat().st_size - (samples - first) * row)
                        written.write(own.data)
                    written.flush()
                    os.fsync(written.fileno())
        distributed.barrier()
        if distributed.rank() == 0:
            checkpoints.write_sum(path, checkpoints.sha256(new))
            new.replace(path)
    distributed.barrier()
