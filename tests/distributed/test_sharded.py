"""An encoder in parts on 2 and 3 processes: weights, gradients and states are those of DDP."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from cl import distributed
from cl.callbacks.finite import FiniteSteps
from cl.config import ConfigError, parse_pretrain
from cl.nets.encoders import create
from cl.nets.recompute import checkpoint_blocks, find_blocks
from cl.optim import Optimization, optimizer
from cl.sharded import average_gradient
from tests.distributed import exactness
from tests.distributed.exactness import Found
from tests.end_to_end.conftest import DIGITS, pretrain
from tests.end_to_end.test_devices import finished

__all__ = ["pretrain"]
STEPS = 3


def network() -> nn.Module:
    """A network in float64; the first dimensions of most weights are no multiples of 3."""
    torch.manual_seed(0)
    return create("resnet6_w8", 16, norm="group").double()


def pixels(sizes: list[int], rank: int) -> Tensor:
    g = torch.Generator().manual_seed(0)
    whole = torch.randn(sum(sizes), 3, 16, 16, generator=g, dtype=torch.float64)
    return whole.split(sizes)[rank]


def trained(sizes: list[int], rank: int) -> Found:
    """Weights and momenta after some steps in parts, with a head that is whole on each process.

    The blocks are computed a second time; the optimizer's states go through a whole copy.
    """
    encoder, head = network(), nn.Linear(32, 4).double()
    nn.init.ones_(head.weight)
    many = len(sizes) > 1
    if many:
        checkpoint_blocks(encoder)
        distributed.shard_parameters(encoder, find_blocks(encoder), torch.device("cpu"))
        for p in head.parameters():
            p.register_post_accumulate_grad_hook(average_gradient)
    parts = sum(distributed.own_part(p).numel() for p in encoder.parameters())
    module = nn.ModuleDict({"encoder": encoder, "head": head})
    opt, x = optimizer(module, Optimization(lr=0.003)), pixels(sizes, rank)
    for _ in range(STEPS):
        opt.zero_grad()
        z, rows = distributed.gather(head(encoder(x))[None])
        loss = (z[0, rows] @ z[0].T).logsumexp(dim=1).mean()
        loss = loss * distributed.loss_weight(torch.tensor(len(x)))
        loss.backward()
        opt.step()
    momenta = [opt.state[p]["momentum_buffer"] for p in encoder.parameters()]
    again = [distributed.sharded_like(distributed.unsharded(m), m) for m in momenta]
    same = all(
        torch.equal(distributed.own_part(a), distributed.own_part(b))
        for a, b in zip(again, momenta, strict=True)
    )
    values = [distributed.unsharded(t).detach() for t in (*module.parameters(), *momenta)]
    mean = distributed.all_reduce_sum(loss.detach()) / len(sizes)
    counts = torch.tensor([parts, sum(p.numel() for p in encoder.parameters()), same, many])
    return {
        "trained": [mean, *values],
        "counts": [counts],
        "seen": [poisoned(encoder)],
    }


def poisoned(encoder: nn.Module) -> Tensor:
    """For each process whether it sees a gradient that is not finite, before and after one is."""
    steps, parameters = FiniteSteps(0), [*encoder.parameters()]
    gradients = [p.grad for p in parameters if p.grad is not None]
    seen = [bool(steps.any_not_finite(gradients))]
    own = distributed.own_part(gradients[0]).view(-1)
    if distributed.rank() == 0:
        own[0] = torch.nan
    seen.append(bool(steps.any_not_finite(gradients)))
    return torch.tensor(distributed.gather_objects(seen))


@pytest.mark.parametrize(
    "sizes", [pytest.param([12, 12], marks=pytest.mark.slow), [1, 16, 7]], ids=["2", "3 uneven"]
)
def test_steps_are_those_of_one_process(sizes: list[int], tmp_path: Path) -> None:
    """All leave a step out whose gradient is not finite in the part of one."""
    one = trained([24], 0)
    many = exactness.computed(sizes, tmp_path / "found.pt", trained)
    assert max(exactness.error(many["trained"], one["trained"])) < 1e-10
    parts, whole, same, sharded = many["counts"][0].tolist()
    assert sharded
    assert same
    assert parts < 0.6 * whole
    assert many["seen"][0].tolist() == [[False, True]] * len(sizes)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["simclr", "simsiam"])
def test_a_run_is_that_of_ddp_and_goes_on_on_one_process(
    method: str, pretrain: Callable[..., Path], tmp_path: Path
) -> None:
    """Checkpoints, which have the optimizer's states, and the encoder's file; bit for bit."""
    words = [*DIGITS, "--method", method, "--no-report", "--wandb", "off", "--output", tmp_path]
    words[words.index("--precision") + 1] = "64"
    words[words.index("--batch_size") + 1] = "64"
    for name in ("ddp", "fsdp"):
        own = ["--devices", 2, "--max_steps", STEPS, "--strategy", name, "--run_id", name]
        finished("main_contrastive.py", *words, *own)
    runs = [tmp_path / name for name in ("ddp", "fsdp")]
    same_files(*runs)
    words[words.index("--batch_size") + 1] = "128"
    for run in runs:
        pretrain(*words, "--max_steps", STEPS + 2, "--resume_training_from", run)
    same_files(*runs)


def same_files(one: Path, other: Path) -> None:
    """What two runs have saved."""
    for read, name in ((torch.load, "last.ckpt"), (load_file, "encoder.safetensors")):
        found, expected = (flat(read(run / name)) for run in (other, one))
        assert found.keys() == expected.keys()
        for key, value in expected.items():
            torch.testing.assert_close(found[key], value, rtol=1e-10, atol=1e-10, msg=key)


def flat(content: dict[str, Any]) -> dict[str, Tensor]:
    """The tensors of weights and of optimizers, by their places."""
    if "state_dict" not in content:
        return content
    (saved,) = content["optimizer_states"]
    states = {f"{n} {k}": v for n, each in saved["state"].items() for k, v in each.items()}
    groups = {g["name"]: torch.tensor(g["params"]) for g in saved["param_groups"]}
    return content["state_dict"] | states | groups


def test_devices_are_needed_and_what_needs_a_whole_encoder_is_refused() -> None:
    for words, fault in (
        ("", "needs several processes"),
        ("--devices 2 --method byol", "cannot be used with --method byol"),
        ("--devices 2 --ema_encoder 0.9", "cannot be used with --ema_encoder"),
        ("--devices 2 --lars", "cannot be used with --optimizer lars"),
        ("--devices 2 --clip_grad_norm 1", "cannot be used with --clip_grad_norm"),
        ("--devices 2 --no-sync_batchnorm", "cannot be used with --no-sync_batchnorm"),
    ):
        with pytest.raises(ConfigError, match=f"--strategy fsdp {fault}"):
            parse_pretrain(["digits", "resnet6_w8", "--strategy", "fsdp", *words.split()])
