"""L-BFGS to the minimum of a convex loss of a linear classifier, preconditioned."""

from collections.abc import Callable
from contextlib import suppress

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from cl.eval._blocks import Blocks

HISTORY = 20  # steps that L-BFGS keeps
ENOUGH = 1e-6  # largest entry of a gradient: ends the search
ROWS = 8  # rows for each dimension, of which the curvature is estimated
DAMPING = 0.1  # of the mean curvature; below that directions count alike
# Of more dimensions, of all or for each row, the Hessian is taken for diagonal: its factor would
# take longer than the search that it shortens.
WIDEST, WIDEST_OF_ROW = 4097, 4

SampleLosses = Callable[[Tensor, Tensor], Float[Tensor, " n"]]


class FoundError(Exception):
    """The gradient is as small as it has to be."""


def run_lbfgs(
    classifier: nn.Linear,
    blocks: Blocks,
    sample_losses: SampleLosses,
    *,
    l2: float,
    by: "Preconditioner",
    steps: int,
) -> tuple[int, float]:
    """Move a classifier to the minimum of the mean loss and the weight decay.

    Args:
        classifier: from where it is.
        blocks: features and labels.
        sample_losses: of logits and labels, convex.
        l2: the weight decay, of the weights and not of the biases.
        by: whose coordinates L-BFGS works in.
        steps: at most.

    Returns:
        Iterations, and the largest entry of the gradient there.
    """
    weight, bias = classifier.weight, classifier.bias
    start = torch.cat([weight, bias.unsqueeze(1)], dim=1).detach()
    place = nn.Parameter(by.place(start))
    lbfgs = torch.optim.LBFGS(
        [place],
        max_iter=steps,
        max_eval=2 * steps,
        tolerance_grad=0.0,  # the gradient of the weights themselves counts
        tolerance_change=1e-12,
        history_size=HISTORY,
        line_search_fn="strong_wolfe",
    )
    steepest = torch.inf

    def closure() -> Tensor:
        nonlocal steepest
        joined = by.weight(place.detach())
        weight.data, bias.data = joined[:, :-1].contiguous(), joined[:, -1].contiguous()
        classifier.zero_grad()
        # In float32 the line search would take the mean's rounding for the minimum.
        loss = l2 / 2 * weight.square().sum(dtype=torch.float64)
        loss.backward()
        for h, labels in blocks:
            mean = sample_losses(classifier(h), labels).sum(dtype=torch.float64) / len(blocks)
            mean.backward()
            loss = loss.detach() + mean.detach()
        assert weight.grad is not None
        assert bias.grad is not None
        gradient = torch.cat([weight.grad, bias.grad.unsqueeze(1)], dim=1)
        place.grad = by.gradient(gradient).contiguous()
        steepest = float(gradient.abs().max())
        if steepest <= ENOUGH:
            raise FoundError
        return loss

    with torch.enable_grad(), suppress(FoundError):
        lbfgs.step(closure)
        closure()  # where the search has ended, and not where it has tried last
    return int(lbfgs.state[place]["n_iter"]), steepest


class Preconditioner:
    r"""Coordinates in which the Hessian is about the identity, for each class and its bias.

    That of a softmax or logistic loss with equal probabilities is $s\,E[h h^T]$, to which the
    weight decay is added, and a damping, for later the probabilities are no longer equal; a
    Cholesky factor L of it makes the coordinates `weight @ L`. Of features that depend on each
    other, as an encoder's do, L-BFGS takes a fraction of the iterations (docs/experiments.md).

    Args:
        blocks: features; of many, rows that are evenly spread are enough.
        curvature: s, of a class's logit: $p (1 - p)$.
        l2: the weight decay.

    Raises:
        ValueError: a feature is not finite.
    """

    def __init__(self, blocks: Blocks, curvature: float, l2: float) -> None:
        width = blocks.h.shape[1] + 1
        stride = max(1, len(blocks) // (ROWS * width))
        diagonal = width > min(WIDEST, WIDEST_OF_ROW * len(blocks))
        total: Tensor | float = 0.0
        rows = 0
        for h, _ in blocks:
            some = F.pad(h[::stride], (0, 1), value=1.0)
            total += (some.square().sum(dim=0) if diagonal else some.T @ some).double()
            rows += len(some)
        assert isinstance(total, Tensor)
        own = curvature * total / rows
        if not own.isfinite().all():
            raise ValueError("the features are not finite in float32: NaN, or larger than 3e38")
        mean = own.mean() if diagonal else own.diagonal().mean()
        if diagonal:
            self.factor = (own + l2 + DAMPING * mean).sqrt()
            return
        own.diagonal().add_(l2 + DAMPING * mean)
        self.factor = torch.linalg.cholesky(own)

    def to(self, dtype: torch.dtype) -> "Preconditioner":
        """The same in another dtype."""
        self.factor = self.factor.to(dtype)
        return self

    def place(self, weight: Float[Tensor, "c e"]) -> Float[Tensor, "c e"]:
        """The coordinates of weights and biases."""
        return weight @ self.factor if self.factor.ndim == 2 else weight * self.factor

    def weight(self, place: Float[Tensor, "c e"]) -> Float[Tensor, "c e"]:
        """Weights and biases at a place."""
        if self.factor.ndim == 1:
            return place / self.factor
        return torch.linalg.solve_triangular(self.factor, place, upper=False, left=False)

    def gradient(self, gradient: Float[Tensor, "c e"]) -> Float[Tensor, "c e"]:
        """The gradient at a place, of that of weights and biases."""
        if self.factor.ndim == 1:
            return gradient / self.factor
        return torch.linalg.solve_triangular(self.factor.mT, gradient, upper=True, left=False)
