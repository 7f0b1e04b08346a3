"""Any classification data set of torchvision, by its class: torchvision:FashionMNIST."""

from cl.data.sets._source import Source, Where
from cl.data.sets._torchvision import read_torchvision

ROW = {
    "help": "a class of torchvision.datasets",
    "order": 90,
    "argument": "NAME",
    "sizes": {
        "USPS": 16,
        "SEMEION": 16,
        "MNIST": 28,
        "FashionMNIST": 28,
        "KMNIST": 28,
        "QMNIST": 28,
        "CIFAR10": 32,
        "CIFAR100": 32,
        "SVHN": 32,
        "FER2013": 48,
        "EuroSAT": 64,
        "STL10": 96,
    },
    "download": True,
}


def read(name: str, where: Where) -> Source:
    """Where torchvision expects it."""
    return read_torchvision(name, name.partition(":")[2], where)
