"""What the names of encoders say, read without loading one."""

import re
import sys
from collections.abc import Iterator
from difflib import get_close_matches
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from cl.config.own import is_own

TRANSFORMERS = ("minilm", "hf:FOLDER", "package:NAME")  # encoders of texts that have a tokenizer
TEXTS = ("bag_wN", *TRANSFORMERS)  # encoders of texts, as `cl.nets.texts` makes them
BAG = re.compile(r"bag_w[1-9]\d*")
TRANSFORMER = re.compile(r"minilm|(hf|package):.+")
TIMM = "timm"  # whose own weights --init_from means by it
RESNET6 = re.compile(r"resnet6(_w[1-9]\d*)?")
# How a source file of timm's names its models, and their earlier names.
REGISTERED = re.compile(r"^@register_model\b.*\n(?:@.*\n)*def (\w+)\(", re.MULTILINE)
RENAMED = re.compile(
    r"^register_model_deprecations\(__name__, \{(.*?)^\}\)", re.MULTILINE | re.DOTALL
)
EARLIER = re.compile(r"^\s*['\"](\w+)['\"]\s*:", re.MULTILINE)
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


@cache
def timm_names() -> frozenset[str]:
    """The models of timm, earlier names too, by its sources: to load it takes seconds.

    Empty where it is not installed.
    """
    found = find_spec(TIMM)
    folders = (found.submodule_search_locations if found else None) or []
    files = [file for folder in folders for file in Path(folder, "models").glob("*.py")]
    texts = [file.read_text(encoding="utf-8") for file in files]
    earlier = [block for text in texts for block in RENAMED.findall(text)]
    return frozenset(
        name
        for pattern, each in ((REGISTERED, texts), (EARLIER, earlier))
        for text in each
        for name in pattern.findall(text)
    )


def unknown(encoder: str) -> str:
    """Why no encoder has that name; empty if one may have it.

    Whoever has loaded timm may have registered models of their own with it.
    """
    name, names = encoder.partition(".")[0], timm_names() if TIMM not in sys.modules else ()
    ours = is_foreign(encoder) or takes_texts(encoder) or RESNET6.fullmatch(encoder)
    if not encoder or ours or not names or name in names:
        return ""
    near = ", ".join(get_close_matches(encoder, sorted([*names, "resnet6_w16"]), n=3))
    return f"ENCODER {encoder}: no such model; did you mean {near or 'resnet18'}?"
