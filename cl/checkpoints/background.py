"""Writing beside the training: what is written is copied first, and then has a thread."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait

from cl.checkpoints.copies import Copies, Spare

Write = Callable[[], object]


class Background:
    """One write at a time, in a thread.

    It is the same thread for all of them, and ends with this: a new one takes its memory from any
    of glibc's arenas, so that in the end each of them has that of a write. The program's end waits
    for it.
    """

    def __init__(self) -> None:
        self.pool = ThreadPoolExecutor(1, "checkpoint")
        self.begun: Future[object] | None = None

    def start(self, write: Write) -> None:
        """Begin to write; the write before has been waited for."""
        assert self.begun is None, "wait first: it says what could not be written"
        self.begun = self.pool.submit(write)

    def is_busy(self) -> bool:
        """Whether something is being written."""
        begun = self.begun
        return begun is not None and not begun.done()

    def wait(self) -> None:
        """Wait until all is written that was begun; what a write has raised is raised once."""
        if self.begun is not None:
            wait([self.begun])
            begun, self.begun = self.begun, None
            begun.result()


class Writes(list[Write]):
    """The writes of one step, whose content is copied together."""

    def __init__(self, spare: Spare | None = None) -> None:
        self.copies = Copies(spare)
