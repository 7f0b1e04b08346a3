"""Curves have the numbers of metrics.csv: gaps where one is missing, at most so many points."""

from pathlib import Path
from typing import Any

import pytest

from cl.report.charts import POINTS, Chart, charts_of, main_charts, thinned
from cl.report.draw import spec
from cl.runs.listing import read_run
from tests.runs.made import CURVE, ENDS, made_evaluation, made_run

PLANE = {"monitor/alignment": 0.5, "monitor/uniformity": -2.0}


def charts(*folders: Path) -> dict[str, Chart]:
    found, _ = charts_of([read_run(folder) for folder in folders])
    return {chart.title: chart for chart in found}


def test_one_runs_accuracies_share_a_chart(tmp_path: Path) -> None:
    found = charts(made_run(tmp_path / "a"))
    accuracy = found["Top-1 accuracy while training"]
    assert [s.name for s in accuracy.series] == ["probe, validation", "kNN, validation"]
    assert accuracy.series[0].x == [10, 20, 30]
    assert "Probe accuracy, validation" not in found
    assert found["Training loss"].series[0].y == [4, 3, 2]


def test_the_main_charts_are_of_what_a_run_has(tmp_path: Path) -> None:
    """Of texts the measures of their ranking; nothing before the first row."""
    rows = [{"step": 5, "train/loss": 1.0, "val/mrr10": 0.3, "lr": 0.1}]
    folder = made_run(tmp_path / "a", "", [])
    assert main_charts(read_run(folder)) == []
    (folder / "metrics.csv").write_text(
        "step,train/loss,val/mrr10,lr\n"
        + "".join(",".join(map(str, r.values())) for r in rows)
        + "\n"
    )
    assert [c.title for c in main_charts(read_run(folder))] == ["Training loss", "val/mrr10"]


def test_several_runs_have_a_curve_and_a_color_each(tmp_path: Path) -> None:
    """A run without a column keeps its color in the charts that it is in."""
    without = [row | {k: v for k, v in ENDS.items() if k != "val/knn_top1"} for row in CURVE]
    found = charts(made_run(tmp_path / "a", "", without), made_run(tmp_path / "b"))
    assert [s.name for s in found["Probe accuracy, validation"].series] == ["a", "b"]
    near = found["kNN accuracy, validation"]
    assert [s.name for s in near.series] == ["b"]
    scale = spec(near)["encoding"]["color"]["scale"]
    assert dict(zip(scale["domain"], scale["range"], strict=True))["b"] == "var(--c2)"


def test_what_is_not_finite_is_a_gap_and_what_is_empty_is_not(tmp_path: Path) -> None:
    losses = [4.0, "nan", "", "inf", 1.0]
    rows = [
        {"step": i, "epoch": i, "train/loss": loss} | ENDS | PLANE for i, loss in enumerate(losses)
    ]
    rows[2]["monitor/uniformity"] = "nan"
    found = charts(made_run(tmp_path / "a", "", rows))
    (loss,) = found["Training loss"].series
    assert (loss.x, loss.y) == ([0, 1, 3, 4], [4, None, None, 1])
    (plane,) = found["Alignment and uniformity by epoch (both are better when smaller)"].series
    assert len(plane.x) == 4


def test_an_epochs_mean_is_no_spike_between_steps(tmp_path: Path) -> None:
    steps = [{"step": 2 * i, "epoch": 0, "train/loss": 4 - i} for i in range(4)]
    end = {"step": 7, "epoch": 0, "train/loss": 3} | ENDS
    (loss,) = charts(made_run(tmp_path / "a", "", [*steps, end]))["Training loss"].series
    assert loss.y == [4, 3, 2, 1]
    (loss,) = charts(made_run(tmp_path / "b", "", [steps[0], end]))["Training loss"].series
    assert loss.y == [3]


def test_long_curves_are_thinned_and_it_is_said(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [
        {"step": i, "epoch": i, "train/loss": i} | ENDS for i in range(1001)
    ]
    found, notes = charts_of([read_run(made_run(tmp_path / "a", "", rows))])
    (loss,) = found[0].series
    assert len(loss.x) == POINTS
    assert (loss.x[0], loss.x[-1]) == (0, 1000)
    assert notes == [f"Curves show {POINTS} of up to 1,001 points, evenly spread."]


@pytest.mark.parametrize("n", [0, 1, POINTS, POINTS + 1, 3 * POINTS])
def test_thinning_keeps_order_and_ends(n: int) -> None:
    kept = thinned([*range(n)])
    assert len(kept) == min(n, POINTS)
    assert kept == sorted(set(kept))
    assert not n or (kept[0], kept[-1]) == (0, n - 1)


def test_runs_without_numbers_have_no_charts(tmp_path: Path) -> None:
    folder = made_run(tmp_path / "a", "", [])
    assert charts(folder) == {}
    (folder / "metrics.csv").unlink()
    assert charts(folder, made_evaluation(tmp_path / "b")) == {}


@pytest.mark.filterwarnings("ignore:.*is cut in its last line")
def test_a_cut_row_is_in_no_chart(tmp_path: Path) -> None:
    folder = made_run(tmp_path / "a")
    with (folder / "metrics.csv").open("a") as file:
        file.write("40,3,9")
    assert charts(folder)["Training loss"].series[0].y == [4, 3, 2]


def test_an_evaluations_loss_is_not_drawn_beside_a_pretrainings(tmp_path: Path) -> None:
    made = made_evaluation(tmp_path / "b")
    text = (made_run(tmp_path / "a") / "metrics.csv").read_text()
    (made / "metrics.csv").write_text(text)
    assert [s.name for s in charts(tmp_path / "a", made)["Training loss"].series] == ["a"]
    assert [s.name for s in charts(made)["Training loss"].series] == ["b"]
