"""Options of a method and of its loss that change while training."""

from functools import partial

import pytest
import torch

from cl import schedules
from cl.build import build_method
from cl.config import parse_pretrain
from cl.data.batch import Batch
from cl.losses.nt_xent import nt_xent
from cl.methods._base import Method
from cl.methods.simclr import SimCLR
from cl.nets.encoders import create
from cl.schedules import Schedule

SIZES = {"hidden_mlp": 16, "encoding_size": 8}


def batch() -> Batch:
    g = torch.Generator().manual_seed(1)
    views = torch.randn(2, 8, 3, 16, 16, generator=g)
    return Batch([views], torch.arange(8) % 3, torch.arange(8))


def at(method: Method, step: int, steps: int = 10) -> Method:
    """As at that step of a run of so many."""
    method.steps = steps
    method.__class__ = type(
        type(method).__name__, (type(method),), {"step": property(lambda _: step)}
    )
    return method


def made(words: str) -> Method:
    torch.manual_seed(0)
    config = parse_pretrain(f"digits resnet6_w8 --hidden_mlp 16 --encoding_size 8 {words}".split())
    return build_method(config, create("resnet6_w8", 16), 3)


@pytest.mark.parametrize("step", [0, 3, 9])
@pytest.mark.parametrize("shape", schedules.shapes())
def test_an_option_of_the_loss_is_driven(shape: str, step: int) -> None:
    """The loss is the one with the value that the option has at this step."""
    method = at(made(f"--temperature 0.2 --schedule temperature={shape}:0.5"), step)
    value = 0.5 - 0.3 * schedules.get_shape(shape)(step / 10)
    out = method.training_step(batch(), 0)
    assert out["now"] == {"schedule/temperature": pytest.approx(value)}
    torch.manual_seed(0)
    twin = SimCLR(create("resnet6_w8", 16), partial(nt_xent, temperature=value), classes=3, **SIZES)
    torch.testing.assert_close(out["loss"], twin.training_step(batch(), 0)["loss"])


def test_an_option_of_the_method_is_driven() -> None:
    """`ema_beta` goes to where the command says instead of to 1, in so many steps."""
    words = "--method byol --ema_beta 0.9 --ema_after_step 2 --schedule ema_beta=linear:0.5:4"
    method = at(made(words), 3)
    method.training_step(batch(), 0)
    assert method.ema_beta == pytest.approx(0.9 - 0.4 * 3 / 4)
    assert [round(method.schedules["ema_beta"].at(s, 10), 2) for s in (1, 2, 4, 9)] == [
        *(0.0, 0.7, 0.5, 0.5)
    ]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("temperature=cosine", "--schedule temperature=cosine is not of the form NAME="),
        ("temperature=cosine:x", "is not of the form"),
        ("temperature=cosine:1:0", "is not of the form"),
        ("temperature=step:1", "the shape must be one of cosine, linear"),
        ("temprature=cosine:1", "temprature is no number of this run; use one of .*temperature"),
        ("hidden_mlp=cosine:1", "hidden_mlp is no number of this run"),
        ("temperature=cosine:-1", "--temperature must be above 0, not -1"),
        ("ema_encoder=cosine:1", "it needs a value to start from; add --ema_encoder"),
        ("temperature=cosine:1 temperature=cosine:2", "another --schedule of temperature"),
        ("temperature=cosine:1 --learn temperature", "cannot be used with --learn"),
    ],
)
def test_a_schedule_that_cannot_be_is_refused(words: str, message: str) -> None:
    from cl.config import ConfigError

    with pytest.raises(ConfigError, match=message):
        parse_pretrain(f"digits resnet6_w8 --schedule {words}".split())


def test_from_python_an_unknown_option_is_refused() -> None:
    unknown = {"margin": Schedule(start=0.0, end=1.0)}
    method = SimCLR(create("resnet6_w8", 16), schedules=unknown, **SIZES)
    with pytest.raises(ValueError, match="neither SimCLR nor its loss"):
        method.training_step(batch(), 0)


def test_two_schedules_of_gamma_are_refused() -> None:
    with pytest.raises(ValueError, match="--gamma_steps cannot be used with --schedule"):
        made("--method sigmoid --gamma 1 --gamma_steps 5 --schedule gamma=linear:0")
