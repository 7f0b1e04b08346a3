"""What moves while training, drawn before the run: a line of blocks each, and a picture."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from PIL import Image, ImageDraw

Curves = Mapping[str, Sequence[float]]
BLOCKS, ASCII = "▁▂▃▄▅▆▇█", "_.:-=+*#"  # the least value first
WIDTH, HEIGHT, EDGE = 640, 120, 24  # of a curve in the picture, pixels


def lines(curves: Curves, columns: int = 60, blocks: str = BLOCKS) -> str:
    """A row for each curve: its name, first, least, greatest and last value, and its shape.

    >>> print(lines({"lr": [0, 0.5, 1]}, columns=3))
    lr  0 to 1, ends at 1  ▁▅█
    """
    names = max(map(len, curves))
    rows = []
    for name, values in curves.items():
        low, high = min(values), max(values)
        seen = [values[round(i * (len(values) - 1) / max(1, columns - 1))] for i in range(columns)]
        shape = "".join(blocks[round((v - low) / (high - low or 1) * 7)] for v in seen)
        rows.append(f"{name:{names}}  {low:g} to {high:g}, ends at {values[-1]:g}  {shape}")
    return "\n".join(rows)


def picture(curves: Curves) -> Image.Image:
    """The curves one below the other, each over the whole run and from its least value up."""
    image = Image.new("RGB", (WIDTH + 2 * EDGE, len(curves) * (HEIGHT + 2 * EDGE)), "white")
    draw = ImageDraw.Draw(image)
    for i, (name, values) in enumerate(curves.items()):
        top = i * (HEIGHT + 2 * EDGE) + EDGE
        low, high = min(values), max(values)
        across = WIDTH / max(1, len(values) - 1)
        points = [
            (EDGE + at * across, top + HEIGHT * (1 - (v - low) / (high - low or 1)))
            for at, v in enumerate(values)
        ]
        draw.rectangle((EDGE, top, EDGE + WIDTH, top + HEIGHT), outline="lightgray")
        draw.line([*points, points[-1]], fill="black", width=2)
        draw.text((EDGE, top - 16), f"{name}: {low:g} to {high:g}, {len(values)} steps", "black")
    return image


def write(curves: Curves, path: Path) -> None:
    """Write the picture as the kind of file its name says.

    Raises:
        ValueError: no such folder, or no such kind.
    """
    try:
        picture(curves).save(path)
    except (OSError, ValueError) as error:
        raise ValueError(f"--dry_run {path}: cannot be written: {error}") from None
