"""Schedules against lightning-bolts' recursion, LARS against its paper, groups against a list."""

import math
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import timm
import torch
from timm.optim import param_groups_weight_decay
from timm.scheduler.cosine_lr import CosineLRScheduler
from torch import nn
from torch.utils.data import DataLoader, IterableDataset

from cl import optim
from cl.nets.texts import Bag
from cl.nets.towers import Towers
from cl.optim import (
    Optimization,
    build_optimizer,
    groups,
    lr_factor,
    optimizer,
    planned_steps,
    regroup,
)
from tests.trainers import QUIET_ON_CPU


def bolts_recursion(base: float, start: float, warm: int, total: int, steps: int) -> list[float]:
    """LinearWarmupCosineAnnealingLR in its chained form, as lightning-bolts computed it."""
    lr = [start if warm > 0 else base]
    for t in range(1, steps):
        if t < warm:
            lr.append(lr[-1] + (base - start) / (warm - 1))
        elif t == warm:
            lr.append(base)
        else:
            above = 1 + math.cos(math.pi * (t - warm) / (total - warm))
            below = 1 + math.cos(math.pi * (t - warm - 1) / (total - warm))
            lr.append(above / below * lr[-1])
    return lr


@pytest.mark.parametrize(("warm", "total"), [(10, 100), (2, 7), (1, 5), (0, 6), (3, 4)])
def test_warmup_cosine_is_bolts(warm: int, total: int) -> None:
    o = Optimization(lr=0.3, warmup_start_lr=0.003, warmup_epochs=warm)
    ours = [o.lr * lr_factor(o, t, total, 1) for t in range(total)]
    torch.testing.assert_close(
        torch.tensor(ours, dtype=torch.float64),
        torch.tensor(bolts_recursion(0.3, 0.003, warm, total, total), dtype=torch.float64),
        rtol=1e-12,
        atol=1e-15,
    )


@pytest.mark.parametrize("lr", [0.3, 4e-3, 1e-3, 5e-5])
@pytest.mark.parametrize("given", [None, 0.0, 0.1])
def test_a_warmup_rises(lr: float, given: float | None) -> None:
    """From 0.003 or a tenth; one that is given is at most the learning rate."""
    o = Optimization(lr=lr, warmup_start_lr=given)
    values = [lr * lr_factor(o, t, 40, 2) for t in range(20)]
    start = min(0.003, lr / 10) if given is None else min(given, lr)
    assert values[0] == pytest.approx(start)
    assert values == sorted(values)
    assert values[-1] == pytest.approx(lr)


def test_a_short_run_warms_up_for_a_tenth() -> None:
    values = [lr_factor(Optimization(), t, 40, 10) for t in range(40)]
    assert values[:4] == pytest.approx([0.01, 0.34, 0.67, 1.0])


def test_warmup_longer_than_the_run_still_ends() -> None:
    o = Optimization(warmup_epochs=10)
    values = [lr_factor(o, t, 4, 2) for t in range(6)]
    assert all(0 <= v <= 1 for v in values)
    assert values[-1] == 0


