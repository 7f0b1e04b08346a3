"""Methods and losses of one's own: what is read of a module's source, and of an object."""

import textwrap
from functools import partial
from pathlib import Path
from typing import Any, Optional

import pytest
from jaxtyping import Float
from torch import Tensor, nn

from cl import build
from cl.bounds import Positive, Share
from cl.config import (
    ConfigError,
    Pretrain,
    configure,
    from_json,
    is_own,
    parse_pretrain,
    signature,
    to_json,
)
from cl.config.helptext import help_of
from cl.losses import PairwiseLoss, get_loss
from cl.methods import NAMES as METHODS
from cl.methods import Method, get_method

DIGITS = {"dataset": "digits", "encoder": "resnet6_w8"}
LINE = ["digits", "resnet6_w8", "--method"]
MINE = """
    from functools import partial

    import elsewhere
    import cl.methods as known
    from cl.losses import PairwiseLoss
    from cl.losses.dcl import dcl as decoupled
    from cl.methods import BYOL, CLIP, Method, SimCLR, moco
    from elsewhere import mean as average

    def spread(z, ids=None, rows=slice(None), *, sharp: float = 2.0): ...

    halved = partial(spread, sharp=0.5)

    class Own(Method):
        def __init__(self, encoder, loss: PairwiseLoss = spread, **base): ...

    class Renamed(Method):
        def __init__(self, encoder, loss: PairwiseLoss = decoupled, **base): ...

    class Elsewhere(Method):
        def __init__(self, encoder, loss: PairwiseLoss = average, **base): ...

    class Assigned(Method):
        def __init__(self, encoder, loss: PairwiseLoss = halved, **base): ...

    class Unnamed(Method):
        def __init__(self, encoder, loss: PairwiseLoss = partial(spread, sharp=0.5), **base): ...

    class Later(Own): ...

    class FromPackage(BYOL): ...

    class FromModule(moco.MoCo): ...

    class FromAlias(known.BarlowTwins): ...

    class SimCLR(SimCLR): ...

    class Second(SimCLR):
        defaults = {"optimizer": "adamw", "lr": 1e-3}

        def __init__(self, *args, **base):
            super().__init__(*args, hidden_mlp=64, **base)

    class Captions(CLIP): ...

    class FromElsewhere(elsewhere.Based): ...

    class Made(partial(SimCLR)): ...

    class Nowhere(elsewhere.Missing): ...
"""
ELSEWHERE = """
    from cl.methods import byol

    Base = byol.BYOL

    def mean(z, ids=None, rows=slice(None)): ...

    class Based(Base): ...
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A module with methods, and one that it imports from, in a folder on the path."""
    name = f"mine_{tmp_path.name}".replace("-", "_")
    (tmp_path / f"{name}.py").write_text(textwrap.dedent(MINE))
    (tmp_path / "elsewhere.py").write_text(textwrap.dedent(ELSEWHERE))
    monkeypatch.syspath_prepend(tmp_path)
    return name


@pytest.mark.parametrize(
    ("name", "loss"),
    [
        ("Own", "{}:spread"),
        ("Later", "{}:spread"),
        ("Renamed", "dcl"),
        ("Elsewhere", "elsewhere:mean"),
        ("Assigned", "{}:halved"),
        ("Second", "nt_xent"),
    ],
)
def test_the_default_loss_of_a_method_is_trained_with(name: str, loss: str, module: str) -> None:
    config = parse_pretrain([*LINE, f"{module}:{name}"])
    assert config.loss == config.loss_name == loss.format(module)
    assert from_json(to_json(config)) == config
    assert parse_pretrain([*LINE, f"{module}:{name}", "--loss", "dhel"]).loss == "dhel"


def test_the_options_of_a_default_loss_are_flags(module: str) -> None:
    config = parse_pretrain([*LINE, f"{module}:Own", "--sharp", "3"])
    assert config.loss_settings == {"sharp": 3.0}
    assert f"options of --loss {module}:spread" in help_of(
        Pretrain, given={"method": [f"{module}:Own"]}
    )
    assert "options of --loss clip" in help_of(Pretrain, given={"method": ["clip"]})
    with pytest.raises(ConfigError, match=r"needs --loss: its default is no name, but partial\("):
        parse_pretrain([*LINE, f"{module}:Unnamed"])


@pytest.mark.parametrize(
    ("name", "base"),
    [
        ("FromPackage", "byol"),
        ("FromModule", "moco"),
        ("FromAlias", "barlow_twins"),
        ("FromElsewhere", "byol"),
        ("SimCLR", "simclr"),
        ("Captions", "clip"),
    ],
)
def test_a_method_inherits_however_its_base_is_imported(name: str, base: str, module: str) -> None:
    own, theirs = signature.method(f"{module}:{name}"), signature.method(base)
    for what in ("options", "arguments", "loss", "defaults", "needs", "samples", "lost"):
        assert getattr(own, what) == getattr(theirs, what)


