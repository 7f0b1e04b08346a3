"""`make bench`: turns, ratios, floors, and the page made of them."""

import itertools
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks import __main__ as bench
from benchmarks import formulas, loss, page
from benchmarks.ratios import by_turns, read, save


def given(*values: float) -> Callable[[], float]:
    """A run that returns these, one a turn."""
    each = itertools.cycle(values)
    return lambda: next(each)


def test_a_ratio_is_the_median_of_the_rounds() -> None:
    runs = {"ours": given(1, 2, 4), "peer": given(8, 4, 4)}
    (times,) = by_turns("t", "c", "ms", runs, 3, {"peer": 3.0}, warm=0)
    assert (times.times, times.low, times.high) == (2, 1.5, 5)
    assert not times.holds
    assert times.line().endswith("BELOW ITS FLOOR")
    (rates,) = by_turns("t", "c", "images/s", runs, 3, {"peer": 0.4}, warm=0)
    assert (rates.times, rates.ours, rates.theirs) == (0.5, 2, 4)
    assert rates.holds
    assert rates.peer == "peer"


def test_the_first_turn_warms_up() -> None:
    (found,) = by_turns("t", "c", "s", {"ours": given(9, 1, 1), "peer": given(9, 2, 2)}, 2)
    assert found.times == 2


def test_kept_ratios_are_those_that_were_measured(tmp_path: Path) -> None:
    found = by_turns("t", "c", "s", {"ours": given(1), "peer": given(2)}, 1)
    save(found, tmp_path / "kept.json")
    assert read(tmp_path / "kept.json") == found


def test_every_script_that_yields_ratios_is_run() -> None:
    assert {"data", "loss", "start", "training"} <= {*bench.scripts()}
    assert not {"ratios", "page", "__main__"} & {*bench.scripts()}


def test_the_page_is_made_of_the_results() -> None:
    text = page.PAGE.read_text()
    assert page.made(page.known(page.RESULTS)) in text


def test_a_floor_that_does_not_hold_fails_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    below = by_turns("t", "case", "s", {"ours": given(2), "peer": given(1)}, 1, {"peer": 1.0}, 0)

    class Process:
        """Measures at once."""

        exitcode = 0

        def __init__(self, target: object, args: tuple[str, Path]) -> None:
            save(below, args[1])

        def start(self) -> None: ...
        def join(self) -> None: ...

    monkeypatch.setattr(bench.multiprocessing, "get_context", lambda _: bench)
    monkeypatch.setattr(bench, "Process", Process, raising=False)
    monkeypatch.setattr("sys.argv", ["bench", "start", "--out", str(tmp_path)])
    assert bench.main() == 1
    assert "FAILED: case, peer" in capsys.readouterr().out
    (part,) = json.loads((tmp_path / page.RESULTS.name).read_text())
    assert part["script"] == "start"
    assert "| case | peer | 1 s | 2 s | **0.50** (0.50 to 0.50) | 1 | 1 |" in page.made(
        page.known(tmp_path / page.RESULTS.name)
    )


@pytest.mark.parametrize("name", formulas.FORMULAS)
def test_the_formulas_are_the_losses(name: str) -> None:
    """What is timed beside ours computes the same."""
    runs, z = loss.entrants(name, 64)
    values = [run(z.detach()).item() for run in runs.values()]
    assert values == pytest.approx(values[:1] * len(values), rel=1e-4)
