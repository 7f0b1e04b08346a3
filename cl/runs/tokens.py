"""Tokens on disk, by what they depend on: a corpus is cut into tokens once, and not in every run.

They are in the folder of runs, as what is known of images is: data may be others', or read-only.
"""

import hashlib
import json
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np

from cl.checkpoints import valid, write_whole
from cl.data.sets._texts import serialized
from cl.data.tokens import Tokenizer, Tokens
from cl.locking import lock_file

FOLDER = "tokens"
FEWEST = 2**17  # characters whose tokens are worth a file: a tenth of a second


class KeptTokens:
    """A tokenizer that reads the tokens of many texts from a file, once it has written them there.

    What cannot be read or written, as on a full disk, is made anew; and two processes that make
    the same at once do not both write it.

    Args:
        tokenizer: of the encoder. One of the user's own has no `identity`, since its code may
            change: its tokens are never kept.
        runs: the folder of runs; its `tokens/` may be deleted at any time.
    """

    def __init__(self, tokenizer: Tokenizer, runs: Path) -> None:
        self.tokenizer, self.folder = tokenizer, runs / FOLDER
        self.identity: str | None = getattr(tokenizer, "identity", None)

    def __str__(self) -> str:
        return str(self.tokenizer)

    def __call__(self, texts: Sequence[str], longest: int) -> Tokens:
        """The tokens of texts, at most `longest` of each."""
        if self.identity is None or sum(map(len, texts)) < FEWEST:
            return self.tokenizer(texts, longest)
        digest = hashlib.sha256(json.dumps([self.identity, longest]).encode())
        digest.update(serialized(texts))
        file = self.folder / f"{digest.hexdigest()[:16]}.npz"
        with suppress(OSError):
            if valid(file):
                with np.load(file) as kept:
                    return Tokens(kept["flat"], kept["offsets"], int(kept["cut"]))
        tokens = self.tokenizer(texts, longest)
        with suppress(OSError):  # BlockingIOError too: another process writes them
            keep_tokens(file, tokens)
        return tokens


def keep_tokens(file: Path, tokens: Tokens) -> None:
    """Write tokens, where that is possible and nobody else does.

    Raises:
        OSError: another process writes them, or the disk is full.
    """
    lock = file.with_suffix(".lock")
    handle = lock_file(lock)
    if handle is None:
        return
    try:
        kept = {"flat": tokens.flat, "offsets": tokens.offsets, "cut": np.array(tokens.cut)}
        write_whole(file, lambda out: np.savez(out, **kept))
    finally:
        lock.unlink(missing_ok=True)
        os.close(handle)