def test_what_a_method_hands_on(module: str) -> None:
    """Options that it sets itself are none; `Method` has some for all of them."""
    second = parse_pretrain([*LINE, f"{module}:Second", "--loss", "dcl", "--temperature", "0.3"])
    assert "hidden_mlp" not in second.method_settings
    assert (second.optimizer, second.lr) == ("adamw", 1e-3)
    averaged = parse_pretrain([*LINE, f"{module}:Own", "--ema_encoder", "0.99"])
    assert averaged.method_settings == {"ema_encoder": 0.99}


@pytest.mark.parametrize(("name", "base"), [("Made", "partial"), ("Nowhere", "elsewhere.Missing")])
def test_a_base_class_that_is_not_found_is_said(name: str, base: str, module: str) -> None:
    with pytest.raises(ConfigError, match=f"no source file defines its base class {base}"):
        parse_pretrain([*LINE, f"{module}:{name}"])


DEFAULTS = {"optimizer": "adamw", "lr": 2e-3}  # of the losses of this module
NEEDS = {"steep": "sharp"}


def spread(
    z: Float[Tensor, "v n d"],
    ids: Any = None,
    rows: slice = slice(None),
    *,
    temperature: Positive | Float[Tensor, ""] = 0.1,
    sharp: Optional[float] = None,  # noqa: UP045
    steep=1.5,
    share: Share | None = None,
    module: nn.Module | None = None,
) -> Tensor:
    return z.mean()


class Spreading(Method):
    """It has a loss of its own."""

    def __init__(self, encoder: nn.Module, loss: PairwiseLoss = spread, **base: Any) -> None:
        super().__init__(encoder, loss, **base)
        self.projector = nn.Identity()

    def objective(self, h: Tensor, labels: Tensor) -> Tensor:
        return self.loss(h)


def test_a_class_has_its_default_loss() -> None:
    config = configure(Pretrain, {**DIGITS, "method": Spreading, "sharp": 4, "image_size": 8})
    assert config.loss == config.loss_name == f"{__name__}:spread"
    method = build.build_method(config, nn.Flatten(), None)
    assert isinstance(method.loss_function, partial)
    assert method.loss_function.func is spread
    assert method.loss_function.keywords == {"sharp": 4.0}


def test_the_options_of_a_function() -> None:
    """Its annotations are objects, and where there is none the default shows the type."""
    given = {"temperature": 0.3, "sharp": 1, "steep": 2.5, "share": 0.5}
    config = configure(Pretrain, {**DIGITS, "loss": spread, **given})
    assert is_own(config.loss)
    assert config.loss_settings == given
    assert (config.optimizer, config.lr) == ("adamw", 2e-3)
    with pytest.raises(ConfigError) as error:
        configure(Pretrain, {**DIGITS, "loss": spread, "steep": 2.0, "share": 2, "module": 1})
    assert error.value.args == (
        f"module of --loss {__name__}:spread is no option; it needs a default, and a type that a "
        "word can say: int, float, bool, str, a Literal.",
        "--share must be from 0 to 1, not 2.",
        "--steep needs --sharp.",
    )


@pytest.mark.parametrize("name", signature.pairwise())
def test_a_loss_from_python_is_the_one_of_its_name(name: str) -> None:
    by_name = configure(Pretrain, {**DIGITS, "loss": name})
    assert configure(Pretrain, {**DIGITS, "loss": get_loss(name)}) == by_name
    own = configure(Pretrain, {**DIGITS, "loss": partial(get_loss(name))})
    assert (own.optimizer, own.lr) == (by_name.optimizer, by_name.lr)
    known = {k: (o.hint, o.default, o.bounds) for k, o in signature.loss(name).options.items()}
    objects = signature.loss(own.loss).options
    assert {k: (o.hint, o.default, o.bounds) for k, o in objects.items()} == known


@pytest.mark.parametrize("name", METHODS)
def test_a_method_from_python_has_the_options_of_its_name(name: str) -> None:
    theirs, known = get_method(name), signature.method(name)
    assert signature.word_of("method", theirs) == name
    own = type("Mine", (theirs,), {"__module__": __name__})
    found = signature.method(signature.word_of("method", own))
    for what in ("loss", "samples", "defaults"):
        assert getattr(found, what) == getattr(known, what)
    of_object, of_source = (
        {k: (o.hint, o.default, o.bounds) for k, o in thing.options.items()}
        for thing in (found, known)
    )
    assert of_object == of_source
