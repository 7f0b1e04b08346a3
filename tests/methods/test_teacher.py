"""What is updated beside the encoder: the teacher, the scheduled options, the learnable scalars."""

import copy
import math

import pytest
import torch
from torch import Tensor, nn

from cl.data.batch import Batch
from cl.losses.sigmoid import sigmoid
from cl.methods._teacher import TeacherMethod
from cl.nets.ema import Ema
from cl.nets.encoders import create
from cl.nets.learnable import COLDEST, Learnable
from cl.schedules import Schedule


def made(**changes: object) -> TeacherMethod:
    torch.manual_seed(0)
    sizes = {"hidden_mlp": 16, "encoding_size": 8, "classes": 3}
    return TeacherMethod(create("resnet6_w8", 16), sigmoid, **sizes | {"ema_beta": 0.9} | changes)


def batch() -> Batch:
    torch.manual_seed(1)
    views = [torch.randn(2, 8, 3, 16, 16), torch.randn(1, 8, 3, 8, 8)]
    return Batch(views, torch.arange(8) % 3, torch.arange(8))


def test_the_average_is_updated() -> None:
    online = create("resnet6_w8", 16)
    ema = Ema(online)
    before = copy.deepcopy(ema.state_dict())
    for p in online.parameters():
        p.data += 1
    online(torch.randn(4, 3, 16, 16))
    ema.update(0.75, online)
    for name, new in online.state_dict().items():
        old = before[f"module.0.{name}"]
        found = ema.state_dict()[f"module.0.{name}"]
        expected = old + 0.25 * (new - old) if old.is_floating_point() else new
        torch.testing.assert_close(found, expected)
    assert not [p for p in ema.parameters() if p.requires_grad]
    ema.update(0.0, online)
    assert torch.equal(ema.module[0].stem.conv.weight, online.stem.conv.weight)


def test_tied_weights_move_once() -> None:
    online = nn.Sequential(nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False))
    online[1].weight = online[0].weight
    nn.init.zeros_(online[0].weight)
    ema = Ema(online)
    nn.init.ones_(online[0].weight)
    ema.update(0.75, online)
    for name, value in ema.state_dict().items():
        torch.testing.assert_close(value, torch.full((2, 2), 0.25), msg=name)


@pytest.mark.parametrize(
    ("step", "moves"), [(1, 0.0), (2, 0.0), (3, 0.0), (4, 1 - 0.95), (5, None), (6, 1 - 0.95)]
)
def test_when_the_teacher_is_updated(step: int, moves: float | None) -> None:
    """A copy up to step 3, then every second step by a tenth of the difference, or less."""
    method = made(ema_after_step=3, ema_every_n_steps=2)
    method.ema_beta = 0.95
    weight = method.encoder.stem.conv.weight
    old = weight.detach().clone()
    weight.data += 1
    method.after_step(step)
    found = (method.teacher.module[0].stem.conv.weight - old).mean().detach()
    expected = {None: 0.0, 0.0: 1.0}.get(moves, moves)
    assert float(found) == pytest.approx(expected, abs=1e-6)


def test_the_target_gets_no_gradient_and_its_features_are_used() -> None:
    method, some = made(), batch()
    out = method.training_step(some, 0)
    out["loss"].backward()
    assert not [p for p in method.teacher.parameters() if p.grad is not None]
    assert method.eval_encoder is method.evaluated is method.teacher.module[0]
    assert out["h"].shape == (2, 8, 32)
    online = made(features="online")
    assert online.evaluated is online.encoder


@pytest.mark.parametrize("features", ["target", "online"])
def test_the_embeddings_that_are_watched_are_those_of_the_features(features: str) -> None:
    """The teacher's features go through the teacher's projector."""
    method = made(features=features).eval()
    with torch.no_grad():
        for p in method.projector.parameters():
            p.mul_(2.0)
    h, some = method.training_step(batch(), 0)["h"], method.targets[1]
    expected = some if features == "target" else each(method, method.embed(batch().views)[:2])
    torch.testing.assert_close(method.monitored(h), expected)


def test_all_views_meet_the_full_size_targets() -> None:
    """Four pairs: the other full-size view and the small one for each of the two targets."""
    method = made().eval()
    h, goal = torch.randn(3, 8, 32), torch.randn(2, 8, 8)
    method.targets = torch.randn(2, 8, 32), goal
    z, t = (torch.nn.functional.normalize(x, dim=2) for x in (each(method, h), goal))
    signs = 2 * torch.eye(8) - 1
    pairs = [z[v] @ t[w].T / 0.1 - 10 for v, w in [(1, 0), (2, 0), (0, 1), (2, 1)]]
    right = [-torch.nn.functional.logsigmoid(signs * s).sum() / 8 for s in pairs]
    torch.testing.assert_close(method.objective(h, torch.arange(8)), torch.stack(right).mean())


def each(method: TeacherMethod, h: Tensor) -> Tensor:
    return torch.stack([method.projector(x) for x in h])


def test_learnable_scalars_learn_and_stay_in_bounds() -> None:
    """At its own start the temperature has a gradient, where a clamp at the start had none."""
    learnable = Learnable(temperature=0.2, bias=-5.0)
    values = learnable.values()
    assert values["temperature"].item() == pytest.approx(0.2)
    z = torch.randn(2, 6, 4, generator=torch.Generator().manual_seed(0))
    sigmoid(z, **values).backward()
    assert learnable.log_temperature.grad.abs() > 1e-3
    assert learnable.bias.grad.abs() > 1e-3
    learnable.log_temperature.data.fill_(-100.0)
    learnable.bound()
    assert learnable.values()["temperature"].item() == pytest.approx(COLDEST)
    with pytest.raises(ValueError, match="gamma"):
        Learnable(gamma=1.0)


def test_a_schedule() -> None:
    s = Schedule(start=2.0, end=0.5, steps=20)
    assert s.at(0, 100) == 2.0
    assert s.at(20, 100) == s.at(99, 100) == 0.5
    assert s.at(8, 100) == pytest.approx(0.5 + 1.5 * (1 + math.cos(math.pi * 8 / 20)) / 2)
    assert Schedule(start=0.99, end=1.0).at(100, 100) == 1.0
    assert Schedule(start=0.99).at(70, 100) == 0.99
    late = Schedule(start=0.99, end=1.0, after=3)
    assert [late.at(step, 100) > 0.9 for step in (0, 2, 3)] == [False, False, True]


def test_checkpoints_with_the_names_of_before_are_read() -> None:
    method = made(learn="temperature")
    next(method.teacher.module[0].parameters()).data += 1
    state = method.state_dict()
    before = {
        key.replace("teacher.", "target.", 1).replace("learnable.", "learned.", 1): value
        for key, value in state.items()
    }
    assert before.keys() != state.keys()
    checkpoint = {"state_dict": dict(before)}
    other = made(learn="temperature")
    other.on_load_checkpoint(checkpoint)
    other.load_state_dict(checkpoint["state_dict"], strict=True)
    for key, value in other.state_dict().items():
        assert torch.equal(value, state[key])
