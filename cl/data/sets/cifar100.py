"""CIFAR-100: 60,000 photographs of 32 x 32 pixels in 100 classes; the test part validates."""

from cl.data.sets._cifar import read_cifar as read

__all__ = ["ROW", "read"]

ROW = {
    "help": "60,000 photographs, 100 classes",
    "order": 1,
    "size": 32,
    "mean": (0.5071, 0.4865, 0.4409),
    "std": (0.2673, 0.2564, 0.2762),
    # No blur (SimCLR, B.9), crops from a fifth of the area (solo-learn's recipes).
    "recipe": {"crop_scale": (0.2, 1.0), "blur": 0.0},
    "download": True,
}
