"""Find damaged images early: a process of low priority decodes all of them, once.

It begins before the first step, and training waits for it for some seconds, in which a small data
set is checked whole. What they do not reach is checked behind the training, which ends at the step
after a damaged image is found. A data set that was checked is not checked again until one of its
files changes.
"""

import hashlib
import multiprocessing
import os
from collections.abc import Sequence
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path

from cl.data.sets import Images, UnreadableError
from cl.data.sets._readable import unreadable
from cl.data.sets._sums import hash_images
from cl.data.worker_processes import heed_parent_alone, signals_held

WAIT = 5.0  # seconds, before the first step
LOWEST = 19  # priority
SKIP = "--skip_corrupt leaves out what cannot be read"


class Inspection:
    """The check of some images.

    Args:
        parts: images of all parts; those in memory need no check.
        workers: threads that decode; at least one is used.
        checked: a file with the sums of what was checked.
    """

    def __init__(self, parts: Sequence[Images], workers: int, checked: Path) -> None:
        self.parts = [images for images in parts if images.files is not None]
        self.workers, self.checked = workers, checked
        self.process: multiprocessing.Process | None = None
        self.found: Connection | None = None

    def start(self) -> None:
        """Begin, and wait a moment.

        Raises:
            UnreadableError: an image cannot be read.
        """
        if not self.parts or self.process:
            return
        self.found, sender = multiprocessing.Pipe(duplex=False)
        args = self.parts, self.workers, self.checked, sender
        self.process = multiprocessing.Process(target=decode_all, args=args, daemon=True)
        with signals_held():
            self.process.start()
        sender.close()
        self.found.poll(WAIT)
        self.check()

    def check(self) -> None:
        """Look whether anything was found by now.

        Raises:
            UnreadableError: an image cannot be read.
        """
        if self.found is None or not self.found.poll():
            return
        try:
            message = self.found.recv()
        except EOFError:  # it was ended from outside
            message = ""
        self.stop()
        if message:
            raise UnreadableError(f"{message}; {SKIP}")

    def stop(self) -> None:
        """End the process, if it is still there."""
        if self.process and self.process.is_alive():
            self.process.terminate()
        self.found = None


def decode_all(parts: Sequence[Images], workers: int, checked: Path, sender: Connection) -> None:
    """Tell the first image that cannot be decoded, or an empty word behind the last; in a process.

    Args:
        parts: with their files.
        workers: number of threads.
        checked: see `Inspection`.
        sender: the end of the pipe that it is sent into.
    """
    heed_parent_alone()
    os.nice(LOWEST)
    with suppress(BrokenPipeError):  # nobody listens any more
        sender.send(first_unreadable(parts, workers, checked))


def first_unreadable(parts: Sequence[Images], workers: int, checked: Path) -> str:
    """Why the first image that cannot be decoded cannot be; empty where there is none."""
    digest = hashlib.sha256()
    for images in parts:
        digest.update(f"{images.decoding} {images.decoding.max_pixels} ".encode())
        hash_images(digest, images, lambda files, at: files.cache_key(at))
    known = checked.read_text().split() if checked.exists() else []
    if digest.hexdigest() not in known:
        for images in parts:
            for at in unreadable(images, workers, ""):
                return reason(images, at)
        checked.parent.mkdir(parents=True, exist_ok=True)
        with checked.open("a") as file:
            file.write(f"{digest.hexdigest()}\n")
    return ""


def reason(images: Images, at: int) -> str:
    """Why an image cannot be read."""
    try:
        images.pixel(at)
    except UnreadableError as error:
        return str(error)
    return ""  # now it can
