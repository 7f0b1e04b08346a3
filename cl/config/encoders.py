"""What the names of encoders say, read without loading one."""

import re
from collections.abc import Iterator

from cl.config.own import is_own

TRANSFORMERS = ("minilm", "hf:FOLDER", "package:NAME")  # encoders of texts that have a tokenizer
TEXTS = ("bag_wN", *TRANSFORMERS)  # encoders of texts, as `cl.nets.texts` makes them
BAG = re.compile(r"bag_w[1-9]\d*")
TRANSFORMER = re.compile(r"minilm|(hf|package):.+")
TIMM = "timm"  # whose own weights --init_from means by it
LONGEST = 1024  # n-grams of a text that a bag reads, of which a word has ten
PIECES = 64, 256  # tokens of a query and of a document that a transformer reads


class Transformers:
    """The encoders that are transformers of texts."""

    def __contains__(self, encoder: str) -> bool:
        return is_transformer(encoder)

    def __iter__(self) -> Iterator[str]:
        return iter(TRANSFORMERS)


def is_foreign(encoder: str) -> bool:
    """Whether it is one of the user's own, of which the name says nothing."""
    return is_own(encoder) or (":" in encoder and not is_transformer(encoder))


def is_transformer(encoder: str) -> bool:
    """Whether the encoder of that name is a transformer of texts."""
    return not is_own(encoder) and bool(TRANSFORMER.fullmatch(encoder))


def takes_texts(encoder: str) -> bool:
    """Whether the encoder of that name takes tokens."""
    return bool(BAG.fullmatch(encoder)) or is_transformer(encoder)


def is_saved_pair(encoder: str) -> bool:
    """Whether the name may be that of a folder with encoders of images and of texts, as CLIP's."""
    return not is_own(encoder) and encoder.startswith("hf:")


def has_weights(encoder: str) -> bool:
    """Whether the name says where the encoder's weights are, so that no other file is needed."""
    return is_transformer(encoder) and encoder != "minilm"


def default_length(encoder: str) -> tuple[int, int]:
    """Tokens of a query and of a document that the encoder reads."""
    return PIECES if is_transformer(encoder) else (LONGEST, LONGEST)
