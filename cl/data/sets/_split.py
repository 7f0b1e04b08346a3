"""What is held out for validation, and a share of the training images."""

import numpy as np

from cl.data.sets._images import Images

HOLD_OUT = 0.1  # of every class, where a data set has no validation part
HELD_OUT = "a tenth of every class is held out"


def split(images: Images, share: float) -> tuple[Images, Images]:
    """A part of every class apart, always the same one; a class of one image stays in the first."""
    rng, chosen = np.random.default_rng(0), [np.empty(0, np.int64)]
    for c in np.unique(images.labels[images.labels >= 0]):
        of = np.flatnonzero(images.labels == c)
        number = min(len(of) - 1, max(1, round(share * len(of))))
        chosen.append(rng.permutation(of)[:number])
    held = np.sort(np.concatenate(chosen))
    kept = np.setdiff1d(np.arange(len(images)), held)
    return images.subset(kept), images.subset(held)


def fraction(images: Images, share: float) -> Images:
    """A share of the images up to 1, or so many; every class, and what has no label, in proportion.

    Of a class of n images the k-th in a fixed order stands at k / n, and the first in the order of
    all are taken: each class has its share rounded up, but for ties at the end, and a smaller
    fraction lies inside of a larger one.

    Raises:
        ValueError: more than there are.
    """
    total = len(images)
    number = max(1, round(share * total)) if share <= 1 else int(share)
    if number > total:
        raise ValueError(f"--data_fraction {number}: there are {total} training images")
    rng, place = np.random.default_rng(0), np.empty(total)
    for c in np.unique(images.labels):
        of = np.flatnonzero(images.labels == c)
        place[rng.permutation(of)] = np.arange(len(of)) / len(of)
    order = np.lexsort((rng.permutation(total), place))
    return images.subset(np.sort(order[:number]))
