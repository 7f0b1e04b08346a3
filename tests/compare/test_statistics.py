"""Statistics of a comparison against R's documentation, a textbook, tables and simulations."""

import math
from itertools import combinations

import numpy as np
import pytest
from scipy import stats

from cl.compare.statistics import (
    Difference,
    MaxT,
    against,
    all_pairs,
    fit_blocks,
    holm,
    mcnemar,
    studentized_range,
    t_interval,
    uneven,
)
from cl.compare.table import claim

WARPBREAKS = {  # R's data set: breaks by wool and tension
    "A": {
        "L": [26, 30, 54, 25, 70, 52, 51, 26, 67],
        "M": [18, 21, 29, 17, 12, 18, 35, 30, 36],
        "H": [36, 21, 24, 18, 10, 43, 28, 15, 26],
    },
    "B": {
        "L": [27, 14, 29, 19, 29, 31, 41, 20, 44],
        "M": [42, 26, 19, 16, 39, 28, 21, 39, 29],
        "H": [20, 21, 24, 17, 13, 15, 15, 16, 28],
    },
}
GRAFTS = {  # Montgomery, Design and Analysis of Experiments, table 4.3: pressure and batch
    "8500": [90.3, 89.2, 98.2, 93.9, 87.4, 97.9],
    "8700": [92.5, 89.5, 90.6, 94.7, 87.0, 95.8],
    "8900": [85.5, 90.8, 89.6, 86.2, 88.0, 93.4],
    "9100": [82.5, 89.5, 85.6, 87.4, 78.9, 90.7],
}


def cells(table: np.ndarray) -> list[tuple[str, int, float]]:
    """Cells of an array of rows and seeds; what is NaN is missing."""
    return [(f"r{i}", s, v) for i, r in enumerate(table) for s, v in enumerate(r) if v == v]


def test_tukey_is_that_of_rs_documentation() -> None:
    """`TukeyHSD(aov(breaks ~ wool + tension, warpbreaks), "tension")`."""
    model = fit_blocks(
        (tension, wool, float(value))
        for tension in ("H", "M", "L")
        for wool in WARPBREAKS
        for value in WARPBREAKS[wool][tension]
    )
    found = {(d.row, d.reference): (d.difference, d.low, d.high, d.p) for d in all_pairs(model)}
    expected = {
        ("M", "L"): (-10.000000, -19.3534207, -0.6465793, 0.0336262),
        ("H", "L"): (-14.7222222, -24.0756429, -5.3688015, 0.0011218),
        ("H", "M"): (-4.7222222, -14.0756429, 4.6311985, 0.4474210),
    }
    for pair, numbers in expected.items():
        assert found[pair] == pytest.approx(numbers, abs=1e-6)


def test_blocks_are_those_of_a_textbook() -> None:
    model = fit_blocks((row, i, v) for row, values in GRAFTS.items() for i, v in enumerate(values))
    assert (model.df, round(model.variance, 2)) == (15, 7.33)
    (first, *_) = all_pairs(model)
    assert first.difference == pytest.approx(92.82 - 91.68, abs=0.01)
    assert first.low is not None
    assert first.high is not None
    assert (first.high - first.low) / 2 == pytest.approx(4.08 * (7.33 / 6) ** 0.5, abs=0.01)


@pytest.mark.parametrize(
    ("rows", "df", "tabled"), [(3, 10, 3.88), (4, 15, 4.08), (5, 20, 4.23), (10, 20, 5.01)]
)
def test_tukeys_table(rows: int, df: int, tabled: float) -> None:
    assert studentized_range(rows, df, 0.95) == pytest.approx(tabled, abs=0.006)


@pytest.mark.parametrize(
    ("others", "df", "tabled"), [(1, 10, 2.23), (2, 10, 2.57), (3, 6, 3.10), (9, 20, 2.95)]
)
def test_dunnetts_table(others: int, df: int, tabled: float) -> None:
    half = np.full((others, others), 0.5) + 0.5 * np.eye(others)
    assert MaxT(half, df).ppf(0.95) == pytest.approx(tabled, abs=0.006)


def test_dunnett_with_one_other_row_is_the_paired_t_test() -> None:
    table = np.random.default_rng(0).standard_normal((2, 5))
    (found,) = against(fit_blocks(cells(table)), "r1")
    expected = stats.ttest_rel(*table)
    assert found.p == pytest.approx(expected.pvalue, abs=1e-6)
    assert (found.low, found.high) == pytest.approx(tuple(expected.confidence_interval()), abs=1e-6)


def test_holes_are_fitted_by_least_squares() -> None:
    """As if the missing cell had a parameter of its own, which takes it out of the model."""
    table = np.random.default_rng(1).standard_normal((4, 3))
    table[2, 1] = np.nan
    model = fit_blocks(cells(table))
    there = ~np.isnan(table)
    design = np.zeros((12, 4 + 2 + 1))
    for at, (i, s) in enumerate(np.ndindex(4, 3)):
        design[at, i] = 1
        if s:
            design[at, 3 + s] = 1
        design[at, 6] = not there[i, s]
    solution, residual, *_ = np.linalg.lstsq(design, np.nan_to_num(table).ravel(), rcond=None)
    assert model.df == 12 - 7
    assert model.variance == pytest.approx(residual.item() / 5)
    (*_, last) = all_pairs(model)
    assert last.difference == pytest.approx(solution[2] - solution[3])


