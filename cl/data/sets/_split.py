"""What is held out for validation, and a fraction of the training images."""

import numpy as np

from cl.data.sets._images import Images
from cl.data.sets._paths import Index
from cl.data.sets._texts import Samples

HOLD_OUT = 0.1  # of every class, where a data set has no validation part


def split_sentence(fraction: float, *, labeled: bool = True) -> str:
    """What a card says of a held-out part.

    >>> split_sentence(0.1), split_sentence(0.2, labeled=False)
    ('a tenth of every class is held out', '0.2 of the images is held out')
    """
    share = "a tenth" if fraction == HOLD_OUT else f"{fraction:g}"
    return f"{share} of {'every class' if labeled else 'the images'} is held out"


def split(images: Images, fraction: float) -> tuple[Images, Images]:
    """Hold out a fraction of every class, always the same images.

    Args:
        images: all of them.
        fraction: see `held_out_places`.

    Returns:
        The training images and the held-out ones, in their order.
    """
    held_out = held_out_places(images, fraction)
    return images.subset(np.setdiff1d(np.arange(len(images)), held_out)), images.subset(held_out)


def held_out_places(images: Images, fraction: float) -> Index:
    """The places of the images that `split` holds out, in their order.

    A class of one image is not divided. Images without a label stay in the first part, unless none
    has one: then they are divided as one class.

    Args:
        images: all of them.
        fraction: of every class, at least one image of it.
    """
    labels = images.labels if (images.labels >= 0).any() else np.zeros(len(images), np.int64)
    rng, chosen = np.random.default_rng(0), [np.empty(0, np.int64)]
    for members in members_of(labels, np.flatnonzero(labels >= 0)):
        number = min(len(members) - 1, max(1, round(fraction * len(members))))
        chosen.append(rng.permutation(members)[:number])
    return np.sort(np.concatenate(chosen))


def members_of(labels: Index, places: Index) -> list[Index]:
    """Some images class by class, in their order.

    >>> members_of(np.array([3, -1, 0, 3]), np.array([0, 2, 3]))
    [array([2]), array([0, 3])]
    """
    order = places[np.argsort(labels[places], kind="stable")]
    return np.split(order, 1 + np.flatnonzero(np.diff(labels[order])))


def take_fraction(images: Samples, amount: float) -> Samples:
    """A fraction of the images, stratified by class; images without a label count as a class.

    Other samples have no classes, and count as one.

    The k-th image of a class of n, in a fixed random order, ranks at k / n; the images of lowest
    rank are taken. So each class has its fraction rounded up, but for ties at the end, and a
    smaller fraction is a subset of a larger one.

    Args:
        images: all of them.
        amount: a fraction up to 1, or a number of images above it.

    Raises:
        ValueError: more than there are.
    """
    total = len(images)
    number = max(1, round(amount * total)) if amount <= 1 else int(amount)
    if number > total:
        nouns = "images" if isinstance(images, Images) else "pairs"
        raise ValueError(f"--data_fraction {number}: there are {total} training {nouns}")
    labels = images.labels if isinstance(images, Images) else np.zeros(total, np.int64)
    rng, rank = np.random.default_rng(0), np.empty(total)
    for members in members_of(labels, np.arange(total)):
        rank[rng.permutation(members)] = np.arange(len(members)) / len(members)
    order = np.lexsort((rng.permutation(total), rank))
    return images.subset(np.sort(order[:number]))
