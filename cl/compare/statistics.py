"""Statistics of a comparison: rows (what is compared) times seeds (blocks).

Runs with the same seed start from the same weights and see the same images in the same order, so a
seed is a block: the model is `value = row + seed + noise`, fitted by least squares, with one
variance for all rows. All pairs of rows are compared by Tukey's studentized range, rows with a
reference by Dunnett's test; both keep the chance of any false difference of rows at 5 %. The
bootstrap and paired t-tests do not at these numbers of seeds. McNemar's tests, of test images, are
a family of their own, by Holm's correction.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import optimize, stats

LEVEL = 0.95
SPREAD = 2.5  # a row whose standard deviation is that many times the others' is said
Cells = Iterable[tuple[str, object, float]]  # row, seed, value
Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Interval:
    """A mean with its confidence interval.

    Args:
        mean: of the values.
        low: lower end; None of a single value, which has no interval.
        high: upper end.
        n: number of values.
    """

    mean: float
    low: float | None
    high: float | None
    n: int


@dataclass(frozen=True)
class Difference:
    """How far two rows are from each other.

    Args:
        row: the one.
        reference: what is subtracted.
        difference: of their means, seeds held fixed.
        low: lower end of the simultaneous confidence interval; None without degrees of freedom.
        high: upper end.
        p: the p-value, adjusted for all comparisons of the family.
    """

    row: str
    reference: str
    difference: float
    low: float | None = None
    high: float | None = None
    p: float | None = None

    @property
    def significant(self) -> bool:
        """Whether zero lies outside of the interval."""
        return self.low is not None and self.high is not None and not self.low <= 0 <= self.high


@dataclass(frozen=True)
class Fit:
    """The additive model of rows and seeds.

    Args:
        rows: names, in the order of the table.
        effects: estimate of each row, up to a constant that all share.
        covariance: of the effects, for a variance of the noise of 1.
        variance: of the noise, pooled over the rows.
        df: its degrees of freedom; 0 where nothing is left to estimate it from.
        residuals: by row, of the values around the model.
    """

    rows: tuple[str, ...]
    effects: Array
    covariance: Array
    variance: float
    df: int
    residuals: Mapping[str, Array]


def t_interval(values: Sequence[float], level: float = LEVEL) -> Interval:
    """Student's t interval of a mean.

    >>> t_interval([1.0, 2.0, 3.0])  # doctest: +ELLIPSIS
    Interval(mean=2.0, low=-0.484..., high=4.484..., n=3)
    >>> t_interval([5.0])
    Interval(mean=5.0, low=None, high=None, n=1)
    """
    n, mean = len(values), float(np.mean(values))
    if n < 2:
        return Interval(mean, None, None, n)
    half = stats.t.ppf((1 + level) / 2, n - 1) * np.std(values, ddof=1) / np.sqrt(n)
    return Interval(mean, float(mean - half), float(mean + half), n)


def fit_blocks(cells: Cells) -> Fit:
    """Fit `value = row + seed + noise` by least squares; cells may be missing.

    Args:
        cells: row, seed and value of each cell that there is; rows stand in the order of the first.

    Raises:
        ValueError: rows share no seeds, not even through other rows, so that their difference
            cannot be separated from that of the seeds.
    """
    names, blocks, values = zip(*cells, strict=True)
    rows, seeds = tuple(dict.fromkeys(names)), [*dict.fromkeys(blocks)]
    row, seed = [rows.index(name) for name in names], [seeds.index(block) for block in blocks]
    design = np.zeros((len(values), len(rows) + len(seeds)))
    design[range(len(values)), row] = 1
    design[range(len(values)), [len(rows) + at for at in seed]] = 1
    observed = np.array(values)
    rank = np.linalg.matrix_rank(design)
    if rank < len(rows) + len(seeds) - 1:
        raise ValueError("some rows have no seed in common with the others; run the same seeds")
    inverse = np.linalg.pinv(design)
    solution = inverse @ observed
    left = observed - design @ solution
    df = len(values) - int(rank)
    residuals = {name: left[np.array(row) == at] for at, name in enumerate(rows)}
    variance = float(left @ left) / df if df else float("nan")
    covariance = (inverse @ inverse.T)[: len(rows), : len(rows)]
    effects = np.asarray(solution[: len(rows)], dtype=np.float64)
    return Fit(rows, effects, covariance, variance, df, residuals)


def all_pairs(model: Fit, level: float = LEVEL) -> list[Difference]:
    """Every pair of rows by Tukey's studentized range (Kramer's form where cells are missing).

    Args:
        model: see `fit_blocks`.
        level: at which all intervals together cover.
    """
    pairs = [*combinations(range(len(model.rows)), 2)]
    names = [(model.rows[a], model.rows[b]) for a, b in pairs]
    contrasts = [contrast(model, a, b) for a, b in pairs]
    if not usable(model):
        return [Difference(*n, value) for n, (value, _) in zip(names, contrasts, strict=True)]
    family, root = stats.studentized_range(len(model.rows), model.df), np.sqrt(2)
    critical = studentized_range(len(model.rows), model.df, level) / root
    return [
        simultaneous(n, value, error, critical, lambda t: float(family.sf(root * t)))
        for n, (value, error) in zip(names, contrasts, strict=True)
    ]


@cache
def studentized_range(rows: int, df: int, level: float) -> float:
    """Tukey's critical value; it takes a third of a second."""
    return float(stats.studentized_range.ppf(level, rows, df))


