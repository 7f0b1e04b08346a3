"""Tokens of texts: n-grams against a plain loop, padding, and texts that are too long."""

import re
import zlib
from itertools import pairwise

import numpy as np
import pytest

from cl.data import tokens
from cl.data.tokens import END, LARGEST, NGrams, OwnTokenizer, joined, tokenize, tokenizer_of

TEXTS = ["A young cat", "Äpfel, naïve-2", "!?", "", "日本語の文"]


def plain(text: str) -> list[int]:
    found, word = [], ""
    for letter in f"{text.lower()} ":
        if letter.isalnum() or letter == "_":
            word += letter
            continue
        if word:
            whole = f"<{word}>"
            found.append(whole)
            for size in (3, 4, 5):
                found += [whole[i : i + size] for i in range(len(whole)) if i + size <= len(whole)]
        word = ""
    return [zlib.crc32(gram.encode()) % 2**31 for gram in found or ["<>"]]


def test_n_grams_are_those_of_a_plain_loop() -> None:
    tokens = NGrams()(TEXTS, longest=1000)
    ends = tokens.offsets.tolist()
    got = [tokens.flat[a:b].tolist() for a, b in pairwise(ends)]
    assert got == [plain(text) for text in TEXTS]
    assert tokens.cut == 0


def test_padding_ends_each_text() -> None:
    tokens = joined([np.array(x, np.int32) for x in ([5, 6], [], [7, 8, 9], [1])], 0)
    x = tokens.padded(np.array([3, 2, 1, 0]))
    assert x.tolist() == [[1, END, END], [7, 8, 9], [END] * 3, [5, 6, END]]
    assert tokens.padded(np.array([], np.int64)).shape == (0, 0)
    assert tokens.lengths.tolist() == [2, 0, 3, 1]


def test_a_longer_text_is_cut_and_counted_once() -> None:
    with pytest.warns(UserWarning, match=r"1 of 5 queries are longer than the 25 tokens") as seen:
        tokens = tokenize(TEXTS, NGrams(), 25, "queries")
    assert len(seen) == 1
    assert tokens.lengths.max() == 25
    assert tokens.flat[tokens.offsets[0] :][:9].tolist() == plain(TEXTS[0])[:9]


def test_an_encoder_of_images_has_no_tokenizer() -> None:
    with pytest.raises(ValueError, match="ENCODER resnet18"):
        tokenizer_of("resnet18")


def by_letter(texts: list[str], longest: int) -> list[list[int]]:
    return [[ord(letter) for letter in text] for text in texts]


def test_words_of_a_large_corpus_are_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokens, "KEPT_WORDS", 3)
    made = NGrams()
    first = made(["a b c"], 9)
    assert {*made.known} == {*"abc"}
    made(["c d e"], 9)
    assert not made.known
    np.testing.assert_array_equal(made(["a b c"], 9).flat, first.flat)


def test_a_tokenizer_of_the_users_own() -> None:
    made = OwnTokenizer(by_letter)
    tokens = made(["abc", "d"], 2)
    assert tokens.padded(np.arange(2)).tolist() == [[97, 98], [100, END]]
    assert tokens.cut == 1
    assert str(made) == "tests.data.test_tokens:by_letter"


@pytest.mark.parametrize(
    ("tokens", "said"),
    [
        ([[1]], "has tokens of 1 texts for 2"),
        ([[1], []], "at least one for a text, not [] for 'some text'"),
        ([[1], [-1]], "must give whole numbers from 0 to"),
        ([[1], [0.5]], "not [0.5] for 'some text'"),
        ([[1], [LARGEST + 1]], f"from 0 to {LARGEST}"),
        ([[1], 3], "not 3 for 'some text'"),
    ],
)
def test_its_tokens_are_checked(tokens: list, said: str) -> None:
    with pytest.raises(ValueError, match=re.escape(said)):
        OwnTokenizer(lambda texts, longest: tokens)(["a", "some text"], 8)
