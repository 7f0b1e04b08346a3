"""No change."""


def none() -> float:
    """1 at every step."""
    return 1.0
