"""A contact sheet: what a recipe makes of some samples, to be looked at before hours are spent."""

from itertools import islice
from pathlib import Path

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from cl.data.batch import Batch
from cl.data.module import ContrastiveData

ROWS, GAP = 8, 4  # samples; pixels between pictures
MAGNIFIED = 96  # px: smaller views are shown larger, by a whole number


def sheet(data: ContrastiveData) -> Image.Image:
    """A row for each of the first samples: the image as validation sees it, then all its views."""
    loader = data.train_dataloader()
    loader.sampler.set_epoch(0)
    batch: Batch = next(iter(loader))
    index = batch.index.numpy()[:ROWS]
    (plain,) = islice(data.plain(data.source.train.subset(index)), 1)
    views = [plain.views[0], *(x[:, :ROWS] for x in batch.views)]
    side = max(x.shape[-1] for x in views)
    side *= max(1, MAGNIFIED // side)
    columns = [tiles(of_one, data, side) for x in views for of_one in x]
    return Image.fromarray(np.concatenate(columns, axis=1))


def tiles(x: Float[Tensor, "n 3 h w"], data: ContrastiveData, side: int) -> np.ndarray:
    """One view of each sample, one below the other, as pixels again."""
    recipe = data.recipes[0]
    mean, std = (torch.tensor(t).view(3, 1, 1) for t in (recipe.mean, recipe.std))
    pixels = ((x.cpu() * std + mean).clamp(0, 1) * 255).round().byte()
    magnify = side // x.shape[-1]
    pixels = pixels.repeat_interleave(magnify, 2).repeat_interleave(magnify, 3)
    cell = side + GAP
    out = torch.full((len(x), 3, cell, cell), 255, dtype=torch.uint8)
    out[:, :, : pixels.shape[2], : pixels.shape[3]] = pixels
    return rearrange(out, "n c h w -> (n h) w c").numpy()


def write(data: ContrastiveData, path: Path) -> None:
    """Write the sheet as the kind of file its name says.

    Raises:
        ValueError: no such folder, or no such kind.
    """
    try:
        sheet(data).save(path)
    except (OSError, ValueError) as error:
        raise ValueError(f"--show_views {path}: cannot be written: {error}") from None
