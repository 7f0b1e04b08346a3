"""Two machines, as far as the network knows: namespaces joined by a cable, torchrun across them."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.end_to_end.conftest import DIGITS
from tests.end_to_end.test_devices import REPOSITORY, same_run

PROGRAM = str(REPOSITORY / "main_contrastive.py")
HOSTS = {"cl-left": "192.0.2.1", "cl-right": "192.0.2.2"}  # addresses reserved for examples
WORDS = [*DIGITS, "--no-baseline", "--log_every_n_steps", "1", "--wandb", "off"]
WORDS += ["--global_batch_size", "128"]
WORDS[WORDS.index("--precision") + 1] = "64"


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, timeout=20)


def unplug() -> None:
    """End what runs on the hosts, and the hosts."""
    for host in HOSTS:
        inside = subprocess.run(["ip", "netns", "pids", host], capture_output=True, text=True)
        for process in inside.stdout.split():
            os.kill(int(process), signal.SIGKILL)
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


def start(command: list[str], **more: str) -> subprocess.Popen[str]:
    pipe, environment = subprocess.PIPE, os.environ | {"OMP_NUM_THREADS": "1"} | more
    return subprocess.Popen(
        command, stdout=pipe, stderr=pipe, text=True, env=environment, cwd=REPOSITORY
    )


def on(host: str, *words: str) -> list[str]:
    """A Python command on a host, which is called by its name."""
    named = ["unshare", "--uts", "sh", "-c", f'hostname {host} && exec "$@"', "sh"]
    return ["ip", "netns", "exec", host, *named, sys.executable, *words]


def torchrun(host: str, words: list[str], **more: str) -> subprocess.Popen[str]:
    """Start one process on a host, to meet the other host's."""
    line = ["-m", "torch.distributed.run", "--nnodes", "2", "--nproc-per-node", "1"]
    line += ["--node-rank", str([*HOSTS].index(host)), "--master-addr", HOSTS["cl-left"]]
    line += ["--master-port", "29500", *words]
    return start(on(host, *line), GLOO_SOCKET_IFNAME=f"cl-{host[3]}", **more)


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run of one process."""
    place = tmp_path_factory.mktemp("alone")
    run = start([sys.executable, PROGRAM, *WORDS, "--output", str(place), "--run_id", "one"])
    said = run.communicate(timeout=120)
    assert run.returncode == 0, said
    return place / "one"


@pytest.mark.slow
def test_torchrun_across_two_hosts(hosts: dict[str, str], alone: Path, tmp_path: Path) -> None:
    """The run of one process, number for number, from two that meet over the cable."""
    words = [PROGRAM, *WORDS, "--output", str(tmp_path), "--run_id", "two"]
    runs = [torchrun(host, words) for host in hosts]
    said = [run.communicate(timeout=240) for run in runs]
    assert [run.returncode for run in runs] == [0, 0], said
    assert "2 processes, 2 nodes x 1, gloo" in said[0][0]
    assert "online probe" not in said[1][0]
    same_run(alone, tmp_path / "two")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("rank", "fault", "left"),
    [
        (0, "ip netns pids cl-right | xargs kill -9", ["cl-left"]),
        (1, "ip netns pids cl-left | xargs kill -9", ["cl-right"]),
        (0, "ip -n cl-left link set cl-l down", ["cl-left", "cl-right"]),
    ],
)
def test_a_host_is_lost_and_the_other_goes_on(
    rank: int, fault: str, left: list[str], hosts: dict[str, str], alone: Path, tmp_path: Path
) -> None:
    """What is left ends within the timeout and 30 seconds, says whom it lost, and goes on alone."""
    words = [*WORDS, "--output", str(tmp_path), "--run_id", "two", "--timeout", "0.5"]
    words += ["--checkpoint_every", "5", "--checkpoint_unit", "steps"]
    broken = ["-m", "tests.faults.broken_once", "9", str(rank), str(tmp_path / "mark"), *words]
    runs = {host: torchrun(host, broken, BREAK=fault) for host in hosts}
    wait_for(tmp_path / "mark", 60)
    for host in left:
        _, said = runs[host].communicate(timeout=90)
        assert runs[host].returncode == 1, said
        (lost,) = hosts.keys() - {host}
        assert f"process {[*hosts].index(lost)} of 2 on {lost} has " in said
        assert "go on with: " in said
    for host in hosts.keys() - {*left}:
        runs[host].communicate(timeout=10)
        assert runs[host].returncode == -9
    more = [] if "cl-left" in left else ["--take_over"]  # the process that wrote the run has gone
    again = start(on(left[0], PROGRAM, *words, "--auto_resume", *more))
    said = again.communicate(timeout=120)
    assert again.returncode == 0, said
    assert "going on with " in said[0]
    same_run(alone, tmp_path / "two")


def wait_for(file: Path, seconds: float) -> None:
    until = time.monotonic() + seconds
    while not file.exists():
        assert time.monotonic() < until
        time.sleep(0.1)
