"""What the machine is, said to Lightning: devices, precision, and the C library's allocator."""

import ctypes
import math
import os
import platform
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import torch

SHARED_MEMORY = Path("/dev/shm")  # Linux's
Precision = Literal["64-true", "32-true", "bf16-mixed", "16-mixed"]


def on_gpu(gpus: Sequence[int]) -> bool:
    """Whether a run uses CUDA: it was given GPUs, or there is one."""
    return bool(gpus) or torch.cuda.is_available()


def bf16_in_hardware(gpu: bool) -> bool:
    """Whether bf16 arithmetic has instructions of its own here; without them it is emulated."""
    if gpu:
        return torch.cuda.is_bf16_supported(including_emulation=False)
    try:
        with open("/proc/cpuinfo") as file:  # noqa: PTH123
            flags = next((line for line in file if line.startswith("flags")), "")
    except OSError:
        return False
    return "avx512_bf16" in flags or "amx_bf16" in flags


def precision(wanted: str, gpu: bool) -> Precision:
    """Lightning's name of `--precision`.

    `auto` is bf16 where the hardware computes it and 32 elsewhere. 16 on a CPU is bf16 autocast,
    since float16 has no arithmetic there.
    """
    if wanted == "64":
        return "64-true"
    if wanted == "32" or (wanted == "auto" and not bf16_in_hardware(gpu)):
        return "32-true"
    if wanted == "16" and gpu:
        return "16-mixed"
    if wanted == "16":
        warnings.warn("--precision 16 on a CPU: bf16 autocast", stacklevel=2)
    if not bf16_in_hardware(gpu):
        warnings.warn(
            f"--precision {wanted}: this processor emulates bf16, many times slower than "
            "--precision 32",
            stacklevel=2,
        )
    return "bf16-mixed"


def trainer_options(
    gpus: Sequence[int], devices: int, wanted: str, nodes: int = 1
) -> dict[str, Any]:
    """`accelerator`, `devices` and `num_nodes`, `precision` and `strategy` of a Trainer."""
    gpu = on_gpu(gpus)
    return {
        "accelerator": "gpu" if gpu else "cpu",
        "devices": list(gpus) or devices,
        "num_nodes": nodes,
        "precision": precision(wanted, gpu),
        "strategy": "ddp" if (len(gpus) or devices) * nodes > 1 else "auto",
    }


def own_device(options: dict[str, Any]) -> dict[str, Any]:
    """`accelerator`, `devices` and `precision` of a Trainer on this process's device alone."""
    device: Any = 1
    if options["accelerator"] == "gpu":
        local = int(os.environ.get("LOCAL_RANK", os.environ.get("SLURM_LOCALID", "0")))
        device = [options["devices"][local] if isinstance(options["devices"], list) else local]
    return {k: options[k] for k in ("accelerator", "precision")} | {"devices": device}


def torch_device(options: dict[str, Any]) -> torch.device:
    """This process's device, by the options of a Trainer."""
    own = own_device(options)
    return (
        torch.device("cuda", *own["devices"])
        if own["accelerator"] == "gpu"
        else torch.device("cpu")
    )


def check_shared_memory(needed: int) -> None:
    """Check that there is room for what worker processes hand over; without it a signal ends them.

    Args:
        needed: bytes, of all processes of this machine.

    Raises:
        ValueError: there is not, as in a container with the 64 MB that Docker gives it.
    """
    try:
        found = os.statvfs(SHARED_MEMORY)
    except OSError:  # of a system that keeps it elsewhere
        return
    free = found.f_bavail * found.f_frsize
    if needed > free:
        raise ValueError(
            f"--num_workers: worker processes hold up to {needed / 2**20:,.0f} MB of views in "
            f"{SHARED_MEMORY}, and {free / 2**20:,.0f} MB are free; docker run --shm-size "
            f"{math.ceil(needed / 2**30)}g gives a container more, fewer --num_workers need less, "
            "and --num_workers 0 needs none"
        )


def keep_memory() -> None:
    """Let glibc keep what training frees instead of giving it back and faulting it in each step.

    A step of ResNet-18 on two CPU cores is 1.2 to 1.4 times faster with it; `bash_files/` and this
    call set the same thing, once by environment and once for whoever starts Python directly.
    """
    if platform.libc_ver()[0] != "glibc" or sys.platform != "linux":
        return
    mallopt = ctypes.CDLL("libc.so.6").mallopt
    trim_threshold, top_pad, mmap_max = -1, -2, -4  # malloc.h
    for name, number, value in (
        ("MALLOC_TRIM_THRESHOLD_", trim_threshold, 2**30),
        ("MALLOC_TOP_PAD_", top_pad, 2**26),
        ("MALLOC_MMAP_MAX_", mmap_max, 0),
    ):
        if name not in os.environ:
            mallopt(number, value)
