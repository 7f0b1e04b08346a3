"""Two machines, as far as the network knows: namespaces joined by a cable, torchrun across them."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.end_to_end.conftest import DIGITS
from tests.end_to_end.test_devices import REPOSITORY, same_run

HOSTS = {"cl-left": "192.0.2.1", "cl-right": "192.0.2.2"}  # addresses reserved for examples


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, timeout=20)


def unplug() -> None:
    for host in HOSTS:
        subprocess.run(["ip", "netns", "delete", host], capture_output=True, check=False)


@pytest.fixture
def hosts() -> Iterator[dict[str, str]]:
    """Two network namespaces that see nothing but each other."""
    unplug()  # what a killed test left behind
    try:
        for host in HOSTS:
            ip("netns", "add", host)
        ip("link", "add", "cl-l", "netns", "cl-left", "type", "veth", "peer", "cl-r")
        ip("link", "set", "cl-r", "netns", "cl-right")
        for (host, address), end in zip(HOSTS.items(), ("cl-l", "cl-r"), strict=True):
            ip("-n", host, "address", "add", f"{address}/24", "dev", end)
            ip("-n", host, "link", "set", end, "up")
            ip("-n", host, "link", "set", "lo", "up")
    except (OSError, subprocess.CalledProcessError) as error:
        unplug()
        pytest.skip(f"network namespaces need root and the command ip: {error}")
    yield HOSTS
    unplug()


def start(command: list[str]) -> subprocess.Popen[str]:
    pipe, one_thread = subprocess.PIPE, os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, env=one_thread)


@pytest.mark.slow
def test_torchrun_across_two_hosts(hosts: dict[str, str], tmp_path: Path) -> None:
    """The run of one process, number for number, from two that meet over the cable."""
    words = [*DIGITS, "--no-baseline", "--log_every_n_steps", "1", "--output", str(tmp_path)]
    words += ["--wandb", "off"]
    words[words.index("--precision") + 1] = "64"
    program = [str(REPOSITORY / "main_contrastive.py")]
    runs = []
    for rank, (host, cable) in enumerate(zip(hosts, ("cl-l", "cl-r"), strict=True)):
        torchrun = [sys.executable, "-m", "torch.distributed.run", "--nnodes", "2"]
        torchrun += ["--node-rank", str(rank), "--nproc-per-node", "1"]
        torchrun += ["--master-addr", hosts["cl-left"], "--master-port", "29500"]
        inside = ["ip", "netns", "exec", host, "env", f"GLOO_SOCKET_IFNAME={cable}"]
        of_two = [*words, "--global_batch_size", "128", "--run_id", "two"]
        runs.append(start([*inside, *torchrun, *program, *of_two]))
    alone = start([sys.executable, *program, *words, "--run_id", "one"])
    said = [run.communicate(timeout=240) for run in (*runs, alone)]
    assert [run.returncode for run in (*runs, alone)] == [0, 0, 0], said
    assert "2 processes, 2 nodes x 1, gloo" in said[0][0]
    assert "online probe" not in said[1][0]
    same_run(tmp_path / "one", tmp_path / "two")
