"""STL-10: 113,000 photographs of 96 x 96 pixels in 10 classes, 100,000 of them unlabeled."""

from cl.data.sets._source import Source, Where
from cl.data.sets._torchvision import read_torchvision

ROW = {
    "help": "113,000 photographs, 100,000 of them without a label, 10 classes",
    "order": 2,
    "size": 96,
    "mean": (0.4467, 0.4398, 0.4066),
    "std": (0.2603, 0.2566, 0.2713),
    "download": True,
}


def read(name: str, where: Where) -> Source:
    """Torchvision's folder."""
    return read_torchvision(name, "STL10", where)
