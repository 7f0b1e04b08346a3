"""Every loss at its edges, with every option, and under torch's transforms."""

import inspect
import math
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any, get_args

import pytest
import torch
from jaxtyping import TypeCheckError
from torch import Tensor
from torch.testing import assert_close

from cl.config import signature
from cl.losses import NAMES, get_loss

Loss = Callable[[Tensor], Tensor]
STATISTICS = {"barlow_twins", "vicreg"}  # of one sample there are none
ANY_VIEWS = {"nt_xent", "supcon", "info_nce", "dcl", "dcl_symmetric", "dclw", "dhel", "cosine"}
RAW = {"margin", "triplet", "vicreg", "lejepa", "nce", "barlow_twins"}  # lengths matter


def arguments(name: str, z: Tensor) -> tuple[Any, ...]:
    """What a loss takes, made from two views of n samples."""
    n, d = z.shape[-2:]
    made: dict[str, Callable[[], tuple[Any, ...]]] = {
        "looc": lambda: (z[None],),
        "cosine": lambda: (z[:1], z[1:]),
        "lejepa": lambda: (z, torch.arange(3.0 * d).view(3, d).cos().to(z)),
        "moco": lambda: (z[0], z[1], torch.arange(4.0 * d).view(4, d).cos().to(z)),
        "nce": lambda: (z[0].sum(-1), z[1].sum(-1)),
        "triplet": lambda: (torch.cat([z, z[:1].roll(1, 1)]),),
        "angle": lambda: (z, torch.arange(n).to(z) % 3),
        "cosent": lambda: (z, torch.arange(n).to(z) % 3),
        "margin": lambda: (z, torch.arange(n) % 2 == 0),
    }
    return made.get(name, lambda: (z,))()


def loss_of(name: str, **options: Any) -> Loss:
    return lambda z: get_loss(name)(*arguments(name, z), **options)


