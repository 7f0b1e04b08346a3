"""Versions, the card, and its measured ceilings: matrix products and copies."""

import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from benchmarks.gpu.part import given, milliseconds

PACKAGES = "torch torchvision timm pytorch-lightning numpy numba lightly wandb".split()
OPTIONAL = "simplejpeg beartype nvidia-dali-cuda130".split()


def version_of(package: str) -> str:
    try:
        return f"{package} {version(package)}"
    except PackageNotFoundError:
        return f"no {package}"


def driver() -> str:
    """The driver's version, as nvidia-smi says it."""
    asked = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        return subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{names[0] if names else platform.machine()}, {os.cpu_count()} cores"


def product(size: int, dtype: torch.dtype, device: torch.device, seconds: float) -> float:
    """TFLOP/s of a square matrix product of random numbers."""
    a, b = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
    out = torch.empty_like(a)
    return 2 * size**3 / milliseconds(lambda: torch.mm(a, b, out=out), device, seconds) / 1e9


def main() -> None:
    g = given()
    table = g.table("machine, and its ceilings as measured here", "what", "value")
    table.row("Python", platform.python_version())
    table.row("packages", ", ".join(map(version_of, PACKAGES)))
    table.row("optional", ", ".join(map(version_of, OPTIONAL)))
    table.row("processor", processor())
    if not g.rehearse:
        card = torch.cuda.get_device_properties(0)
        table.row("card", f"{card.name}, {card.total_memory / 2**30:.0f} GiB")
        table.row("CUDA, driver", f"{torch.version.cuda}, {driver()}")
    size, seconds = (512, 0.1) if g.rehearse else (8192, 1.0)
    for name, dtype, tf32 in (
        ("bf16", torch.bfloat16, False),
        ("float32", torch.float32, False),
        ("float32 by TF32", torch.float32, True),
    ):
        torch.set_float32_matmul_precision("high" if tf32 else "highest")
        speed = product(size, dtype, g.device, seconds)
        table.row(f"matrix product {size}, {name}", f"{speed:.1f} TFLOP/s")
        table.value(name, speed)
    of = torch.randn(2**20 if g.rehearse else 2**30, device=g.device)
    to = torch.empty_like(of)
    taken = milliseconds(lambda: to.copy_(of), g.device, seconds)
    table.row("copy, bytes read and written", f"{2 * of.nbytes / taken / 1e6:,.0f} GB/s")


if __name__ == "__main__":
    main()
