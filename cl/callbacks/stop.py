"""How a run ends early on purpose."""


class Stop(Exception):  # noqa: N818 - nothing went wrong
    """A run ends early on purpose: `code` is the process's exit code, the message says why."""

    def __init__(self, why: str, code: int) -> None:
        super().__init__(why)
        self.code = code
