"""CIFAR-10: 60,000 photographs of 32 x 32 pixels in 10 classes; the test part validates."""

from cl.data.sets._cifar import read_cifar as read

__all__ = ["ROW", "read"]

ROW = {
    "help": "60,000 photographs, 10 classes",
    "order": 1,
    "size": 32,
    "mean": (0.4914, 0.4822, 0.4465),
    "std": (0.247, 0.2435, 0.2616),
    # No blur (SimCLR, B.9), crops from a fifth of the area (solo-learn's recipes).
    "recipe": {"crop_scale": (0.2, 1.0), "blur": 0.0},
    "download": True,
}
