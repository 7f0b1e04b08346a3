"""SVHN: 99,289 house numbers of 32 x 32 pixels, a digit each."""

from dataclasses import replace

from cl.data.sets._source import Source, Where
from cl.data.sets._torchvision import read_torchvision

ROW = {
    "help": "99,289 house numbers, 10 classes",
    "order": 2,
    "size": 32,
    "mean": (0.4377, 0.4438, 0.4728),
    "std": (0.198, 0.201, 0.197),
    # As CIFAR's; the mirror image of a digit is none.
    "recipe": {"crop_scale": (0.2, 1.0), "blur": 0.0, "flip": 0.0},
    "download": True,
}


def read(name: str, where: Where) -> Source:
    """Torchvision's folder; the numbers of the classes are what is seen, so that they are names."""
    return replace(read_torchvision(name, "SVHN", where), named=True)
