"""Processes that work for the training process end with it, or by its word, and by no other's.

Schedulers and terminals send a signal to all processes of a job. What a run makes of it is for the
training process to say, which needs its workers until the step in progress is saved. Systems other
than Linux do not tell who sent a signal; there workers are as their library has them.
"""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from torch.utils.data import DataLoader

from cl.interrupts import ASKED

LOOK = 1.0  # seconds between two looks whether the parent lives
TELLS_SENDER = hasattr(signal, "sigtimedwait")
Init = Callable[[int], None] | None


def start_iterator(loader: DataLoader) -> Iterator[Any]:
    """Begin an epoch of a DataLoader, whose worker processes heed no signals but this process's.

    A worker that died is found when its batch is asked for, not in the middle of a step: torch's
    handler of SIGCHLD, which raises an error wherever the program is, is taken off again.

    Args:
        loader: any; it is left as it was.
    """
    own: Init = loader.worker_init_fn
    takes = threading.current_thread() is threading.main_thread() and hasattr(signal, "SIGCHLD")
    handler = signal.getsignal(signal.SIGCHLD) if takes else None
    loader.worker_init_fn = partial(init_worker, own)
    try:
        with signals_held():
            return iter(loader)
    finally:
        loader.worker_init_fn = own
        if takes:
            signal.signal(signal.SIGCHLD, handler)


def init_worker(own: Init, number: int) -> None:
    """What a DataLoader's worker begins with, its caller's `worker_init_fn` last."""
    heed_parent_alone()
    if own is not None:
        own(number)


@contextmanager
def signals_held() -> Iterator[None]:
    """Hold signals back while processes are started: they inherit that, and miss none of theirs."""
    if not TELLS_SENDER:
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ASKED)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def heed_parent_alone() -> None:
    """Let nothing but a SIGTERM of the parent, or its end, end this process; called in it."""
    if not TELLS_SENDER:
        return
    for number in ASKED:  # a library's thread may have been there before they were held back
        signal.signal(number, lambda *_: None)
    signal.pthread_sigmask(signal.SIG_BLOCK, ASKED)
    threading.Thread(target=end_with_parent, daemon=True).start()


def end_with_parent() -> None:
    """Wait for the parent's SIGTERM or its end, then end this process."""
    parent, nearest = multiprocessing.parent_process(), os.getppid()  # a fork server lies between
    assert parent is not None
    while os.getppid() == nearest and parent.is_alive():
        came = signal.sigtimedwait(ASKED, LOOK)
        if came and (came.si_signo, came.si_pid) == (signal.SIGTERM, parent.pid):
            break
    os._exit(0)