def test_rows_without_a_common_seed_are_refused() -> None:
    with pytest.raises(ValueError, match="no seed in common"):
        fit_blocks([("a", 0, 1.0), ("a", 1, 2.0), ("b", 2, 1.0), ("b", 3, 2.0)])


def test_one_seed_has_no_interval() -> None:
    (found,) = all_pairs(fit_blocks([("a", 0, 1.0), ("b", 0, 3.0)]))
    assert (found.low, found.significant) == (None, False)
    assert found.difference == pytest.approx(-2)
    assert t_interval([3.0]).low is None


def test_the_interval_covers() -> None:
    """At three, five and ten seeds, 4,000 times each, of a mean that is 0."""
    rng = np.random.default_rng(0)
    for n in (3, 5, 10):
        found = [t_interval(list(rng.standard_normal(n))) for _ in range(4000)]
        inside = np.mean([i.low < 0 < i.high for i in found if i.low is not None and i.high])
        assert 0.94 <= inside <= 0.96


@pytest.mark.parametrize("against_one", [False, True])
def test_no_more_than_a_twentieth_of_tables_has_a_false_difference(against_one: bool) -> None:
    """Rows that do not differ, seeds that do; the p-values are not needed for it."""
    rng, tables, false = np.random.default_rng(0), 1500, 0
    half = np.full((4, 4), 0.5) + 0.5 * np.eye(4)
    tukey = studentized_range(5, 8, 0.95) / 2**0.5
    critical = MaxT(half, 8).ppf(0.95) if against_one else tukey
    pairs = [(0, i) for i in range(1, 5)] if against_one else [*combinations(range(5), 2)]
    for _ in range(tables):
        model = fit_blocks(cells(rng.standard_normal((5, 3)) + 3 * rng.standard_normal(3)))
        error = (2 / 3 * model.variance) ** 0.5
        false += any(abs(model.effects[a] - model.effects[b]) > critical * error for a, b in pairs)
    assert 0.035 <= false / tables <= 0.06


def test_a_row_that_spreads_is_said() -> None:
    table = np.random.default_rng(3).standard_normal((6, 4))
    assert [*uneven(fit_blocks(cells(table)))] == []
    table[0] *= 3
    ((name, ratio, _),) = uneven(fit_blocks(cells(table)))
    assert name == "r0"
    assert 2.5 < ratio < 4
    table[0] *= 1e6
    ((_, ratio, _),) = uneven(fit_blocks(cells(table)))
    assert ratio == pytest.approx(5)  # of six rows none is farther from the seeds' means


@pytest.mark.parametrize(
    ("low", "p", "said"),
    [(0.05, 0.0123, "p = 0.012"), (0.05, 0.0, "p < 1e-06"), (-0.05, 0.3, "not told apart")],
)
def test_a_claim_says_no_more_than_its_integral(low: float, p: float, said: str) -> None:
    assert claim(Difference("a", "b", 0.1, low, 0.2, p)) == said


def test_mcnemar_is_the_sign_test_of_the_discordant_images() -> None:
    """5 images that only the one has right, 15 that only the other has; the rest say nothing."""
    labels = np.arange(60) % 4
    one, other = np.stack([labels, labels], 1), np.stack([labels, labels], 1)
    one[:15, 1] += 1
    other[15:20, 1] += 1
    one[20:30, 1] += 1
    other[20:30, 1] += 2  # both are wrong, otherwise
    expected = 2 * sum(math.comb(20, k) for k in range(6)) / 2**20
    assert mcnemar(one, other) == pytest.approx(expected, rel=1e-12)
    assert mcnemar(other, one) == pytest.approx(expected, rel=1e-12)
    assert mcnemar(one, one) == 1.0
    assert mcnemar(one, other[::-1]) is None
    assert mcnemar(one, other[:-1]) is None


def test_holm_is_rs() -> None:
    """`p.adjust(c(0.01, 0.02, 0.03, 0.04, 0.05), "holm")` and orders of it; none is above 1."""
    assert holm([0.01, 0.02, 0.03, 0.04, 0.05]) == pytest.approx([0.05, 0.08, 0.09, 0.09, 0.09])
    assert holm([0.04, 0.01, 0.05, 0.03, 0.02]) == pytest.approx([0.09, 0.05, 0.09, 0.09, 0.08])
    assert holm([0.6, 0.7]) == [1.0, 1.0]
    assert holm([]) == []


def test_holm_keeps_a_twentieth() -> None:
    """Of 2,000 families of 33 tests without a difference; without it most have a false one."""
    p = np.random.default_rng(0).uniform(size=(2000, 33))
    assert 0.035 <= np.mean([min(holm(each)) < 0.05 for each in p.tolist()]) <= 0.06
    assert (p.min(axis=1) < 0.05).mean() > 0.75
