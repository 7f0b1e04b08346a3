"""Who started the processes: the settings follow torchrun and SLURM, or are refused."""

from typing import Any

import pytest

from cl.config import ConfigError, check_environment, parse_pretrain
from cl.config.launcher import Started, started

TORCHRUN = {"TORCHELASTIC_RUN_ID": "x", "WORLD_SIZE": "6", "LOCAL_WORLD_SIZE": "3"}
TASKS = {"SLURM_PROCID": "0", "SLURM_NNODES": "2", "SLURM_NTASKS": "8"}
SLURM = TASKS | {"SLURM_NTASKS_PER_NODE": "4"}
WORDS = ["digits", "resnet6_w8"]


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*TORCHRUN, *SLURM, "SLURM_JOB_NAME"):
        monkeypatch.delenv(name, raising=False)


def environment(monkeypatch: pytest.MonkeyPatch, values: dict[str, str]) -> None:
    for name, value in values.items():
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize(
    ("values", "found"),
    [
        ({}, None),
        (TORCHRUN, Started("torchrun", 2, 3)),
        ({"TORCHELASTIC_RUN_ID": "x"}, Started("torchrun", 1, 1)),
        (SLURM, Started("SLURM", 2, 4)),
        (SLURM | {"SLURM_JOB_NAME": "bash"}, None),
        ({"SLURM_NTASKS": "8"}, None),  # an allocation without srun
        (TORCHRUN | SLURM, Started("torchrun", 2, 3)),  # torchrun inside of a job
    ],
)
def test_started(
    values: dict[str, str], found: Started | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment(monkeypatch, values)
    assert started() == found


@pytest.mark.parametrize("values", [TORCHRUN, SLURM])
def test_the_settings_follow_the_launcher(
    values: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    environment(monkeypatch, values)
    config = parse_pretrain([*WORDS, "--batch_size", "10"])
    _, nodes, per_node = started() or Started("", 0, 0)
    assert (config.nodes, config.devices_per_node) == (nodes, per_node)
    assert (config.processes, config.global_batch()) == (nodes * per_node, 10 * nodes * per_node)
    check_environment(config)


@pytest.mark.parametrize(
    ("line", "values", "message"),
    [
        ("--num_nodes 2", {}, "--num_nodes 2 needs torchrun or SLURM to start this program"),
        ("--num_nodes 3", TORCHRUN, "--num_nodes must be the 2 that torchrun started, not 3."),
        (
            "--devices 2",
            TORCHRUN,
            "--devices must fit the 3 processes that torchrun started on a node",
        ),
        ("", TASKS, "srun's --ntasks does not say where .*; give --ntasks-per-node 4"),
        (
            "--devices 8",
            SLURM,
            "--devices must fit the 4 processes that SLURM started on a node, not 8.",
        ),
        (
            "--gpus 0 1",
            SLURM,
            "--gpus must fit the 4 processes that SLURM started on a node, not 0 1.",
        ),
    ],
)
def test_other_processes_than_started_are_refused(
    line: str, values: dict[str, str], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment(monkeypatch, values)
    monkeypatch.setattr("cl.config.check.gpus_here", lambda: 8)
    with pytest.raises(ConfigError, match=message):
        check_environment(parse_pretrain([*WORDS, *line.split()]))
