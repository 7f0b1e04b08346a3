"""What the kernels for cards compute, by Triton's interpreter on the CPU; prints what is wrong.

    TRITON_INTERPRET=1 python -m tests.losses.interpreted

The interpreter is chosen when the kernels are defined, so this is a program of its own.
"""

import itertools

import torch

from cl import kernels
from cl.losses._fused import fused_loss
from cl.losses._pairs import Denominator
from cl.losses._pairwise import softmax_loss
from cl.losses.dhel import dhel
from cl.precision import Unit

FAR = 1e-5  # relative, of float32 against float64
N, DIM = 21, 5  # samples; tiles are of 16 pairs, so that each kind of tile occurs
ALL = slice(None)
WAYS = [
    (ALL, ALL, ALL),
    (slice(3, 20), ALL, ALL),
    (ALL, slice(0, 1), slice(1, 2)),
    (slice(3, 4), ALL, ALL),  # a process with one sample
]


def losses() -> None:
    """Every denominator by samples and by classes; local anchors, some views, one and three."""
    torch.manual_seed(0)
    classes = {"samples": None, "classes": torch.arange(N) % 4, "twos": torch.arange(N) // 2}
    denominators = [*itertools.product(("all", "same", "other"), (True, False))]
    cases = [(2, ids, *d) for ids in ("samples", "classes") for d in denominators]
    cases += [(3, "twos", "all", True), (3, "samples", "same", False), (1, "twos", "all", True)]
    for (v, ids, views, positives), way in zip(cases, itertools.cycle(WAYS), strict=False):
        rows, anchors, candidates = WAYS[0] if v == 1 else way
        given = torch.randn(v, N, DIM)
        given[-1, :3] = given[0, :3] * 3  # positives that hold nearly all of their sum
        scale = 150.0 if positives else 4.0
        places = (range(v)[anchors], range(N)[rows]), (range(v)[candidates], range(N))
        denominator = Denominator(views, positives)
        found = []
        for dtype in (torch.float32, torch.float64):
            z = given.to(dtype).requires_grad_()
            s = torch.tensor(scale, dtype=dtype, requires_grad=True)
            if dtype == torch.float32:
                loss = fused_loss(z, classes[ids], s, places, denominator, 1.0)
            else:  # by the engine, in blocks
                options = {"anchor_views": anchors, "candidate_views": candidates, "block_size": 7}
                loss = softmax_loss(z, classes[ids], rows, 1 / s, denominator, **options)
            found.append([loss.detach(), *torch.autograd.grad(loss, (z, s))])
        check(f"{v} views, {ids}, {views}, {positives}, {way}", *found)


def weights() -> None:
    """A weighted log-sum-exp, and a scale that is a number."""
    z, every = torch.randn(2, N, DIM, requires_grad=True), (range(2), range(N))
    loss = fused_loss(z, None, 2.5, (every, every), Denominator("same", positives=False), 2.0)
    exact = z.detach().double().requires_grad_()
    right = dhel(exact, temperature=0.4, both_energies=True)
    found = [[x.detach(), *torch.autograd.grad(x, y)] for x, y in ((loss, z), (right, exact))]
    check("a weight", *found)


def check(what: str, ours: list[torch.Tensor], right: list[torch.Tensor]) -> None:
    errors = [
        float((a - b).norm() / b.norm().clamp(min=1e-9)) for a, b in zip(ours, right, strict=True)
    ]
    if max(errors) > FAR:
        print(what, errors)  # noqa: T201


def vectors() -> None:
    """Zeros, and lengths whose squares overflow or vanish."""
    z = torch.randn(3, 4, 7)
    z[0, 0] = 0
    z[1, 2] *= 1e30
    z[2, 3] *= 1e-30
    ours, right = kernels.unit_vectors(z), Unit.forward(z)
    g = torch.randn_like(z)
    slopes = kernels.unit_gradient(g, *ours), Unit.pull(g, *right)
    for a, b in [*zip(ours, right, strict=True), slopes]:
        if not torch.allclose(a, b, rtol=1e-5, atol=1e-6):
            print("unit vectors", a - b)  # noqa: T201


if __name__ == "__main__":
    losses()
    weights()
    vectors()
    print("all were compared")  # noqa: T201
