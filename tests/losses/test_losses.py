"""Every loss against its oracle, and properties of all losses; a new file is tested by its name."""

import inspect
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from itertools import permutations, product
from typing import Any, Literal

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from cl.config import signature
from cl.losses import NAMES, get_loss, negatives
from cl.losses._divergence import divergence_sum
from cl.losses._pairs import BlockSchedule, Denominator, Pairs, SelectPairs
from cl.losses._pairwise import PairContext, compare, softmax_loss
from cl.losses.hcl import hcl
from tests import references

TWO_VIEWS = {"clip", "barlow_twins"}
ONE_WAY = {"dcl", "dclw", "info_nce_angle", "mnrl"}  # the first view has another role
WHOLE_BATCH = {"barlow_twins", "vicreg"}  # losses of its statistics, which ignore rows and ids


def parameters(name: str) -> list[str]:
    return list(inspect.signature(get_loss(name)).parameters)


PAIRWISE = [n for n in NAMES if parameters(n)[:3] == ["z", "ids", "rows"]]
NORMALIZED = [n for n in PAIRWISE if n not in WHOLE_BATCH]  # losses of cosines


def embeddings(v: int, n: int, d: int = 5, dtype: torch.dtype = torch.float64) -> Tensor:
    torch.manual_seed(v * 100 + n)
    return torch.randn(v, n, d, dtype=dtype).requires_grad_()


def at_temperature(name: str, temperature: Any) -> Callable[..., Tensor]:
    """The loss at a temperature, if it has one."""
    options = {"temperature": temperature} if "temperature" in parameters(name) else {}
    return lambda z, ids=None, rows=slice(None), **more: get_loss(name)(
        z, ids, rows, **options | more
    )


