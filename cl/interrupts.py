"""Signals that ask a run to end: a step in progress is saved first, all else ends at once."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

# Ctrl-C, a scheduler's word, the end of a terminal, a limit of time that comes near.
ASKED = tuple(
    getattr(signal, name)
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2", "SIGXCPU")
    if hasattr(signal, name)
)
CODE = 128  # and the signal's number: what shells and schedulers expect


class Stop(BaseException):
    """A run ends early on purpose: `code` is the process's exit code, the message says why.

    No error, so that nothing that keeps errors from ending a run keeps this.
    """

    def __init__(self, why: str, code: int) -> None:
        super().__init__(why)
        self.code = code


def end_as_signalled(code: int, why: str) -> None:
    """End a call from Python that a signal has ended as the signal ends a program.

    A program of the caller's that says nothing of it then ends too, and with that exit code.

    Args:
        code: what the program would have ended with.
        why: what is known of it.

    Raises:
        KeyboardInterrupt: the signal was Ctrl-C's.
        SystemExit: it was another one.
    """
    if code == CODE + signal.SIGINT:
        raise KeyboardInterrupt(why)
    if code > CODE:
        raise SystemExit(code)


class Interrupts:
    """Takes the signals of `ASKED`: while something waits for them they are noted, else they end.

    Attributes:
        came: the number of the first signal that came while something waited; 0 of none.
        waits: whether a loop asks for `came` at the end of each step, and for `failed` at the
            beginning.
        failed: why this process has no batch for the next step, where others wait for it.
    """

    def __init__(self) -> None:
        self.came, self.waits = 0, False
        self.failed: Exception | None = None

    def note(self, number: int, _: FrameType | None) -> None:
        """Take a signal; a second Ctrl-C ends at once.

        Raises:
            Stop: nothing waits for signals.
            KeyboardInterrupt: it is the second Ctrl-C.
        """
        if not self.waits:
            raise Stop(f"{signal.Signals(number).name}: ended outside of a step", CODE + number)
        if self.came and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.came = self.came or number

    def wait(self) -> None:
        """From now on signals are noted."""
        self.came, self.waits, self.failed = 0, True, None

    def end_wait(self) -> None:
        """From now on signals end the program."""
        self.waits = False

    @contextmanager
    def handled(self) -> Iterator[None]:
        """Take the signals as long as the context lasts.

        Those that are ignored, as `nohup` has it of SIGHUP, stay so. No thread but the main one may
        take signals; in another one nothing changes.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.getsignal(number) for number in ASKED}
        for number, handler in before.items():
            if handler is not signal.SIG_IGN:
                signal.signal(number, self.note)
        try:
            yield
        finally:
            self.end_wait()
            for number, handler in before.items():
                signal.signal(number, handler)


interrupts = Interrupts()  # a process has one set of handlers
