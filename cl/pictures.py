"""Pictures of what a run will do: its schedules, and views of some samples."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Float, UInt8
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from cl.data.augment.recipe import Recipe
from cl.data.batch import Batch
from cl.data.image_text_data import ImageTextData
from cl.data.module import ContrastiveData
from cl.terminal import escape_controls

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Curves = Mapping[str, Sequence[float]]
ROWS, GAP = 8, 4  # samples in the picture of views; pixels between them
MAGNIFIED = 96  # px: smaller views are shown larger, by a whole number
LINE, INK = 16, 12  # px of a line of text, and of its letters


def draw_curves(curves: Curves, per_epoch: int) -> "Figure":
    """The curves one below the other, over steps and epochs.

    Args:
        curves: one at least; a value for each step.
        per_epoch: steps of an epoch.
    """
    from matplotlib.figure import Figure  # a second, and only for who asks for the picture

    figure = Figure(figsize=(7, 0.6 + 1.9 * len(curves)), layout="constrained")
    places = figure.subplots(len(curves), sharex=True, squeeze=False)[:, 0]
    for axes, (name, values) in zip(places, curves.items(), strict=True):
        axes.plot(range(len(values)), values, lw=1.5)
        axes.set_ylabel(name)
        axes.grid(alpha=0.3)
        text = f"{min(values):.4g} to {max(values):.4g}, ends at {values[-1]:.4g}"
        axes.set_title(text, fontsize="small", loc="right")
    places[-1].set_xlabel("step")
    above = places[0].secondary_xaxis(
        "top", functions=(lambda x: x / per_epoch, lambda x: x * per_epoch)
    )
    above.set_xlabel("epoch")
    return figure


def plot_views(data: Any, path: Path) -> None:
    """Draw some samples and their views, as the kind of file that the name says.

    Raises:
        ValueError: there is no such folder, or no such kind, or a DataLoader makes the views.
    """
    data = data.images if isinstance(data, ImageTextData) else data
    if not isinstance(data, ContrastiveData):
        raise ValueError("--show_views cannot be used with a DataLoader that makes the views")
    if data.recipes[0].channels != 3:
        raise ValueError("--show_views cannot be used with --channels other than 3")
    save(draw_views(data).save, f"--show_views {path}", path)


def draw_views(data: ContrastiveData) -> Image.Image:
    """A row for each of the first samples: the image as validation sees it, then all its views.

    Above a column stands which view it is, above a row the image's name and class.
    """
    loader = data.train_dataloader()
    loader.sampler.set_epoch(0)
    batch: Batch = next(iter(loader))
    index = batch.index.cpu().numpy()[:ROWS]
    (plain,) = islice(data.plain(data.source.train.subset(index)), 1)
    views = [plain.views[0], *(x[:, :ROWS] for x in batch.views)]
    side = max(x.shape[-1] for x in views)
    side *= -(-MAGNIFIED // side)
    columns = [tiles(of_one, data.recipes[0], side) for x in views for of_one in x]
    return contact_sheet(
        np.stack(columns), column_titles(data.recipes), list(captions(data, index))
    )


def column_titles(recipes: Sequence[Recipe]) -> list[str]:
    """What stands above the columns: which view, and its size where there are several."""
    sizes = [recipe.size for recipe in recipes for _ in range(recipe.views)]
    several = len({*sizes}) > 1
    return ["original", *(f"view {i}{f', {size} px' * several}" for i, size in enumerate(sizes, 1))]


def captions(data: ContrastiveData, index: np.ndarray) -> Iterator[str]:
    """What stands above the rows: an image's file, or its place, and its class if it has one."""
    images, classes = data.source.train, data.source.classes
    for at in index.tolist():
        name = f"image {at:,}" if images.files is None else images.files.name(at)
        label = int(images.labels[at])
        yield f"{name} ({classes[label]})" if 0 <= label < len(classes) else name


def contact_sheet(
    columns: UInt8[np.ndarray, "v n h w 3"], above: Sequence[str], rows: Sequence[str]
) -> Image.Image:
    """Tiles with a line of text above each column and each row."""
    views, n, height, width, _ = columns.shape
    image = Image.new("RGB", (views * width, LINE + n * (LINE + height)), "white")
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(INK)
    for v, title in enumerate(above):
        draw.text((v * width, 0), title, "gray", font)
    for i, caption in enumerate(rows):
        top = LINE + i * (LINE + height)
        draw.text((0, top), fit_end(caption, views * width, font), "black", font)
        for v in range(views):
            image.paste(Image.fromarray(columns[v, i]), (v * width, top + LINE))
    return image


def fit_end(text: str, width: int, font: Any) -> str:
    """As much of a text's end as fits, without escapes."""
    text = escape_controls(text)
    if font.getlength(text) <= width:
        return text
    start = next(i for i in range(len(text)) if font.getlength(f"...{text[i:]}") <= width)
    return f"...{text[start:]}"


def tiles(
    x: Float[Tensor, "n c h w"], recipe: Recipe, side: int
) -> UInt8[np.ndarray, "n cell cell 3"]:
    """One view of each sample as pixels again.

    Of more than three channels the first three are seen, of one or two the first as gray.
    """
    mean, std = (torch.tensor(t).view(-1, 1, 1) for t in (recipe.mean, recipe.std))
    pixels = ((x.cpu() * std + mean).clamp(0, 1) * 255).round().byte()
    pixels = pixels[:, :3] if pixels.shape[1] >= 3 else pixels[:, :1].expand(-1, 3, -1, -1)
    magnify = side // x.shape[-1]
    pixels = pixels.repeat_interleave(magnify, 2).repeat_interleave(magnify, 3)
    cell = side + GAP
    out = torch.full((len(x), 3, cell, cell), 255, dtype=torch.uint8)
    out[:, :, : pixels.shape[2], : pixels.shape[3]] = pixels
    return rearrange(out, "n c h w -> n h w c").numpy()


def save(write: Any, flag: str, path: Path) -> None:
    """Write a picture as the kind of file that its name says.

    Args:
        write: takes the path.
        flag: that named it, in words.
        path: the file.

    Raises:
        ValueError: there is no such folder, or no such kind.
    """
    try:
        write(path)
    except (OSError, ValueError) as error:
        raise ValueError(f"{flag} cannot be written: {error}") from None