def against(model: Fit, reference: str, level: float = LEVEL) -> list[Difference]:
    """Every other row minus the reference, by Dunnett's test (two-sided).

    Args:
        model: see `fit_blocks`.
        reference: the row that is subtracted.
        level: at which all intervals together cover.
    """
    at = model.rows.index(reference)
    others = [i for i in range(len(model.rows)) if i != at]
    pairs = [contrast(model, i, at) for i in others]
    names = [(model.rows[i], reference) for i in others]
    if not usable(model):
        return [Difference(*n, value) for n, (value, _) in zip(names, pairs, strict=True)]
    contrasts = np.zeros((len(others), len(model.rows)))
    for k, i in enumerate(others):
        contrasts[k, [i, at]] = 1, -1
    covariance = contrasts @ model.covariance @ contrasts.T
    scale = np.sqrt(np.diag(covariance))
    family = MaxT(covariance / np.outer(scale, scale), model.df)
    critical = family.ppf(level)
    return [
        simultaneous(n, value, error, critical, family.sf)
        for n, (value, error) in zip(names, pairs, strict=True)
    ]


def simultaneous(
    names: tuple[str, str],
    value: float,
    error: float,
    critical: float,
    sf: Callable[[float], float],
) -> Difference:
    """A difference with its interval and p-value.

    Args:
        names: of the two rows.
        value: of the difference.
        error: its standard error.
        critical: how many standard errors half the interval is.
        sf: the p-value of a difference of so many standard errors.
    """
    p = sf(abs(value) / error) if error else float(value == 0)
    return Difference(*names, value, value - critical * error, value + critical * error, p)


class MaxT:
    """The largest absolute value of a multivariate t.

    Args:
        correlation: of its components.
        df: degrees of freedom.
    """

    def __init__(self, correlation: Array, df: int) -> None:
        # scipy's own annotations take it for a normal distribution of one dimension.
        self.t: Any = stats.multivariate_t(shape=correlation, df=df, allow_singular=True)  # pyright: ignore[reportArgumentType]
        self.size = len(correlation)

    def sf(self, x: float) -> float:
        """The probability that it is larger than x."""
        if self.size == 1:
            return float(2 * stats.t.sf(x, self.t.df))
        bound = np.full(self.size, x)
        inside = self.t.cdf(bound, lower_limit=-bound, random_state=np.random.default_rng(0))
        return float(np.clip(1 - inside, 0, 1))

    def ppf(self, level: float) -> float:
        """The value that it stays below with that probability."""
        low = stats.t.ppf((1 + level) / 2, self.t.df)
        if self.size == 1:
            return float(low)
        high = stats.t.ppf(1 - (1 - level) / 2 / self.size, self.t.df)  # Bonferroni's
        root: Any = optimize.brentq(lambda x: self.sf(x) - (1 - level), low, high, xtol=1e-4)
        return float(root)


def usable(model: Fit) -> bool:
    """Whether there is a variance of the noise: more cells than rows and seeds."""
    return model.df > 0


def contrast(model: Fit, a: int, b: int) -> tuple[float, float]:
    """The difference of two rows and its standard error."""
    c = model.covariance
    scale = c[a, a] + c[b, b] - 2 * c[a, b]
    variance = model.variance if model.df else 0.0
    return float(model.effects[a] - model.effects[b]), float(np.sqrt(max(scale, 0) * variance))


def uneven(model: Fit) -> Iterator[tuple[str, float, float]]:
    """Rows whose spread is far above the others': name, ratio of the spreads, Levene's p-value.

    One variance for all rows is then no good model. With fewer than three seeds nothing is said; of
    k rows the ratio is k - 1 at most, since residuals are those around the seeds' means.
    """
    for name in model.rows:
        own = model.residuals[name]
        rest = np.concatenate([np.zeros(0), *(v for r, v in model.residuals.items() if r != name)])
        if len(own) < 3 or not len(rest):
            continue
        ratio = float(np.sqrt(np.mean(own**2) / max(np.mean(rest**2), 1e-300)))
        if ratio > SPREAD:
            yield name, ratio, float(stats.levene(own, rest).pvalue)


def mcnemar(a: npt.NDArray[np.int64], b: npt.NDArray[np.int64]) -> float | None:
    """The exact p-value of McNemar's test, that two classifiers are right equally often.

    It is of the test images alone: whether these two encoders differ on other images, and not
    whether their losses do with other seeds (McNemar 1947, Psychometrika 12).

    Args:
        a: `(n 2)`, the true and the predicted class of each image.
        b: of the other classifier.

    Returns:
        The p-value; None where the images are not the same ones in the same order.
    """
    if len(a) != len(b) or not np.array_equal(a[:, 0], b[:, 0]):
        return None
    right, other = a[:, 0] == a[:, 1], b[:, 0] == b[:, 1]
    alone, others = int((right & ~other).sum()), int((other & ~right).sum())
    return float(stats.binomtest(alone, alone + others).pvalue) if alone + others else 1.0


def holm(p: Sequence[float]) -> list[float]:
    """Adjust p-values so that the chance of any false one below a level is that level.

    By Holm (1979, Scandinavian Journal of Statistics 6): the smallest of m times m, the next one
    times m - 1 and so on, none below the one before it. The tests may depend on each other.

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    order = np.argsort(p, kind="stable")
    scaled = np.asarray(p, dtype=np.float64)[order] * np.arange(len(p), 0, -1)
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(np.maximum.accumulate(scaled), 1)
    return adjusted.tolist()
