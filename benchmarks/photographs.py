"""Photographs that come with the packages, as the JPEGs that loaders read."""

import os
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_sample_images

HEIGHT, WIDTH = 375, 500  # ImageNet's usual ones


def photographs(count: int) -> list[Path]:
    """JPEGs in a temporary folder, cut from the two photographs that scikit-learn has."""
    folder = Path(tempfile.gettempdir()) / f"cl-photographs-{os.getuid()}"
    folder.mkdir(exist_ok=True)
    paths = [folder / f"{i}.jpg" for i in range(count)]
    if not all(path.exists() for path in paths):
        whole, rng = load_sample_images()["images"], np.random.default_rng(0)
        for i, path in enumerate(paths):
            image = whole[i % len(whole)]
            top, left = (
                int(rng.integers(0, image.shape[k] - s)) for k, s in enumerate((HEIGHT, WIDTH))
            )
            Image.fromarray(image[top : top + HEIGHT, left : left + WIDTH]).save(path, quality=90)
    return paths