def test_an_exponential_begins_behind_the_warmup() -> None:
    """As torch's SequentialLR of LinearLR and ExponentialLR."""
    o = Optimization(scheduler="warmup_exponential", lr=1.0, warmup_epochs=3, warmup_start_lr=0.1)
    values = [lr_factor(o, t, 40, 4) for t in range(40)]
    assert values[11] == pytest.approx(1.0)
    assert values[12:] == pytest.approx([0.95 ** (t // 4) for t in range(28)])


@pytest.mark.parametrize("scheduler", ["step", "exponential", "cosine", "none"])
def test_other_schedules_are_torchs(scheduler: str) -> None:
    o = Optimization(
        scheduler=scheduler, lr=1.0, lr_decay_epochs=(2, 4), lr_decay_rate=0.5, warmup_epochs=0
    )
    opt = torch.optim.SGD([nn.Parameter(torch.zeros(1))], 1.0)
    schedules = torch.optim.lr_scheduler
    reference = {
        "step": lambda: schedules.MultiStepLR(opt, [2, 4], 0.5),
        "exponential": lambda: schedules.ExponentialLR(opt, 0.5),
        "cosine": lambda: schedules.CosineAnnealingLR(opt, 6),
        "none": lambda: schedules.ConstantLR(opt, 1.0),
    }[scheduler]()
    for epoch in range(6):
        assert lr_factor(
            o, 3 * epoch if scheduler != "cosine" else epoch, 6, 3 if scheduler != "cosine" else 1
        ) == pytest.approx(reference.get_last_lr()[0], abs=1e-12)
        opt.step()
        reference.step()


@pytest.mark.parametrize("warm", [0, 4])
def test_a_cosine_ends_at_min_lr_as_timms_and_dinos_do(warm: int) -> None:
    """timm's scheduler sets the rates of an optimizer; DINO's program makes an array of them."""
    lr, least, steps = 0.3, 0.01, 24
    o = Optimization(lr=lr, min_lr=least, warmup_epochs=warm, warmup_start_lr=0.0)
    ours = [lr * lr_factor(o, t, steps, 1) for t in range(steps)]
    opt = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr)
    timms = CosineLRScheduler(opt, steps - warm, lr_min=least)
    for t in range(warm, steps):
        timms.step(t - warm)
        assert ours[t] == pytest.approx(opt.param_groups[0]["lr"], abs=1e-12)
    falling = np.arange(steps - warm)
    cosine = least + 0.5 * (lr - least) * (1 + np.cos(np.pi * falling / len(falling)))
    np.testing.assert_allclose(ours, np.concatenate([np.linspace(0, lr, warm), cosine]), atol=1e-12)
    assert lr * lr_factor(o, steps, steps, 1) == pytest.approx(least)


def test_a_line_ends_at_min_lr_and_other_rates_at_the_same_part_of_theirs() -> None:
    o = Optimization(
        scheduler="linear",
        lr=1.0,
        bias_lr=0.5,
        min_lr=0.1,
        classifier_lr=3.0,
        constant=("predictor",),
    )
    made = build_optimizer(Net(), o, steps=10, steps_per_epoch=5, monitor="train/loss")
    seen = []
    for _ in range(11):
        seen.append({g["name"]: g["lr"] for g in made["optimizer"].param_groups})
        made["optimizer"].step()
        made["lr_scheduler"]["scheduler"].step()
    assert [each["encoder"] for each in seen] == pytest.approx([1 - 0.09 * t for t in range(11)])
    ends = {"encoder": 0.1, "encoder/no_decay": 0.05, "probe": 0.3, "predictor": 1.0}
    assert {name: seen[-1][name] for name in ends} == pytest.approx(ends)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"lr": 0.1, "min_lr": 0.2}, "--min_lr must be at most the learning rate, 0.1, not 0.2"),
        ({"scheduler": "step", "min_lr": 0.01}, "falls to 0, as warmup_cosine, not step"),
        ({"scheduler": "reduce", "min_lr": 0.01}, "falls to 0, as warmup_cosine, not reduce"),
    ],
)
def test_a_min_lr_that_cannot_be_kept_is_refused(settings: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Optimization(**settings)


@pytest.mark.parametrize("scheduler", ["step", "warmup_step"])
@pytest.mark.parametrize(("steps", "per_epoch"), [(10, 100), (35, 100), (12, 10), (25, 10), (7, 3)])
def test_steps_are_of_the_run_where_it_has_no_whole_epochs(
    scheduler: str, steps: int, per_epoch: int
) -> None:
    o = Optimization(scheduler=scheduler)
    values = [lr_factor(o, t, steps, per_epoch) for t in range(steps)]
    drops = [t for t in range(1, steps) if values[t] < values[t - 1]]
    assert drops == [next(t for t in range(steps) if 10 * t >= k * steps) for k in (6, 8)]
    assert values[-1] == pytest.approx(0.01)


class Endless(IterableDataset):
    def __iter__(self) -> Any:
        return iter(torch.ones(1000, 1))


SIZED, ENDLESS = torch.ones(20, 1), Endless()


class OfLoader(pl.LightningDataModule):
    def __init__(self, loader: DataLoader) -> None:
        super().__init__()
        self.loader = loader

    def train_dataloader(self) -> DataLoader:
        return self.loader


class Planning(pl.LightningModule):
    """Keeps what is planned, and the learning rate of each batch."""

    def __init__(self, scheduler: str = "warmup_cosine") -> None:
        super().__init__()
        self.o = Optimization(scheduler=scheduler)
        self.layer, self.planned, self.rates = nn.Linear(1, 1), (0, 0), list[float]()

    def configure_optimizers(self) -> Any:
        self.planned = planned_steps(self.trainer, self.o.scheduler)
        return build_optimizer(self, self.o, *self.planned, "train/loss")

    def training_step(self, x: torch.Tensor, _: int) -> torch.Tensor:
        self.rates.append(self.trainer.optimizers[0].param_groups[0]["lr"])
        return self.layer(x).mean()


def fit_plainly(samples: Any, own: bool, **options: Any) -> tuple[Planning, int]:
    """By Lightning's own Trainer; the module, and how many steps were taken."""
    torch.manual_seed(0)
    module, loader = Planning(), DataLoader(samples, batch_size=4)
    trainer = pl.Trainer(
        **QUIET_ON_CPU,
        **options,
    )
    trainer.fit(module, OfLoader(loader) if own else loader)
    return module, trainer.global_step


@pytest.mark.filterwarnings("ignore:The 'train_dataloader' does not have many workers")
@pytest.mark.parametrize("own", [False, True], ids=["loader", "data module"])
@pytest.mark.parametrize(
    ("samples", "per_epoch", "options"),
    [
        (SIZED, 5, {"max_epochs": 4}),
        (SIZED, 5, {"max_steps": 12}),
        (SIZED, 5, {"max_epochs": 4, "max_steps": 12}),
        (SIZED, 2, {"max_epochs": 4, "limit_train_batches": 2}),
        (SIZED, 2, {"max_epochs": 4, "limit_train_batches": 0.4}),
        (SIZED, 3, {"max_epochs": 4, "accumulate_grad_batches": 2}),
        (SIZED, 3, {"max_steps": 7, "accumulate_grad_batches": 2}),
        (ENDLESS, 7, {"max_steps": 7}),
        (ENDLESS, 3, {"max_epochs": 4, "limit_train_batches": 3}),
    ],
    ids=lambda each: str(each) if isinstance(each, dict) else "",
)
def test_as_many_steps_are_planned_as_are_taken(
    samples: Any, per_epoch: int, options: dict[str, Any], own: bool
) -> None:
    """By a plain Trainer too; the learning rate rises to its height and falls to nearly 0."""
    module, steps = fit_plainly(samples, own, **options)
    assert module.planned == (steps, per_epoch)
    assert max(module.rates) == pytest.approx(0.3)
    assert 0 < module.rates[-1] < 0.06


@pytest.mark.parametrize("own", [False, True], ids=["loader", "data module"])
@pytest.mark.filterwarnings("ignore:The 'train_dataloader' does not have many workers")
def test_a_rate_that_falls_by_epochs_needs_epochs(own: bool) -> None:
    """Of a plain Trainer as of the program; `limit_train_batches` says how long they are."""
    loader = DataLoader(ENDLESS, batch_size=4)
    for more in ({"max_steps": 3}, {"max_steps": 3, "max_epochs": 2}):
        trainer = pl.Trainer(**QUIET_ON_CPU, **more)
        with pytest.raises(ValueError, match=r"--scheduler reduce follows the loss .* no length"):
            trainer.fit(Planning("reduce"), OfLoader(loader) if own else loader)


@pytest.mark.parametrize("own", [False, True], ids=["loader", "data module"])
@pytest.mark.parametrize(
    ("samples", "options", "words"),
    [
        (SIZED, {"max_time": "00:00:00:30"}, "max_epochs or max_steps"),
        (SIZED, {"max_epochs": -1}, "max_epochs or max_steps"),
        (ENDLESS, {"max_epochs": 2}, "no length"),
    ],
    ids=lambda each: str(each) if isinstance(each, dict) else "",
)
@pytest.mark.filterwarnings("ignore:The 'train_dataloader' does not have many workers")
def test_a_run_without_a_planned_end_is_refused(
    samples: Any, options: dict[str, Any], words: str, own: bool
) -> None:
    with pytest.raises(ValueError, match=words):
        fit_plainly(samples, own, **options)


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
        self.projector, self.probe = nn.Linear(4, 4), nn.Linear(4, 2)
        self.predictor = nn.Linear(4, 4)
        self.frozen = nn.Linear(4, 4).requires_grad_(False)


def test_scalars_of_a_loss_have_their_own_rate() -> None:
    net = Net()
    net.learnable = nn.Module()
    net.learnable.bias = nn.Parameter(torch.tensor(-5.0))
    for kind, lr, expected in (("sgd", None, 1e-3), ("adamw", None, 1.0), ("sgd", 0.1, 0.1)):
        o = Optimization(optimizer=kind, lr=1.0, learned_lr=lr)
        (own,) = (g for g in groups(net, o) if g["name"] == "learnable")
        assert (own["lr"], own["weight_decay"]) == (expected, 0.0)
        assert own["params"] == [net.learnable.bias]


def test_biases_and_norms_have_their_own_rate() -> None:
    for bias_lr, expected in ((None, 1.0), (0.024, 0.024)):
        o = Optimization(lr=1.0, bias_lr=bias_lr, constant=("predictor",))
        rates = {g["name"]: g["lr"] for g in groups(Net(), o)}
        assert (rates["encoder"], rates["predictor"], rates["probe"]) == (1.0, 1.0, 0.3)
        assert (rates["encoder/no_decay"], rates["predictor/no_decay"]) == (expected, expected)


def test_every_trained_parameter_is_in_one_group() -> None:
    net = Net()
    found = groups(net, Optimization(lr=1.0, classifier_lr=5.0, constant=("predictor",)))
    owners = [id(p) for g in found for p in g["params"]]
    assert sorted(owners) == sorted(id(p) for p in net.parameters() if p.requires_grad)
    by_name = {g["name"]: g for g in found}
    assert by_name["probe"]["lr"] == 5.0
    assert by_name["probe"]["weight_decay"] == 0
    assert by_name["encoder/no_decay"]["weight_decay"] == 0
    assert all(p.ndim == 1 for p in by_name["encoder/no_decay"]["params"])
    assert by_name["predictor"]["constant"]
    assert not by_name["encoder"]["constant"]


SMALL = {"img_size": 32, "num_classes": 0}
NAMING = {
    "vit_tiny_patch16_224": {"patch_size": 8, "depth": 2},
    "swin_tiny_patch4_window7_224": {"depths": (1, 1), "num_heads": (2, 4), "window_size": 4},
    "beit_base_patch16_224": {"patch_size": 8, "depth": 2, "embed_dim": 48, "num_heads": 2},
}


@pytest.mark.parametrize("wrapped", [False, True])
@pytest.mark.parametrize("name", NAMING)
def test_what_an_encoder_names_does_not_decay(name: str, wrapped: bool) -> None:
    """As timm's own groups have it: tokens and tables of positions."""
    encoder = timm.create_model(name, **SMALL, **NAMING[name])
    net = nn.Module()
    net.encoder = Towers(encoder, Bag(4, rows=8), 4) if wrapped else encoder
    theirs = param_groups_weight_decay(
        encoder, 0.05, no_weight_decay_list=encoder.no_weight_decay()
    )
    expected = {id(p) for group in theirs if group["weight_decay"] for p in group["params"]}
    inside = {id(p) for p in encoder.parameters()}
    ours = groups(net, Optimization(weight_decay=0.05))
    decayed = {id(p) for group in ours if group["weight_decay"] for p in group["params"]}
    assert decayed & inside == expected
    tables = next(group for group in ours if group["name"] == "encoder/exempt")
    assert tables["always_adapt"]
    assert ours[0]["name"] == "encoder"


@pytest.mark.parametrize("scheduler", ["cosine", "reduce"])
def test_a_checkpoint_of_before_has_the_groups_of_now(
    scheduler: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each parameter gets its own state; one without such parameters is left alone."""
    net, o = Net(), Optimization(optimizer="adamw", scheduler=scheduler, lr=0.01)
    net.encoder = timm.create_model("vit_tiny_patch16_224", **SMALL, depth=1)

    def build() -> Any:
        return build_optimizer(net, o, steps=10, steps_per_epoch=5, monitor="train/loss")

    with monkeypatch.context() as patched:
        patched.setattr(optim, "undecayed", lambda _: set())
        before = build()
    trained = [p for p in net.parameters() if p.requires_grad]
    for p in trained:
        p.grad = torch.randn_like(p)
    before["optimizer"].step()
    expected = {p: before["optimizer"].state[p]["exp_avg"].clone() for p in trained}
    schedule = before["lr_scheduler"]["scheduler"].state_dict()
    checkpoint = {
        "optimizer_states": [before["optimizer"].state_dict()],
        "lr_schedulers": [schedule],
    }
    for _ in range(2):  # the second time it is one of now
        regroup(checkpoint, net, o)
    now = build()
    now["optimizer"].load_state_dict(checkpoint["optimizer_states"][0])
    now["lr_scheduler"]["scheduler"].load_state_dict(checkpoint["lr_schedulers"][0])
    for p, value in expected.items():
        assert torch.equal(now["optimizer"].state[p]["exp_avg"], value)
    fresh = [(g["name"], g["weight_decay"], g["lr"]) for g in build()["optimizer"].param_groups]
    loaded = [(g["name"], g["weight_decay"], g["lr"]) for g in now["optimizer"].param_groups]
    assert loaded == fresh
    now["optimizer"].step()
    now["lr_scheduler"]["scheduler"].step(*([1.0] if scheduler == "reduce" else []))


@pytest.mark.parametrize("scheduler", ["cosine", "reduce"])
def test_constant_groups_stand_still(scheduler: str) -> None:
    o = Optimization(scheduler=scheduler, lr=1.0, constant=("predictor",))
    made = build_optimizer(Net(), o, steps=10, steps_per_epoch=5, monitor="train/loss")
    schedule = made["lr_scheduler"]["scheduler"]
    for _ in range(30):
        made["optimizer"].step()
        schedule.step(*([1.0] if scheduler == "reduce" else []))
    lrs = {g["name"]: g["lr"] for g in made["optimizer"].param_groups}
    assert lrs["predictor"] == 1.0
    assert lrs["encoder"] < 0.11


@pytest.mark.parametrize("wd", [0.01, 0.0])
def test_lars_step_is_the_papers(wd: float) -> None:
    """lr * trust * |w| / (|g| + wd |w|) * (g + wd w), and plain SGD of a bias."""
    torch.manual_seed(0)
    net = nn.Module()
    net.encoder = nn.Linear(3, 2).double()
    w, b = (p.detach().clone() for p in (net.encoder.weight, net.encoder.bias))
    for p in net.parameters():
        p.grad = torch.randn_like(p)
    g, gb = net.encoder.weight.grad.clone(), net.encoder.bias.grad.clone()
    optimizer(net, Optimization(optimizer="lars", lr=0.5, weight_decay=wd)).step()
    trust = 0.001 * w.norm() / (g.norm() + wd * w.norm())
    expected = w - 0.5 * trust * (g + wd * w)
    torch.testing.assert_close(net.encoder.weight.detach(), expected, rtol=1e-6, atol=1e-9)
    torch.testing.assert_close(net.encoder.bias.detach(), b - 0.5 * gb)


@pytest.mark.parametrize("name", ["sgd", "adam", "adamw"])
def test_fused_kernels_do_what_torchs_loops_do(name: str) -> None:
    """Ten steps in float64, of matrices that decay and vectors that do not."""
    torch.manual_seed(0)
    module, plain = (nn.Linear(7, 5).double() for _ in range(2))
    plain.load_state_dict(module.state_dict())
    o = Optimization(optimizer=name, lr=0.05, weight_decay=0.1)  # pyright: ignore[reportArgumentType]
    ours = optimizer(module, o)
    assert all(group["fused"] for group in ours.param_groups)
    loops = {
        "sgd": lambda p: torch.optim.SGD(p, o.lr, momentum=o.momentum, foreach=False),
        "adam": lambda p: torch.optim.Adam(p, o.lr, foreach=False),
        "adamw": lambda p: torch.optim.AdamW(p, o.lr, foreach=False),
    }[name](
        [
            {"params": [plain.weight], "weight_decay": o.weight_decay},
            {"params": [plain.bias], "weight_decay": 0.0},
        ]
    )
    for _ in range(10):
        x = torch.randn(3, 7, dtype=torch.float64)
        for net, opt in ((module, ours), (plain, loops)):
            opt.zero_grad()
            net(x).square().sum().backward()
            opt.step()
    torch.testing.assert_close(module.weight, plain.weight, rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(module.bias, plain.bias, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("name", ["adam", "adamw"])
def test_betas_and_epsilon_are_adams(name: Any) -> None:
    """Algorithm 1 of Kingma and Ba, one number at a time; the decay is in the gradient or apart."""
    torch.manual_seed(0)
    module = nn.Module()
    module.encoder = nn.Linear(3, 2, bias=False).double()
    betas, eps, decay = (0.8, 0.95), 1e-2, 0.1
    o = Optimization(optimizer=name, lr=0.05, weight_decay=decay, betas=betas, adam_eps=eps)
    opt, (b1, b2) = optimizer(module, o), betas
    weights = module.encoder.weight.detach().flatten().tolist()
    means, squares = [0.0] * 6, [0.0] * 6
    for t in range(1, 6):
        gradient = torch.randn(2, 3).double()
        module.encoder.weight.grad = gradient.clone()
        opt.step()
        for i, g in enumerate(gradient.flatten().tolist()):
            g += decay * weights[i] * (name == "adam")
            weights[i] *= 1 - o.lr * decay * (name == "adamw")
            means[i] = b1 * means[i] + (1 - b1) * g
            squares[i] = b2 * squares[i] + (1 - b2) * g * g
            root = math.sqrt(squares[i] / (1 - b2**t)) + eps
            weights[i] -= o.lr * means[i] / (1 - b1**t) / root
    found = module.encoder.weight.detach().flatten().tolist()
    assert found == pytest.approx(weights, rel=1e-10)