def embeddings(n: int = 4, d: int = 6, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(2, n, d, dtype=dtype, generator=torch.Generator().manual_seed(n + d))


def value_and_gradient(loss: Loss, z: Tensor) -> tuple[Tensor, Tensor]:
    z = z.detach().clone().requires_grad_()
    value = loss(z)
    (gradient,) = torch.autograd.grad(value, z, materialize_grads=True)
    return value.detach(), gradient


def assert_zero(loss: Loss, z: Tensor) -> None:
    value, gradient = value_and_gradient(loss, z)
    assert value == 0
    assert not gradient.any()


@pytest.mark.parametrize("name", NAMES)
def test_a_mean_over_nothing_is_zero(name: str) -> None:
    z = embeddings()
    if name in STATISTICS:
        with pytest.raises(ValueError, match="needs two samples or more"):
            loss_of(name)(z[:, :0])
        return
    assert_zero(loss_of(name), z[:, :0])
    if "ids" in inspect.signature(get_loss(name)).parameters:
        assert_zero(loss_of(name, ids=torch.arange(0)), z[:, :0])
    if "rows" in inspect.signature(get_loss(name)).parameters:
        assert_zero(loss_of(name, rows=slice(2, 2)), z)


@pytest.mark.parametrize("positives", ["out", "in", "in_sum", "single"])
def test_no_anchor_with_positives_is_zero(positives: str) -> None:
    assert_zero(loss_of("supcon", skip_empty=True, positives=positives), embeddings()[:1])


@pytest.mark.parametrize(
    "name", ["nt_xent", "supcon", "info_nce", "clip", "mnrl", "mv_infonce", "relic", "looc"]
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_sample_without_others_has_no_loss(name: str, dtype: torch.dtype) -> None:
    """Its positive is all of the denominator: exactly 0 and no rounding noise."""
    assert_zero(loss_of(name), embeddings(1, dtype=dtype))


@pytest.mark.parametrize("name", NAMES)
def test_too_few_views_and_samples_are_refused_in_words(name: str) -> None:
    z = embeddings()
    if name in STATISTICS:
        with pytest.raises(ValueError, match="needs two samples or more"):
            loss_of(name)(z[:, :1])
    if name in ANY_VIEWS | {"lejepa", "moco", "nce"}:
        return  # one view is enough, or there are no views
    said = r"two views of each sample|first axis|need 2 views"
    # Where the type of z has the number of views, the tests' check of types comes first.
    with pytest.raises((ValueError, TypeCheckError), match=f"{said}|Type-check error"):
        get_loss(name)(*arguments(name, z[:1]))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("bad", [0.0, -0.1, math.nan])
def test_what_divides_is_above_zero(name: str, bad: Any) -> None:
    for option in {"temperature", "scale", "sigma", "nu"} & {
        *inspect.signature(get_loss(name)).parameters
    }:
        with pytest.raises(ValueError, match=f"{option} must be above 0"):
            loss_of(name, **{option: bad})(embeddings())
        if option == "temperature":
            with pytest.raises(ValueError, match="temperature must be above 0"):
                loss_of(name, temperature=torch.tensor(bad))(embeddings())


@pytest.mark.parametrize("name", ["hcl", "debiased"])
def test_not_all_negatives_are_of_the_anchors_class(name: str) -> None:
    with pytest.raises(ValueError, match="tau_plus must be at least 0 and below 1, not 1"):
        loss_of(name, tau_plus=1.0)(embeddings())
    option = signature.losses()[name].options["tau_plus"]
    with pytest.raises(ValueError, match="--tau_plus must be at least 0 and below 1, not 1"):
        option.read(["1.0"])
    assert option.read(["0.99"]) == 0.99


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("row", [0, 3])
def test_nan_is_not_hidden(name: str, row: int) -> None:
    z = embeddings()
    z[0, row] = torch.nan
    assert loss_of(name)(z).isnan()


@pytest.mark.parametrize("name", [n for n in NAMES if n not in RAW])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_row_of_zeros_gets_no_gradient(name: str, dtype: torch.dtype) -> None:
    z = embeddings(dtype=dtype)
    z[0, 0] = 0
    value, gradient = value_and_gradient(loss_of(name), z)
    assert value.isfinite()
    assert not gradient[0, 0].any()
    assert gradient.abs().max() < 1e3


@pytest.mark.parametrize("name", [n for n in NAMES if n not in RAW])
def test_lengths_of_rows_have_no_effect(name: str) -> None:
    """In float32, whose squares overflow from 1e19 on and vanish below 1e-23."""
    z, lengths = embeddings(dtype=torch.float32), torch.tensor([1e-20, 1.0, 1e10, 1e30])[:, None]
    expected, direction = value_and_gradient(loss_of(name), z)
    value, gradient = value_and_gradient(loss_of(name), z * lengths)
    assert_close(value, expected, rtol=1e-5, atol=1e-6)
    assert_close(gradient.double() * lengths, direction.double(), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", ["triplet", "margin"])
def test_distances_do_not_overflow(name: str) -> None:
    z = embeddings(dtype=torch.float32) * 1e30
    options = {"eps": 0.0} if name == "triplet" else {}
    arguments_ = arguments(name, z)
    if name == "margin":
        arguments_ = (z, torch.zeros(4, dtype=torch.bool))
    value, exact = (
        get_loss(name)(
            *(x.to(dtype) if x.is_floating_point() else x for x in arguments_), **options
        )
        for dtype in (torch.float32, torch.float64)
    )
    assert_close(value.double(), exact, rtol=1e-5, atol=1e-6)


def choices(name: str) -> list[dict[str, Any]]:
    """Every value of a choice and of a switch, two of a number; one option at a time."""
    found: list[dict[str, Any]] = [{}]
    for key, option in signature.losses()[name].options.items():
        if option.choices or option.of is bool:
            values: tuple[Any, ...] = option.choices or (False, True)
        else:
            low, high = option.about.get("low"), option.about.get("high")
            high = 0.9 if "below" in option.about else high
            values = (low if low is not None else 0.5, high if high is not None else 3.0)
            values = tuple(int(v) if option.of is int else float(v) for v in values)
        found += [{key: value} for value in values]
    return found


INPUTS: dict[str, Callable[[Tensor], Tensor]] = {
    "as they are": lambda z: z,
    "a constant dimension": lambda z: torch.cat([z[..., :-1], torch.ones_like(z[..., :1])], -1),
    "duplicates": lambda z: z[:, [0, 0, 1, 1]],
    "views that agree": lambda z: z[[0, 0]],
    "all alike": lambda z: torch.ones_like(z),
    "one dimension": lambda z: z[..., :1],
    "short rows": lambda z: z * 1e-20,
}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", INPUTS)
def test_every_option_is_finite_with_a_finite_gradient(name: str, kind: str) -> None:
    for options in choices(name):
        if kind in ("duplicates", "all alike") and options.get("t") == 3.0:
            continue
        for dtype in (torch.float32, torch.float64):
            z = INPUTS[kind](embeddings(dtype=dtype))
            value, gradient = value_and_gradient(loss_of(name, **options), z)
            assert value.isfinite(), options
            assert gradient.isfinite().all(), options


def test_the_base_temperature_is_a_constant_to_the_gradient() -> None:
    t = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)
    z, ids = embeddings(), torch.tensor([0, 0, 1, 1])
    slopes = [
        torch.autograd.grad(get_loss("supcon")(z, ids, temperature=t, base_temperature=base), t)[0]
        for base in (None, 0.07)
    ]
    assert_close(slopes[1], slopes[0] * 0.3 / 0.07)


VARIANTS: list[tuple[str, dict[str, Any]]] = [
    *((name, {}) for name in NAMES),
    ("supcon", {"positives": "single"}),
    ("kcl", {"kernel": "riesz"}),
    ("sigmoid", {"gamma": 2.0, "alpha": 0.5}),
]


def blockwise(loss: Loss) -> bool:
    """Whether a loss is computed by an engine, which discards its blocks."""
    engines = {"LogSumExpBackward", "PairSumBackward", "DivergenceSumBackward"}
    engines.add("DirectLogSumExpBackward")
    nodes, names = [loss(embeddings().requires_grad_()).grad_fn], set[str]()
    while nodes:
        if node := nodes.pop():
            names.add(node.name())
            nodes += [each for each, _ in node.next_functions]
    whole = any(name.endswith("LossBackward") for name in names)  # `WholeLoss` of a small batch
    return whole or bool(engines & names)


@pytest.mark.parametrize(("name", "options"), VARIANTS)
def test_second_derivatives_are_right_or_refused_in_words(
    name: str, options: dict[str, Any]
) -> None:
    loss, z = loss_of(name, **options), embeddings(3, 4).requires_grad_()
    (gradient,) = torch.autograd.grad(loss(z), z, create_graph=True)
    if blockwise(loss):
        with pytest.raises(NotImplementedError, match="this loss has no second derivatives"):
            torch.autograd.grad(gradient.square().sum(), z)
    else:
        assert torch.autograd.gradgradcheck(loss, (z,))


@pytest.mark.parametrize(("name", "options"), VARIANTS)
def test_transforms_of_functions(name: str, options: dict[str, Any]) -> None:
    loss, z = loss_of(name, **options), embeddings()
    batch = torch.stack([z, z.flip(0), 2 - z])
    values, gradients = (
        torch.stack(x) for x in zip(*(value_and_gradient(loss, x) for x in batch), strict=True)
    )
    assert_close(torch.func.grad(loss)(z), gradients[0])
    assert_close(torch.func.vmap(loss)(batch), values)
    assert_close(torch.func.vmap(torch.func.grad(loss))(batch), gradients)
    of_sum = torch.func.grad(lambda batch: torch.func.vmap(loss)(batch).sum())(batch)
    assert_close(of_sum, gradients)
    twice = torch.func.jacrev(lambda z: torch.stack([loss(z), 2 * loss(z)]))(z)
    assert_close(twice, torch.stack([gradients[0], 2 * gradients[0]]))


@pytest.mark.parametrize(("name", "options"), VARIANTS)
def test_without_gradients_nothing_is_kept(name: str, options: dict[str, Any]) -> None:
    loss, z = loss_of(name, **options), embeddings().requires_grad_()
    expected, kept = loss(z), list[Tensor]()
    with torch.autograd.graph.saved_tensors_hooks(kept.append, lambda x: x), torch.no_grad():
        value = loss(z)
    assert value.grad_fn is None
    assert not kept
    with torch.inference_mode():
        inferred = [loss(z), loss(embeddings())]
    for each in (value, *inferred):
        assert_close(each.clone(), expected.detach(), rtol=0, atol=0)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["nt_xent", "kcl", "vicreg"])
def test_compiled_the_loss_is_the_same(name: str) -> None:
    """The block engine breaks the graph: it runs as it is."""
    loss, z = loss_of(name), embeddings()
    compiled = torch.compile(loss, backend="eager")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch's compiler about itself
        found = value_and_gradient(partial(compiled), z)
    assert_close(found, value_and_gradient(loss, z))


def test_every_choice_of_every_loss_is_tried() -> None:
    tried = {name: {key for each in choices(name) for key in each} for name in NAMES}
    assert all(tried[name] == {*signature.losses()[name].options} for name in NAMES)
    assert get_args(inspect.signature(get_loss("kcl")).parameters["kernel"].annotation)


def test_barlow_twins_of_embeddings_whose_variance_would_overflow() -> None:
    z = (1e25 * embeddings(9).float()).requires_grad_()
    exact = z.detach().double().requires_grad_()
    ours, right = (get_loss("barlow_twins")(x) for x in (z, exact))
    assert_close(ours.double(), right, rtol=1e-5, atol=1e-5)
    (found,), (expected,) = (torch.autograd.grad(x, y) for x, y in ((ours, z), (right, exact)))
    assert_close(1e25 * found.double(), 1e25 * expected, rtol=1e-4, atol=1e-5)
