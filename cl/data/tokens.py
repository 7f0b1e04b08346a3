"""Texts as token numbers, by the tokenizer that an encoder wants."""

import hashlib
import re
import warnings
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any
from unicodedata import unidata_version

import numpy as np
import numpy.typing as npt

from cl.data.loaders.sampler import Index

END = -1  # what stands after a text's last token, where other texts of a batch are longer
WORD = re.compile(r"\w+")
SIZES = (3, 4, 5)  # characters of an n-gram
LARGEST = 2**31 - 1
# Distinct words whose tokens are kept from call to call, some 300 bytes each: texts that come in
# batches of 256 take 2.4 times as long without (20,000 definitions), and a corpus has millions.
KEPT_WORDS = 2**16
CHUNK = 1024  # texts that are cut into subwords at a time


@dataclass(frozen=True, eq=False)
class Tokens:
    """The token numbers of some texts, behind each other.

    Args:
        flat: of all texts.
        offsets: `(n + 1)`, where each text begins in `flat`, and where the last one ends.
        cut: how many texts were longer than they may be.
    """

    flat: npt.NDArray[np.int32]
    offsets: Index
    cut: int = 0

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def lengths(self) -> Index:
        """`(n)`, the tokens of each text."""
        return np.diff(self.offsets)

    def padded(self, index: Index) -> npt.NDArray[np.int64]:
        """`(n l)`, the tokens of some texts, `END` after the end; l is the longest one's length."""
        starts, lengths = self.offsets[index], self.offsets[index + 1] - self.offsets[index]
        inside = np.arange(lengths.max(initial=0)) < lengths[:, None]
        out = np.full(inside.shape, END, np.int64)
        first = np.cumsum(lengths) - lengths
        out[inside] = self.flat[np.arange(lengths.sum()) + np.repeat(starts - first, lengths)]
        return out


Tokenizer = Callable[[Sequence[str], int], Tokens]  # of texts, at most so many of each


class NGrams:
    """Each word as itself and as its character 3- to 5-grams, hashed to numbers of 31 bits.

    A word is in lower case, and `<` and `>` are its ends.

    >>> len(NGrams()(["a tree"], longest=100).flat)  # <a>, <a>, <tree>, and 4 + 3 + 2 of its parts
    12
    """

    identity = f"{WORD.pattern} {SIZES} {LARGEST} crc32, Unicode {unidata_version}"

    def __init__(self) -> None:
        self.known: dict[str, npt.NDArray[np.int32]] = {}

    def __str__(self) -> str:
        return "words and their hashed 3- to 5-grams"

    def __call__(self, texts: Sequence[str], longest: int) -> Tokens:
        """The tokens of texts, at most `longest` of each."""
        each = [self.of_text(text) for text in texts]
        if len(self.known) > KEPT_WORDS:
            self.known = {}
        return joined([tokens[:longest] for tokens in each], sum(len(t) > longest for t in each))

    def of_text(self, text: str) -> npt.NDArray[np.int32]:
        """The tokens of a text; one without a word has those of an empty word."""
        words = WORD.findall(text.lower()) or [""]
        for word in words:
            if word not in self.known:
                self.known[word] = self.of_word(f"<{word}>")
        return np.concatenate([self.known[word] for word in words])

    def of_word(self, word: str) -> npt.NDArray[np.int32]:
        """The word and its n-grams."""
        grams = (word[i : i + size] for size in SIZES for i in range(len(word) - size + 1))
        return np.array([zlib.crc32(g.encode()) & LARGEST for g in (word, *grams)], np.int32)


class Subwords:
    """The tokenizer of a transformer, with the special tokens that it wants around a text.

    Args:
        tokenizer: a fast one of the package transformers.
        prompt: what stands before each text, and counts among its tokens.
    """

    def __init__(self, tokenizer: Any, prompt: str = "") -> None:
        self.tokenizer, self.prompt = tokenizer, prompt
        words = tokenizer.backend_tokenizer.to_str()  # before any call, which changes it
        version = import_module("tokenizers").__version__
        self.identity = f"{hashlib.sha256(words.encode()).hexdigest()}, tokenizers {version}"
        if prompt:
            self.identity += f", prompt {prompt!r}"

    def __str__(self) -> str:
        before = f" behind the prompt {self.prompt!r}" if self.prompt else ""
        return f"{len(self.tokenizer):,} subwords ({self.identity[:8]}){before}"

    def __call__(self, texts: Sequence[str], longest: int) -> Tokens:
        """The tokens of texts, at most `longest` of each, special ones included.

        Raises:
            ValueError: there is no room for a token beside the special ones.
        """
        special = self.tokenizer.num_special_tokens_to_add()
        if longest <= special:
            raise ValueError(
                f"--max_length must be at least {special + 1}, not {longest}: the tokenizer adds "
                f"{special} special tokens to a text"
            )
        each, cut = [], 0
        for start in range(0, len(texts), CHUNK):
            given = [self.prompt + text for text in texts[start : start + CHUNK]]
            found = self.tokenizer(given, truncation=True, max_length=longest).encodings
            each += [np.array(text.ids, np.int32) for text in found]
            cut += sum(bool(text.overflowing) for text in found)
        return joined(each, cut)


