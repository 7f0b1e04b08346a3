"""Half a cosine (Loshchilov and Hutter 2017, https://arxiv.org/abs/1608.03983, eq. 5)."""

import math


def cosine(done: float) -> float:
    """From 1 at the start to 0 at the end, and 0 from there on."""
    return (1 + math.cos(math.pi * min(done, 1.0))) / 2