def assert_same_value_and_gradients(
    ours: Tensor, expected: Tensor, inputs: tuple[Tensor, ...]
) -> None:
    assert_close(ours, expected, rtol=1e-10, atol=1e-10)
    gradients = torch.autograd.grad(ours, inputs, materialize_grads=True)
    expected_gradients = torch.autograd.grad(expected, inputs, materialize_grads=True)
    assert_close(gradients, expected_gradients, rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("name", PAIRWISE)
@pytest.mark.parametrize(("v", "n"), [(1, 5), (2, 1), (2, 2), (2, 7), (3, 4)])
@pytest.mark.parametrize("supervised", [False, True])
def test_value_and_gradients_equal_the_oracle(name: str, v: int, n: int, supervised: bool) -> None:
    if (name in TWO_VIEWS and v != 2) or (v == 1 and name not in references.DENOMINATORS):
        pytest.skip("the loss is not defined for this number of views")
    if name in WHOLE_BATCH and n == 1:
        pytest.skip("one sample has no variance")
    z, t = embeddings(v, n), torch.tensor(0.3, dtype=torch.float64, requires_grad=True)
    ids = torch.arange(n) % 3 if supervised else None
    expected = references.ORACLES[name](z, ids, t)
    assert_same_value_and_gradients(at_temperature(name, t)(z, ids), expected, (z, t))


@pytest.mark.parametrize("name", ["clip", "info_nce"])
@pytest.mark.parametrize("temperature", [1.0, 0.07, 0.01])
def test_a_repeated_caption_is_no_positive_of_itself(name: str, temperature: float) -> None:
    """Two pairs of one caption: each row of the table is uniform, whatever the temperature is."""
    images, caption = torch.eye(2, dtype=torch.float64), torch.ones(2, 2, dtype=torch.float64)
    z, ids = torch.stack([images, caption]), torch.zeros(2, dtype=torch.long)
    assert_close(at_temperature(name, temperature)(z, ids), torch.tensor(2.0).double().log())


@pytest.mark.parametrize("alpha", [0.0, 0.7])
@pytest.mark.parametrize("gamma", [0.5, 2.0])
def test_focal_weight_and_invariance_penalty_of_sigmoid(alpha: float, gamma: float) -> None:
    z, t = embeddings(3, 5), torch.tensor(0.3, dtype=torch.float64, requires_grad=True)
    ours = get_loss("sigmoid")(z, temperature=t, alpha=alpha, gamma=gamma)
    assert_same_value_and_gradients(ours, references.sigmoid(z, None, t, alpha, gamma), (z, t))


@pytest.mark.parametrize("temperature", [1.0, 0.1, 0.01, 0.002])
@pytest.mark.parametrize("pairs", [7, 14, 1000])
def test_divergences_of_any_size_in_any_blocks(temperature: float, pairs: int) -> None:
    """Up to hundreds, where the probabilities of one softmax vanish in the other."""
    scale = torch.tensor(1 / temperature, dtype=torch.float64, requires_grad=True)
    z, rows = embeddings(2, 7), slice(2, 6)
    u, v = (x.detach().requires_grad_() for x in torch.nn.functional.normalize(z, dim=-1))
    s = scale * u @ v.T
    log_q, log_r = s.T.log_softmax(1)[rows], s.log_softmax(1)[rows]
    expected = (log_q.exp() * (log_q - log_r)).sum()
    ours = divergence_sum(u, v, scale, rows, pairs)
    assert_close(ours, expected, rtol=1e-12, atol=1e-12)
    for found, slope in zip(
        *(torch.autograd.grad(x, (u, v, scale)) for x in (ours, expected)), strict=True
    ):
        assert_close(found, slope, rtol=1e-10, atol=1e-13 / temperature**2)


@pytest.mark.parametrize("name", ["sigmoid", "relic"])
def test_targets_replace_the_other_views(name: str) -> None:
    """Every view is compared with the targets of the other views, one pair at a time."""
    z, target, loss = embeddings(3, 5), embeddings(2, 6)[:, :5].detach(), get_loss(name)
    pairs = [(v, w) for v in range(3) for w in range(2) if v != w]
    each = [
        loss(torch.stack([target[w], z[v]]), None, slice(None), target[w][None]) for v, w in pairs
    ]
    assert_close(loss(z, None, slice(None), target), torch.stack(each).mean())


DENOMINATORS: dict[str, SelectPairs] = {
    "nt_xent": lambda pairs: ~pairs.same_embedding,
    "info_nce": lambda pairs: ~pairs.same_view,
    "dcl_symmetric": lambda pairs: ~pairs.same_id,
    "dhel": lambda pairs: pairs.same_view & ~pairs.same_id,
}


@pytest.mark.parametrize("name", DENOMINATORS)
@pytest.mark.parametrize("block_size", [1, 3, 4])
@pytest.mark.parametrize("supervised", [False, True])
@pytest.mark.parametrize("temperature", [0.2, 0.01])
@pytest.mark.parametrize("anchor_views", [slice(None), slice(0, 1), slice(0, 2), slice(1, 3)])
def test_block_size_does_not_change_the_value(
    name: str, block_size: int, supervised: bool, temperature: float, anchor_views: slice
) -> None:
    z, ids = embeddings(3, 10), torch.arange(10) % 4 if supervised else None
    t = torch.tensor(temperature, dtype=torch.float64, requires_grad=True)
    values = [
        softmax_loss(
            z,
            ids,
            slice(None),
            t,
            DENOMINATORS[name],
            anchor_views=anchor_views,
            block_size=size,
        )
        for size in (block_size, 99)
    ]
    assert_close(*values, rtol=1e-12, atol=1e-12)
    for found, whole in zip(*(torch.autograd.grad(x, (z, t)) for x in values), strict=True):
        assert_close(found, whole, rtol=1e-9, atol=1e-11)


def test_the_blocks_of_anchors_among_candidates_are_computed_once() -> None:
    given = embeddings(2, 8), None, slice(None), 0.2
    context = compare(*given, anchor_views=slice(0, 1), block_size=2)
    schedule = context.schedule(lambda pairs: pairs.all)
    computed = [(p.anchors.place, p.candidates.place) for p, _, _ in schedule.blocks()]
    assert len(computed) == 4 * 5 // 2 + 4 * 4
    assert sum(transposed for _, _, transposed in schedule.blocks()) == 4 * 3 // 2


@pytest.mark.parametrize("name", NORMALIZED)
def test_every_loss_is_the_same_in_small_blocks(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    z, t = embeddings(2, 10), torch.tensor(0.3, dtype=torch.float64, requires_grad=True)
    whole = at_temperature(name, t)(z)
    monkeypatch.setattr("cl.losses._pairwise.CPU_BLOCK", 3)
    monkeypatch.setattr("cl.losses._pairwise.MAX_PAIRS", {"cpu": 0})
    monkeypatch.setattr("cl.losses._pairwise.MAX_MASKED", 0)
    assert_same_value_and_gradients(at_temperature(name, t)(z), whole, (z, t))


@pytest.mark.parametrize("positives", ["out", "in", "in_sum", "single", "pairwise"])
def test_supcon_of_any_positives_is_the_same_in_small_blocks(
    positives: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    z, t = embeddings(2, 10), torch.tensor(0.3, dtype=torch.float64, requires_grad=True)
    loss = partial(get_loss("supcon"), z, torch.arange(10) % 4, temperature=t, positives=positives)
    whole = loss()
    monkeypatch.setattr("cl.losses._pairwise.CPU_BLOCK", 3)
    monkeypatch.setattr("cl.losses._pairwise.MAX_PAIRS", {"cpu": 0})
    monkeypatch.setattr("cl.losses._pairwise.MAX_MASKED", 0)
    assert_same_value_and_gradients(loss(), whole, (z, t))


@pytest.mark.parametrize("name", PAIRWISE)
def test_local_losses_average_to_the_global_one(name: str) -> None:
    z, ids = embeddings(2, 9), torch.arange(9) % 4
    loss = at_temperature(name, 0.2)
    for known in (None, ids):
        parts = torch.stack([loss(z, known, slice(i, i + 3)) for i in (0, 3, 6)])
        assert_same_value_and_gradients(parts.mean(), loss(z, known), (z,))


@pytest.mark.parametrize("name", PAIRWISE)
def test_invariance_to_sample_order_and_rotation(name: str) -> None:
    z, loss = embeddings(2, 9).detach(), at_temperature(name, 0.2)
    assert_close(loss(z[:, torch.randperm(9)]), loss(z))
    if name not in WHOLE_BATCH:
        rotation = torch.linalg.qr(torch.randn(5, 5, dtype=torch.float64)).Q
        assert_close(loss(z @ rotation), loss(z))
        assert_close(loss(3 * z), loss(z))


@pytest.mark.parametrize("name", [n for n in PAIRWISE if n not in ONE_WAY | TWO_VIEWS])
def test_invariance_to_view_order(name: str) -> None:
    z, loss = embeddings(3, 4).detach(), at_temperature(name, 0.2)
    for order in permutations(range(3)):
        assert_close(loss(z[list(order)]), loss(z))


@pytest.mark.parametrize("name", PAIRWISE)
def test_gradcheck(name: str) -> None:
    z, t = embeddings(2, 4, 3), torch.tensor(0.5, dtype=torch.float64, requires_grad=True)
    options = {"through_weights": True} if name == "dclw" else {}
    assert torch.autograd.gradcheck(lambda z, t: at_temperature(name, t)(z, **options), (z, t))


KINDS = {
    "random": lambda: torch.randn(2, 16, 8),
    "identical": lambda: torch.ones(2, 16, 8),
    "zero": lambda: torch.zeros(2, 16, 8),
    "aligned": lambda: torch.randn(1, 16, 8).repeat(2, 1, 1),
}


@pytest.mark.parametrize("name", PAIRWISE)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_low_precision_is_finite_and_close_to_float64(
    name: str, kind: str, dtype: torch.dtype
) -> None:
    torch.manual_seed(0)
    z = KINDS[kind]().to(dtype).requires_grad_()
    for temperature in (0.005, 0.05, 0.5, 10.0):
        loss = at_temperature(name, temperature)(z)
        (gradient,) = torch.autograd.grad(loss, z)
        assert torch.isfinite(gradient).all(), temperature
        exact = at_temperature(name, temperature)(z.detach().double())
        assert_close(loss.detach().double(), exact, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("name", PAIRWISE)
def test_autocast_changes_nothing(name: str) -> None:
    z = embeddings(2, 8, dtype=torch.float32)
    plain = at_temperature(name, 0.2)(z)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        cast = at_temperature(name, 0.2)(z)
    assert_close(cast, plain, rtol=0, atol=0)


@pytest.mark.parametrize("positives", ["out", "in", "in_sum", "single"])
@pytest.mark.parametrize("skip_empty", [False, True])
def test_supcon_on_local_anchors_averages_to_the_global_one(
    positives: str, skip_empty: bool
) -> None:
    z, ids = embeddings(1, 9), torch.tensor([0, 0, 0, 1, 1, 5, 6, 7, 8])
    options = {"positives": positives, "skip_empty": skip_empty}
    parts = [get_loss("supcon")(z, ids, slice(i, i + 3), **options) for i in (0, 3, 6)]
    assert_same_value_and_gradients(
        torch.stack(parts).mean(), get_loss("supcon")(z, ids, **options), (z,)
    )


def test_only_global_views_are_candidates() -> None:
    z = embeddings(4, 3)
    ours, losses = get_loss("nt_xent")(z, global_views=2), []
    u = references.unit(z)
    for v in range(4):
        for i in range(3):
            others = [(w, j) for w in range(2) for j in range(3) if (w, j) != (v, i)]
            denominator = [(u[v, i] * u[w, j]).sum() / 0.2 for w, j in others]
            positives = [(u[v, i] * u[w, j]).sum() / 0.2 for w, j in others if i == j]
            losses.append(references.lse(denominator) - references.mean(positives))
    assert_same_value_and_gradients(ours, references.mean(losses), (z,))


@pytest.mark.parametrize("name", ["angle", "cosent"])
def test_ranking_losses_equal_the_double_sum(name: str) -> None:
    z, scores = embeddings(2, 9, 6), torch.tensor([0.0, 0.2, 0.2, 1.0, 0.5, 0.0, 0.7, 0.2, 1.0])
    u, v = references.unit(z)
    a = (u * v).sum(-1)
    if name == "angle":
        u, v = (torch.complex(x[:, :3], x[:, 3:]) for x in (u, v))
        quotient = u * v.conj()
        a = (quotient.real.sum(-1) + quotient.imag.sum(-1)).abs()
    terms = [0 * a.sum()]
    terms += [3 * (a[i] - a[j]) for i in range(9) for j in range(9) if scores[i] < scores[j]]
    assert_same_value_and_gradients(
        get_loss(name)(z, scores, scale=3.0), references.lse(terms), (z,)
    )


def test_looc_equals_the_double_sum() -> None:
    """In every space a query's positive key against all keys of all samples."""
    z = embeddings(8, 3).unflatten(0, (2, 4)).detach().requires_grad_()
    t = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)

    def space(s: int, query: int, keys: list[int]) -> Tensor:
        """The first of the keys is the positive."""
        u, losses = references.unit(z), []
        for i in range(3):
            denominator = [(u[s, query, i] * u[s, k, j]).sum() / t for k in keys for j in range(3)]
            positive = (u[s, query, i] * u[s, keys[0], i]).sum() / t
            losses.append(references.lse(denominator) - positive)
        return references.mean(losses)

    def expected() -> Tensor:
        first = (space(0, 0, [1]) + space(0, 3, [1])) / 2
        return (first + space(1, 0, [2, 1])) / 2

    assert_same_value_and_gradients(get_loss("looc")(z, temperature=t), expected(), (z, t))
    parts = [get_loss("looc")(z, slice(i, i + 1), temperature=t) for i in range(3)]
    assert_same_value_and_gradients(torch.stack(parts).mean(), expected(), (z, t))
    with pytest.raises(ValueError, match="2 spaces need 3 views, not 2"):
        get_loss("looc")(z[:, :2])


@pytest.mark.parametrize(
    ("name", "theirs"), [("nt_xent", "NTXentLoss"), ("dcl_symmetric", "DCLLoss")]
)
def test_lightly_agrees(name: str, theirs: str) -> None:
    losses = pytest.importorskip("lightly.loss", reason="lightly is not installed")
    z = embeddings(2, 12, dtype=torch.float32).detach()
    expected = getattr(losses, theirs)(temperature=0.2)(z[0], z[1])
    assert_close(get_loss(name)(z, temperature=0.2), expected, rtol=1e-5, atol=1e-6)


def test_cosine_equals_torchs() -> None:
    p, z = embeddings(2, 6), embeddings(2, 7)[:, :6].detach()
    expected = -torch.nn.functional.cosine_similarity(p, z, dim=-1).mean()
    assert_close(get_loss("cosine")(p, z), expected)


def test_distances_of_equal_embeddings_have_a_finite_gradient() -> None:
    """A square root has none at zero."""
    z = torch.ones(3, 4, 5, requires_grad=True)
    for loss in (
        get_loss("triplet")(z),
        get_loss("margin")(z[:2], torch.tensor([True, False] * 2)),
    ):
        assert torch.isfinite(torch.autograd.grad(loss, z)[0]).all()


def test_losses_of_joint_views_refuse_a_single_one() -> None:
    for name in ("mv_dhel", "mv_infonce"):
        with pytest.raises(ValueError, match="two views"):
            get_loss(name)(embeddings(1, 4))


def count_contrasted(name: str, views: int, samples: int, monkeypatch: pytest.MonkeyPatch) -> int:
    """Count the embeddings of other samples that the masks of a loss pair with one anchor.

    The anchor is the first sample in the first view. Embeddings are recognized by their values,
    since a loss may compare two views at a time.
    """
    z = embeddings(views, samples).detach()
    unit, schedule = torch.nn.functional.normalize(z, dim=-1), PairContext.schedule
    contrasted: set[tuple[int, ...]] = set()

    def record(self: PairContext, select: SelectPairs, **options: Any) -> BlockSchedule:
        result = schedule(self, select, **options)
        (anchors,), (candidates,) = result.anchors, result.candidates  # few: one block each
        mask = select(Pairs(anchors, candidates)).tensor(z).expand(len(self.q), len(self.k))
        for q, selected in zip(self.q, mask, strict=True):
            if torch.equal(q, unit[0, 0]):
                indices = [(unit == k).all(dim=-1).nonzero() for k in self.k[selected]]
                contrasted.update(tuple(index.squeeze(0).tolist()) for index in indices)
        return result

    monkeypatch.setattr("cl.losses._pairwise.MAX_PAIRS", {"cpu": 0})
    monkeypatch.setattr("cl.losses._pairwise.is_one_function", lambda _: False)
    monkeypatch.setattr("cl.losses._pairwise.MAX_MASKED", 0)  # small batches need no mask
    monkeypatch.setattr("cl.losses.relic.MAX_SAFE_SCALE", 0)
    monkeypatch.setattr(PairContext, "schedule", record)
    get_loss(name)(z[None] if name == "looc" else z)
    return sum(sample != 0 for _, sample in contrasted)


@pytest.mark.parametrize("name", [*PAIRWISE, "looc"])
@pytest.mark.parametrize(("views", "samples"), [(2, 1), (2, 5), (3, 4)])
def test_negatives_are_those_that_the_masks_select(
    name: str, views: int, samples: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    if name in TWO_VIEWS and views != 2:
        pytest.skip("the loss is not defined for this number of views")
    if name in WHOLE_BATCH and samples == 1:
        pytest.skip("one sample has no variance")
    count = count_contrasted(name, views, samples, monkeypatch)
    assert negatives(name, views, samples) == count


def test_a_loss_may_say_nothing_of_its_negatives() -> None:
    """As the module of one's own, of which only the function is known."""
    assert negatives("triplet", 2, 8) is None
    assert negatives("cl.losses.cosent:ranking_loss", 2, 8) is None
    assert negatives("cl.losses.dcl:dcl", 2, 8) == 14
    with pytest.raises(ValueError, match="there is no loss tripel"):
        negatives("tripel", 2, 8)


@pytest.mark.parametrize("name", NAMES)
def test_every_option_is_described_and_a_temperature_is_positive(name: str) -> None:
    """The description is the flag's help, and the type has the bounds."""
    options = signature.losses()[name].options
    assert [name for name, option in options.items() if not option.about["help"]] == []
    assert "temperature" not in options or options["temperature"].about["above"] == 0


def test_the_package_needs_no_torch() -> None:
    code = "import sys, cl.losses; assert not {'torch', 'numpy'} & {*sys.modules}"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("views", ["all", "same", "other"])
@pytest.mark.parametrize("positives", [True, False])
@pytest.mark.parametrize("temperature", [0.2, 0.01])
def test_a_mask_of_all_pairs_is_the_engine(
    views: Literal["all", "same", "other"],
    positives: bool,
    temperature: float,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of one to three views, classes of one, two and many, and samples of this process alone."""
    of = Denominator(views, positives)
    t = torch.tensor(temperature, dtype=torch.float64, requires_grad=True)
    for v, ids, rows in product(
        (1, 2, 3), (None, torch.arange(9) % 4, torch.arange(9) // 2), (slice(None), slice(3, 7))
    ):
        z = embeddings(v, 9)
        with torch.no_grad():
            z[-1, :2] = 3 * z[0, :2]  # positives that hold nearly all of their sum
        whole = softmax_loss(z, ids, rows, t, of)
        with monkeypatch.context() as patch:
            patch.setattr("cl.losses._pairwise.MAX_PAIRS", {"cpu": 0})
            patch.setattr("cl.losses._pairwise.MAX_MASKED", 0)
            blocks = softmax_loss(z, ids, rows, t, of)
        assert_same_value_and_gradients(whole, blocks, (z, t))


@pytest.mark.parametrize("beta", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("tau_plus", [0.0, 0.1, 0.9])  # at 0.9 most anchors take the bound
def test_hard_negatives_of_a_small_batch_are_the_engine(
    beta: float, tau_plus: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    t = torch.tensor(0.06, dtype=torch.float64, requires_grad=True)
    options = {"temperature": t, "tau_plus": tau_plus, "beta": beta}
    for rows in (slice(None), slice(3, 7)):
        z = embeddings(2, 9)
        with torch.no_grad():
            z[1, 2:5] = -z[0, 2:5]  # a positive as far away as can be
        whole = hcl(z, None, rows, **options)
        assert "HardLoss" in type(whole.grad_fn).__name__
        with monkeypatch.context() as patch:
            patch.setattr("cl.losses._pairwise.MAX_PAIRS", {"cpu": 0})
            blocks = hcl(z, None, rows, **options)
        assert_same_value_and_gradients(whole, blocks, (z, t))


def functions_of(value: Tensor) -> str:
    """The names of the last functions of a value's graph."""
    nodes, names = [value.grad_fn], ""
    for _ in range(3):
        names += " ".join(type(node).__name__ for node in nodes)
        nodes = [parent for node in nodes for parent, _ in getattr(node, "next_functions", ())]
    return names


@pytest.mark.parametrize(
    ("name", "views", "options"),
    [
        ("dclw", 2, {}),
        ("dclw", 2, {"symmetric": True, "sigma": 0.2}),
        ("info_nce_angle", 2, {}),
        ("info_nce_angle", 2, {"symmetric": True, "margin": 40.0}),
        ("mv_dhel", 2, {}),
        ("mv_dhel", 4, {}),
        ("mv_infonce", 2, {}),
        ("mv_infonce", 4, {}),
        ("mnrl", 2, {}),
        ("mnrl", 2, {"ids": torch.arange(9) % 6}),
        ("mnrl", 4, {}),
        ("mnrl", 4, {"ids": torch.arange(9) // 2}),
        ("relic", 2, {}),
        ("relic", 3, {"alpha": 2.0}),
        ("relic", 3, {"target": embeddings(2, 9).detach().flip(0)}),
    ],
)
@pytest.mark.parametrize("temperature", [0.06, 0.01])
def test_a_small_batch_in_one_function_is_the_engine(
    name: str,
    views: int,
    options: dict[str, Any],
    temperature: float,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    t = torch.tensor(temperature, dtype=torch.float64, requires_grad=True)
    for rows in (slice(None), slice(3, 7)):
        z = embeddings(views, 9)
        with torch.no_grad():
            z[1, :2] = 3 * z[0, :2] + 1e-3 * z[1, :2]  # positives that hold nearly all of their sum
        whole = get_loss(name)(z, rows=rows, temperature=t, **options)
        if temperature > 0.01 or name not in {"mv_infonce", "relic"}:  # whose sums would overflow
            assert "Loss" in functions_of(whole)
        with monkeypatch.context() as patch:
            patch.setattr("cl.losses._pairwise.MAX_PAIRS", {"cpu": 0})
            patch.setattr("cl.losses._pairwise.is_one_function", lambda _: False)
            patch.setattr("cl.losses._pairwise.MAX_MASKED", 0)
            patch.setattr("cl.losses.relic.MAX_SAFE_SCALE", 0)
            blocks = get_loss(name)(z, rows=rows, temperature=t, **options)
            assert "Loss" not in functions_of(blocks)
        assert_same_value_and_gradients(whole, blocks, (z, t))


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("mnrl", {}),
        ("info_nce", {"symmetric": False}),
        ("info_nce_angle", {}),
        ("info_nce_angle", {"margin": 40.0}),
    ],
)
@pytest.mark.parametrize("temperature", [0.06, 0.01])
@pytest.mark.parametrize("learned", [True, False])
def test_rows_by_blocks_of_anchors_are_the_engine(
    name: str,
    options: dict[str, Any],
    temperature: float,
    learned: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each anchor among all samples of another view, of a batch too large to keep all pairs."""
    t = torch.tensor(temperature, dtype=torch.float64, requires_grad=True)
    monkeypatch.setattr("cl.losses._pairwise.MAX_PAIRS", {"cpu": 0})
    monkeypatch.setattr("cl.losses._whole.BLOCK_PAIRS", 20)  # two anchors at a time
    for rows in (slice(None), slice(3, 8)):
        z = embeddings(2, 9)
        with torch.no_grad():
            z[1, :2] = 3 * z[0, :2] + 1e-3 * z[1, :2]  # positives that hold nearly all of their sum
        given = t if learned else temperature
        loss = partial(get_loss(name), z, rows=rows, temperature=given, **options)
        by_rows = loss()
        assert "RowwiseLoss" in functions_of(by_rows)
        with torch.no_grad():
            assert torch.equal(loss(), by_rows)
        with monkeypatch.context() as patch:
            patch.setattr("cl.losses._pairwise.is_one_function", lambda _: False)
            patch.setattr("cl.losses._pairwise.MAX_MASKED", 0)
            blocks = loss()
            assert "Loss" not in functions_of(blocks)
        assert_same_value_and_gradients(by_rows, blocks, (z, t) if learned else (z,))


@pytest.mark.parametrize("target", [None, embeddings(2, 9).detach().flip(0)])
def test_relic_by_blocks_of_anchors(target: Tensor | None, monkeypatch: pytest.MonkeyPatch) -> None:
    t = torch.tensor(0.1, dtype=torch.float64, requires_grad=True)
    for rows in (slice(None), slice(3, 7)):
        z = embeddings(3, 9)
        loss = partial(get_loss("relic"), z, None, rows, target, temperature=t)
        whole = loss()
        with monkeypatch.context() as patch:
            patch.setattr("cl.losses._pairwise.MAX_PAIRS", {"cpu": 0})
            patch.setattr("cl.losses.relic.CPU_PAIRS", 20)  # two anchors at a time
            blocks = loss()
        assert "RelicLoss" in functions_of(blocks)
        assert_same_value_and_gradients(whole, blocks, (z, t))
