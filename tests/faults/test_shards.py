"""Loaders of one's own that give the processes unlike numbers of batches: a sentence, no wait."""

import os
import sys
from pathlib import Path

import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

import cl
from cl.compare.warm import CONTEXT
from tests.distributed.exactness import free_port
from tests.faults.processes import environment


def pretrain(rank: int, port: int, place: Path) -> None:
    os.environ.update(environment(rank, 2), MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    sys.stdout = sys.stderr = (place / f"{rank}.log").open("w")
    images = torch.rand(24, 3, 16, 16)
    data = TensorDataset(images, images, torch.arange(24) % 3)
    loader = DataLoader(data, batch_size=4, sampler=range(rank, 24 - 4 * rank))
    words = {"epochs": 1, "precision": "32", "wandb": "off", "baseline": False, "report": False}
    words |= {"output": str(place), "run_id": "run", "timeout": 1, "hidden_mlp": 16}
    try:
        cl.pretrain("resnet6_w4", loader, **words)
    except ValueError as error:
        print(error, flush=True)  # noqa: T201
        os._exit(2)


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_unlike_numbers_of_batches_are_refused(tmp_path: Path) -> None:
    port = free_port()
    ranks = [CONTEXT.Process(target=pretrain, args=(r, port, tmp_path)) for r in range(2)]
    for process in ranks:
        process.start()
    for process in ranks:
        process.join(60)
    said = [(tmp_path / f"{rank}.log").read_text() for rank in range(2)]
    assert [process.exitcode for process in ranks] == [2, 2], said
    assert all("have 6, 5 batches an epoch" in each for each in said), said
