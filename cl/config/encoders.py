"""What the names of encoders say, read without loading one."""

import re

from cl.config.own import is_own

TEXTS = ("bag_wN",)  # encoders of texts, as `cl.nets.texts` makes them
BAG = re.compile(r"bag_w[1-9]\d*")
LONGEST = 1024  # n-grams of a text that a bag reads, of which a word has ten


def is_foreign(encoder: str) -> bool:
    """Whether it is one of the user's own, of which the name says nothing."""
    return is_own(encoder) or ":" in encoder


def takes_texts(encoder: str) -> bool:
    """Whether the encoder of that name takes tokens."""
    return bool(BAG.fullmatch(encoder))


def default_length(encoder: str) -> tuple[int, int]:
    """Tokens of a query and of a document that the encoder reads."""
    return LONGEST, LONGEST
