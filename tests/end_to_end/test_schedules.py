"""What moves while training stands in the run's metrics and in its checkpoint."""

from collections.abc import Callable
from pathlib import Path

import torch

from cl.metrics import read_metrics


def test_a_run_logs_what_moves(pretrain: Callable[..., Path], digits: list[str]) -> None:
    words = [
        *digits,
        "--no-baseline",
        "--method",
        "sigmoid",
        "--temperature",
        "0.2",
        "--bias",
        "-5",
    ]
    words += ["--gamma", "1", "--gamma_steps", "20", "--log_every_n_steps", "1"]
    run = pretrain(*words, "--ema_beta", "0.9")
    rows = read_metrics(run / "metrics.csv")
    gamma = [float(r["schedule/gamma"]) for r in rows]
    beta = [float(r["schedule/ema_beta"]) for r in rows]
    assert gamma == sorted(gamma, reverse=True)
    assert (gamma[0], gamma[-2]) == (1.0, 0.0)
    assert beta == sorted(beta)
    assert beta[0] == 0.9
    temperatures = {r["learned/temperature"] for r in rows}
    assert len(temperatures) > 10
    state = torch.load(run / "last.ckpt", weights_only=True)["state_dict"]
    assert any(k.startswith("teacher.module.0.") for k in state)
