"""Samples of texts: pairs of a corpus, images with captions, and their sums."""

from dataclasses import replace

import numpy as np

from cl.data.sets import Captioned, Images, TextPairs
from cl.data.sets._sums import data_checksum


def made_pairs(grades=None):
    return TextPairs(
        ["what barks", "what purrs", "who purrs"],
        ["a dog", "a cat", "a fish"],
        np.array([0, 1, 1]),
        [np.array([2]), np.array([0, 2]), np.array([], np.int64)],
        grades,
    )


def test_a_subset_of_pairs_keeps_the_corpus_and_the_judgments_of_its_queries():
    grades = np.array([[0, 0, 2], [1, 1, 1], [1, 2, 0], [2, 1, 1]])
    part = made_pairs(grades).subset(np.array([2, 1]))
    assert part.queries == ["who purrs", "what purrs"]
    assert len(part.documents) == 3
    assert part.labels.tolist() == [1, 1]
    assert [each.tolist() for each in part.negatives] == [[], [0, 2]]
    assert part.judgments.tolist() == [[1, 1, 1], [1, 2, 0], [0, 1, 1]]


def test_without_grades_each_query_has_its_own_document():
    assert made_pairs().judgments.tolist() == [[0, 0, 1], [1, 1, 1], [2, 1, 1]]


def test_captions_are_queries_for_their_image():
    pixels = np.arange(2 * 4 * 4 * 3, dtype=np.uint8).reshape(2, 4, 4, 3)
    both = Captioned(Images(np.full(2, -1), pixels), [["a dog", "barking"], ["a cat"]])
    assert both.texts == ["a dog", "barking", "a cat"]
    assert both.judgments.tolist() == [[0, 0, 1], [1, 0, 1], [2, 1, 1]]
    part = both.subset(np.array([1]))
    assert part.texts == ["a cat"]
    assert (part.images.pixel(0) == pixels[1]).all()


def test_every_change_changes_the_sum():
    pairs = made_pairs()
    others = [
        replace(pairs, queries=["what bark", "swhat purrs", "who purrs"]),
        replace(pairs, documents=["a dog", "a cat", "a fox"]),
        replace(pairs, positive=np.array([0, 1, 0])),
        replace(pairs, negatives=[np.array([2, 0]), np.array([2]), np.array([], np.int64)]),
        replace(pairs, negatives=()),
        replace(pairs, grades=np.array([[0, 0, 2], [1, 1, 1], [2, 1, 1]])),
    ]
    sums = {data_checksum(each) for each in [pairs, *others]}
    assert len(sums) == 7
    assert data_checksum(made_pairs()) == data_checksum(pairs)
    images = Images(np.full(2, -1), np.zeros((2, 4, 4, 3), np.uint8))
    captions = [[["a", "b"], ["c"]], [["a"], ["b", "c"]], [["a", "b"], ["d"]]]
    assert len({data_checksum(Captioned(images, each)) for each in captions}) == 3
