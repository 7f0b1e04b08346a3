"""Options of devices, processes and precision."""

from dataclasses import dataclass
from typing import Literal

from cl.config.options._needs import WITH_IMAGES
from cl.config.schema import flag


@dataclass(frozen=True, kw_only=True)
class HardwareOptions:
    """Devices, processes and precision."""

    gpus: tuple[int, ...] = flag(
        "indices of the GPUs to use",
        (),
        low=0,
        shown="one GPU if there is one, else the CPU",
        common=True,
    )
    devices: int | None = flag(
        "processes on a node, each with a GPU or on the CPU",
        None,
        low=1,
        common=True,
        needs=("gpus", ((),)),
        shown="1, or what torchrun or SLURM start",
    )
    num_nodes: int | None = flag(
        "machines that train together; torchrun or SLURM start the processes on them",
        None,
        low=1,
        shown="1, or those of torchrun or SLURM",
    )
    timeout: float = flag(
        "minutes that processes wait for one that is silent; then all end, and it is named",
        10.0,
        above=0,
        high=525600,  # a year
        metavar="MINUTES",
    )
    precision: Literal["auto", "16", "bf16", "32", "64"] = flag(
        "floating-point precision: auto is bf16 where the hardware supports it and 32 elsewhere; "
        "16 scales the gradients and needs a GPU; 64 is for tests of exactness",
        "auto",
        common=True,
    )
    channels_last: bool = flag(
        "lay images out with their channels last, which convolutions prefer",
        True,
        needs=WITH_IMAGES,
    )
