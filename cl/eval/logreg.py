"""Multinomial logistic regression by L-BFGS: one optimum, whatever the seed."""

from collections.abc import Callable, Iterator, Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from cl.eval.choose import Part, Tested, choose, labelled
from cl.eval.judge import Found, judged
from cl.nets.probe import hits


def accuracy(
    train: Part,
    test: Tested,
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
    classifier = fitted(labelled(train), classes, l2=l2, steps=steps)
    queries, labels = labelled(test)
    return float(hits(classifier(queries), labels, 1) / len(labels))


def logistic(
    train: Part, test: Tested, classes: int, cs: Sequence[float] = (1.0,), seed: int = 0
) -> Found:
    r"""Logistic regression of standardised features, as scikit-learn's with `StandardScaler`.

    Args:
        train: what the classifier is fitted to.
        test: what it is measured on.
        classes: how many there are.
        cs: scikit-learn's C, so that $\lambda = 1 / (n C)$; of several the best on a held-out part
            of the training data, with which the classifier is then fitted to all of it.
        seed: of that part.
    """

    def scores(part: Part, queries: Tensor) -> Iterator[tuple[float, Tensor]]:
        for c in cs:
            yield c, answer(part, queries, c)

    def answer(part: Part, queries: Tensor, c: float) -> Tensor:
        return fitted(part, classes, l2=1 / (c * len(part[0])))(queries)

    train = labelled(train)
    best = choose(cs, scores, train, seed)
    return judged(
        answer(train, test[0], best),
        test[1],
        chosen={"c": best} if len(cs) > 1 else {},
        how={"c": best, "normalisation": "standardised by the training part"},
    )


def fitted(
    part: Part, classes: int, *, l2: float, steps: int = 500
) -> Callable[[Float[Tensor, "n d"]], Float[Tensor, "n c"]]:
    """The classifier of a part's standardised features, from features to logits."""
    h = part[0].float()
    mean, deviation = h.mean(dim=0), h.std(dim=0).clamp(min=1e-6)
    classifier = fit((h - mean) / deviation, part[1], classes, l2=l2, steps=steps)
    return lambda queries: classifier((queries.float() - mean) / deviation)


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
        tolerance_grad=1e-6,
        tolerance_change=1e-10,
        history_size=20,
        line_search_fn="strong_wolfe",
    )

    def closure() -> Tensor:
        search.zero_grad()
        losses = F.cross_entropy(classifier(h), labels, reduction="none")
        # In float32 the line search would take the mean's rounding for the minimum.
        loss = losses.mean(dtype=torch.float64) + l2 / 2 * classifier.weight.square().sum()
        loss.backward()
        return loss

    with torch.enable_grad():
        search.step(closure)
    return classifier.requires_grad_(False)
