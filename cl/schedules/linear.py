"""A straight line."""


def linear(done: float) -> float:
    """From 1 at the start to 0 at the end, and 0 from there on."""
    return 1 - min(done, 1.0)