class OwnTokenizer:
    """A tokenizer of the user's own, whose tokens are checked.

    Args:
        function: of texts and the most tokens of each; it returns `Tokens`, or whole numbers from 0
            on for each text, of which what is too many is cut off.
    """

    def __init__(self, function: Callable[[Sequence[str], int], Any]) -> None:
        self.function = function

    def __str__(self) -> str:
        named = self.function if hasattr(self.function, "__qualname__") else type(self.function)
        return f"{named.__module__}:{named.__qualname__}"

    def __call__(self, texts: Sequence[str], longest: int) -> Tokens:
        """The tokens of texts, at most `longest` of each.

        Raises:
            ValueError: they are not of as many texts, of one are none, or are no such numbers.
        """
        found = self.function(texts, longest)
        if isinstance(found, Tokens):
            return found
        each = [np.asarray(tokens) for tokens in found]
        if len(each) != len(texts):
            raise ValueError(f"tokenizer {self} has tokens of {len(each)} texts for {len(texts)}")
        for text, tokens in zip(texts, each, strict=True):
            whole = tokens.ndim == 1 and tokens.size and np.issubdtype(tokens.dtype, np.integer)
            if not whole or tokens.min() < 0 or tokens.max() > LARGEST:
                raise ValueError(
                    f"tokenizer {self} must give whole numbers from 0 to {LARGEST}, at least one "
                    f"for a text, not {tokens.tolist()!r:.40} for {text!r:.40}"
                )
        cut = [tokens[:longest].astype(np.int32) for tokens in each]
        return joined(cut, sum(len(tokens) > longest for tokens in each))


class Undecided:
    """The tokenizer of an encoder whose queries begin otherwise than its documents.

    Args:
        queries: the tokenizer of these.
        documents: that of these.
    """

    def __init__(self, queries: Subwords, documents: Subwords) -> None:
        self.queries, self.documents = queries, documents

    def __str__(self) -> str:
        return of_sides(self.queries, self.documents)

    def __call__(self, texts: Sequence[str], longest: int) -> Tokens:
        """Nothing.

        Raises:
            ValueError: nobody has said whether these are queries or documents.
        """
        raise ValueError(
            f"the encoder has the prompt {self.queries.prompt!r} of queries and "
            f"{self.documents.prompt!r} of documents; say which of them the texts are: --side "
            "query or document, from Python side of load_encoder or embed"
        )


def of_sides(queries: Tokenizer, documents: Tokenizer) -> str:
    """What makes the tokens of queries and those of documents, in words."""
    one, other = str(queries), str(documents)
    return one if one == other else f"{one} of queries, {other} of documents"


def tokenizer_of(
    name: str, encoder: object = None, flag: str = "ENCODER", prompt: str | None = None
) -> Tokenizer:
    """The tokenizer of an encoder.

    Args:
        name: the encoder's, see `cl.nets.texts`.
        encoder: one of the user's own has a `tokenizer`, a function or a fast one of the package
            transformers; a transformer has `subwords` and `prompts`, a bag has `ngrams`.
        flag: that named it, for messages.
        prompt: of a transformer, what stands before each text; None: its own, and where that of
            queries is another one than that of documents, it makes no tokens.

    Raises:
        ValueError: it takes no texts.
    """
    own, subwords = (getattr(encoder, each, None) for each in ("tokenizer", "subwords"))
    if own is not None and not hasattr(own, "backend_tokenizer"):
        return OwnTokenizer(own)
    if own is not None or subwords is not None:
        if own is not None:
            return Subwords(own)
        query, document = getattr(encoder, "prompts", ("", "")) if prompt is None else [prompt] * 2
        both = Subwords(subwords, query), Subwords(subwords, document)
        return both[0] if query == document else Undecided(*both)
    if name.startswith("bag_") or hasattr(encoder, "ngrams"):
        return NGrams()
    raise ValueError(
        f"{flag} {name}: it has no tokenizer; give it one as its attribute `tokenizer`, a function "
        "of texts and the most tokens of each that returns the token numbers of each text"
    )


def joined(each: Sequence[npt.NDArray[np.int32]], cut: int) -> Tokens:
    """The tokens of each text as `Tokens`."""
    offsets = np.zeros(len(each) + 1, np.int64)
    np.cumsum([len(tokens) for tokens in each], out=offsets[1:])
    return Tokens(np.concatenate([np.empty(0, np.int32), *each]), offsets, cut)


def tokenize(
    texts: Sequence[str],
    tokenizer: Tokenizer,
    longest: int,
    what: str,
    flag: str = "--max_length",
) -> Tokens:
    """The tokens of texts; that some were longer is said once.

    Args:
        texts: all of a kind.
        tokenizer: the encoder's.
        longest: tokens of a text that are used.
        what: the texts are, for the message.
        flag: that says it; empty where none does.
    """
    tokens = tokenizer(texts, longest)
    if tokens.cut:
        used = f"of {flag}" if flag else "that are used of a text"
        warnings.warn(
            f"{tokens.cut:,} of {len(texts):,} {what} are longer than the {longest} tokens {used}; "
            "their ends are cut off",
            stacklevel=2,
        )
    return tokens
