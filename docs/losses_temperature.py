"""Draws docs/losses_temperature.png: what the temperature does to a loss and to its gradient."""

from pathlib import Path

import matplotlib as mpl
import torch
import torch.nn.functional as F

mpl.use("Agg")
from matplotlib import pyplot as plt

from cl.losses import get_loss

NAMES = ("nt_xent", "info_nce", "dcl_symmetric", "dhel", "sigmoid", "hcl")
SAMPLES, DIM, AGREEMENT = 256, 64, 0.8


def views() -> torch.Tensor:
    """Two views of samples at random on the sphere, at a cosine of about `AGREEMENT`."""
    generator = torch.Generator().manual_seed(0)
    center, *noise = F.normalize(torch.randn(3, SAMPLES, DIM, generator=generator), dim=2).double()
    spread = (1 / AGREEMENT - 1) ** 0.5
    return F.normalize(torch.stack([center + spread * n for n in noise]), dim=2)


def main() -> None:
    z = views().requires_grad_()
    temperatures = torch.logspace(-2, 1, 40).tolist()
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    for name in NAMES:
        values, norms = [], []
        for temperature in temperatures:
            loss = get_loss(name)(z, temperature=temperature)
            (gradient,) = torch.autograd.grad(loss, z)
            values.append(loss.item() * temperature)
            norms.append(gradient.norm().item() * temperature)
        left.plot(temperatures, values, label=name)
        right.plot(temperatures, norms, label=name)
    left.set(xscale="log", xlabel="temperature", ylabel="loss x T", ylim=(-1, 4))
    right.set(xscale="log", xlabel="temperature", ylabel="norm of the gradient x T")
    right.set(yscale="log", ylim=(1e-3, 3))
    right.legend()
    figure.savefig(Path(__file__).with_suffix(".png"), dpi=80)


if __name__ == "__main__":
    main()
