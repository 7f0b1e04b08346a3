"""Multinomial logistic regression by L-BFGS: one optimum, whatever the seed."""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from cl.nets.probe import hits


def accuracy(
    train: tuple[Float[Tensor, "n d"], Int[Tensor, " n"]],
    test: tuple[Float[Tensor, "m d"], Int[Tensor, " m"]],
    classes: int,
    *,
    l2: float = 1e-4,
    steps: int = 200,
) -> float:
    r"""Top-1 share on `test` of the classifier that minimises its mean loss on `train`.

    The loss is cross-entropy plus $\lambda/2 \lVert W \rVert^2$ on features standardised with the
    training part's mean and deviation; samples with labels < 0 take no part.

    Args:
        train: features and labels the classifier is fitted to.
        test: features and labels it is measured on.
        classes: how many there are.
        l2: $\lambda$; scikit-learn's C = 1 is 1/n.
        steps: L-BFGS iterations at most.
    """
    h, labels = train[0][train[1] >= 0].float(), train[1][train[1] >= 0]
    mean, deviation = h.mean(dim=0), h.std(dim=0).clamp(min=1e-6)
    classifier = fit((h - mean) / deviation, labels, classes, l2=l2, steps=steps)
    kept = test[1] >= 0
    with torch.no_grad():
        logits = classifier((test[0][kept].float() - mean) / deviation)
    return float(hits(logits, test[1][kept], 1) / kept.sum())


def fit(
    h: Float[Tensor, "n d"], labels: Int[Tensor, " n"], classes: int, *, l2: float, steps: int
) -> nn.Linear:
    """The linear classifier at the minimum, from zero weights."""
    classifier = nn.Linear(h.shape[1], classes).to(h)
    nn.init.zeros_(classifier.weight)
    nn.init.zeros_(classifier.bias)
    search = torch.optim.LBFGS(
        classifier.parameters(),
        max_iter=steps,
        tolerance_grad=1e-5,
        history_size=10,
        line_search_fn="strong_wolfe",
    )

    def closure() -> Tensor:
        search.zero_grad()
        loss = F.cross_entropy(classifier(h), labels)
        loss = loss + l2 / 2 * classifier.weight.square().sum()
        loss.backward()
        return loss

    with torch.enable_grad():
        search.step(closure)
    return classifier.requires_grad_(False)
