"""Food-101: 101,000 photographs of up to 512 pixels in 101 classes."""

from cl.data.sets._source import Source, Where
from cl.data.sets._torchvision import read_torchvision

ROW = {
    "help": "101,000 photographs, 101 classes",
    "order": 3,
    "download": True,
}


def read(name: str, where: Where) -> Source:
    """Torchvision's folder."""
    return read_torchvision(name, "Food101", where)
