"""Reports: a page with all that runs' folders tell, in one file that needs no network.

`python -m cl.report RUN ... --out report.html` writes one; every run writes its own at its end.
"""

import os
import re
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from pathlib import Path
from typing import Any

import cl
from cl.report import comparison, draw, page
from cl.report.charts import charts_of, main_charts
from cl.report.draw import has_vega
from cl.runs.card import read_starts
from cl.runs.files import CONFIG, REPORT, RESULT
from cl.runs.listing import Listed, read_run
from cl.versions import versions

VIEWS, CURVES = "views.png", "curves.png"
LONGEST = 60  # signs of a setting that a picture shows
PICTURES = 12  # at most, of all runs together
WITHOUT = "The charts stand still: pip install vl-convert-python adds zoom, legend and tooltips."
OF_TRAINING = ("method", "loss", "dataset", "encoder")  # settings that head a run
TOP1 = {"probe": "online probe", "linear": "linear probe", "knn": "kNN", "untrained": "random init"}
LINEAR = {False: "logistic regression", True: "linear probe"}  # by whether a run is an evaluation


def after_run(config: Any, folder: Path, data: Any = None, *, keep: bool = False) -> None:
    """Write the report of a run that has ended; what fails is a warning and never the run's end.

    Args:
        config: the run's; without `report` nothing is written.
        folder: the run's.
        data: whose views are drawn, where it makes them itself.
        keep: leave what is there and no older than what it shows, of a run that had ended before.
    """
    from cl import runs

    if not config.report or runs.other_rank():
        return
    try:
        from cl import pictures
        from cl.data.module import ContrastiveData

        kept = kept_files(folder) if keep else set()
        if isinstance(data, ContrastiveData) and config.processes == 1 and VIEWS not in kept:
            image = pictures.draw_views(data)
            image.thumbnail((page.MOST, page.MOST))
            image.save(folder / VIEWS)
            kept.discard(REPORT)  # which shows it
        run = read_run(folder)
        with ThreadPoolExecutor(1) as beside:  # Vega-Lite draws without Python's lock
            draws = not run.evaluates and CURVES not in kept
            picture = beside.submit(write_curves, run, folder / CURVES) if draws else None
            if picture and not has_vega():  # two threads of matplotlib would share its settings
                picture.result()
            if REPORT not in kept:
                write_report([run], folder / REPORT)
            if picture:
                picture.result()
    except Exception as error:  # hours of training weigh more than any page
        warnings.warn(f"{REPORT} is not written: {error}", stacklevel=2)


def kept_files(folder: Path) -> set[str]:
    """The names of the page and its pictures that are no older than what they show."""
    from cl.checkpoints import LAST

    shown = [folder / name for name in (CONFIG, RESULT, LAST) if (folder / name).exists()]
    newest = max((file.stat().st_mtime_ns for file in shown), default=0)
    files = (folder / name for name in (VIEWS, CURVES, REPORT))
    return {file.name for file in files if file.exists() and file.stat().st_mtime_ns >= newest}


def write_curves(run: Listed, out: Path) -> None:
    """Write the curves of a pretraining as a picture, if there are any.

    Args:
        run: which one.
        out: the file.

    Raises:
        OSError: it cannot be written.
    """
    if not (charts := main_charts(run)):
        return
    names = titles([run])
    reached = [f"{names[k]} {page.percent(run.numbers[k])}" for k in names if k in run.numbers]
    words = (by_its_end(page.shown(run.settings.get(name, ""))) for name in OF_TRAINING)
    lines = f"{run.name}: {', '.join(dict.fromkeys(words))}", ", ".join(reached)
    new = out.with_name(f"{out.name}.{os.getpid()}.new")
    try:
        draw.picture_of(charts, lines[: 1 + bool(reached)]).savefig(new, format="png", dpi=120)
        new.replace(out)
    finally:
        new.unlink(missing_ok=True)


def by_its_end(name: str) -> str:
    """A name that is no longer than `LONGEST`, by its end, which says more of a path."""
    return name if len(name) <= LONGEST else f"...{name[3 - LONGEST :]}"


def write_report(runs: Sequence[Listed], out: Path, table: dict[str, Any] | None = None) -> None:
    """Write the page, whole or not at all.

    Args:
        runs: one or several.
        out: the file.
        table: of the comparison whose cells the runs are, see `comparison.sections`.

    Raises:
        OSError: it cannot be written.
    """
    curves, notes = charts_of(runs)
    title = runs[0].name if len(runs) == 1 else f"{len(runs)} runs"
    compared, charts = comparison.sections(table) if table else ("", [])
    title = str((table or {}).get("name", title))
    parts = [head(runs, title), compared, page.figures(charts) if charts else ""]
    parts.append(results(runs) if runs[1:] else "")
    if curves:
        notes += [] if has_vega() else [WITHOUT]
        said = "".join(f"<p>{page.escape(note)}</p>" for note in notes)
        parts += ["<h2>Curves</h2>", said, page.figures(curves, len(charts))]
    parts += [evaluations(runs), pictures(runs), all_settings(runs), written_with()]
    new = out.with_name(f"{out.name}.{os.getpid()}.new")
    try:
        text = page.page(title, "".join(parts), [*charts, *curves])
        new.write_text(text, encoding="utf-8")
        new.replace(out)
    finally:
        new.unlink(missing_ok=True)


def write_charts(
    runs: Sequence[Listed], folder: Path, table: dict[str, Any] | None = None
) -> list[Path]:
    """Write each chart of the page as a PNG, named after its title.

    Args:
        runs: one or several.
        folder: for the files.
        table: of the comparison whose cells the runs are.

    Raises:
        ValueError: the library that draws them is not installed.
        OSError: they cannot be written.
    """
    if not has_vega():
        raise ValueError("--png needs a package that draws: pip install vl-convert-python")
    charts = [*(comparison.sections(table)[1] if table else ()), *charts_of(runs)[0]]
    folder.mkdir(parents=True, exist_ok=True)
    files = [
        folder / f"{re.sub(r'[^a-z0-9]+', '-', c.title.lower()).strip('-')}.png" for c in charts
    ]
    for chart, file in zip(charts, files, strict=True):
        file.write_bytes(draw.png(chart))
    return files


def head(runs: Sequence[Listed], title: str) -> str:
    """What it is, and of one run what it reached."""
    above = f"<h1>{page.escape(title)}</h1>"
    if len(runs) != 1:
        return above
    (run,) = runs
    what = ("eval", "dataset", "encoder") if run.evaluates else OF_TRAINING
    words = dict.fromkeys(page.shown(run.settings.get(name, "")) for name in what)
    line = f"{', '.join(words)}; {run.state}, started {run.started:%Y-%m-%d %H:%M}"
    names = {k: name for k, name in titles(runs).items() if k in run.numbers}
    entries = [(name, page.percent(run.numbers[k])) for k, name in names.items()]
    if not run.evaluates:
        entries.append(("epochs", f"{run.epochs_done} of {run.epochs_shown}"))
    entries.append(("seed", page.shown(run.settings.get("seed"))))
    return f"{above}<p>{page.escape(line)}</p>{page.cards(entries)}"


def titles(runs: Sequence[Listed]) -> dict[str, str]:
    """What each top-1 is called; `linear` of a pretraining is that of a logistic regression."""
    kinds = sorted({run.evaluates for run in runs})
    return TOP1 | {"linear": " or ".join(LINEAR[kind] for kind in kinds)}


def results(runs: Sequence[Listed]) -> str:
    """What each of several runs reached, and what differs between them."""
    names = titles(runs)
    columns = [k for k in names if any(k in run.numbers for run in runs)]
    reached = page.table(
        ("run", "state", *(names[k] for k in columns)),
        ((r.name, r.state, *(page.percent(r.numbers.get(k)) for k in columns)) for r in runs),
        "Top-1 accuracy",
    )
    names = dict.fromkeys(chain.from_iterable(run.settings for run in runs))
    names.pop("run_id", None)
    groups = [[r.settings for r in runs if r.evaluates == evaluates] for evaluates in (False, True)]
    differ = [k for k in names if any(len({repr(s.get(k)) for s in g}) > 1 for g in groups)]
    rows = ((r.name, *(page.shown(r.settings.get(k, "")) for k in differ)) for r in runs)
    caption = "All settings are equal." if not differ else "Settings that differ"
    return f"<h2>Runs</h2>{reached}{page.table(('run', *differ), rows, caption)}"


def evaluations(runs: Sequence[Listed]) -> str:
    """The numbers of protocol cards, and the cards."""
    rows, cards = [], []
    for run in runs:
        for card in (card for card in run.cards if isinstance(card, dict)):
            numbers = card.get("numbers") or {}
            title = f"{card.get('evaluation')}, {run.name}"
            rows += [
                (title, name, page.percent(value), percents(numbers.get(f"{name}_95")))
                for name, value in numbers.items()
                if isinstance(value, float)
            ]
            entries = ((name, page.shown(value)) for name, value in flat(card))
            cards.append(page.details(f"Card of {title}", page.table(("entry", "value"), entries)))
    if not rows:
        return ""
    made = page.table(("evaluation", "measure", "test part", "95 % of test images"), rows)
    return f"<h2>Evaluations</h2>{made}{''.join(cards)}"


def pictures(runs: Sequence[Listed]) -> str:
    """Views, features and confusions, as the runs have drawn them."""
    files = [file for run in runs for file in sorted(run.folder.glob("*.png"))]
    files = [file for file in files if file.name != CURVES]  # which the page has itself
    if not files:
        return ""
    more = len(files) - PICTURES
    left_out = f"<p>{more} more are in the runs' folders.</p>" if more > 0 else ""
    shown = "".join(map(page.picture, files[:PICTURES]))
    return f"<h2>Pictures</h2>{left_out}<div class=charts>{shown}</div>"


def all_settings(runs: Sequence[Listed]) -> str:
    """All settings of each run."""
    boxes = []
    for run in runs:
        boxes.append(page.details(f"All settings of {run.name}", page.settings_table(run.settings)))
        for number, each in enumerate(read_starts(run.folder), 1):
            rows = ((name, page.shown(value)) for name, value in flat(each))
            title = f"Start {number} of {run.name}: command, versions, machine, time"
            boxes.append(page.details(title, page.table(("entry", "value"), rows)))
    return f"<h2>Settings</h2>{''.join(boxes)}"


def written_with() -> str:
    """The versions that wrote the page, which of a run's own page are the run's."""
    found = [f"cl {cl.__version__}", *(f"{name} {v}" for name, v in versions().items())]
    return f"<p>Written with {page.escape(', '.join(found))}. Nothing is loaded from elsewhere.</p>"


def flat(content: Any, path: str = "") -> list[tuple[str, Any]]:
    """The entries of nested objects, by their paths."""
    if not isinstance(content, dict):
        return [(path, content)]
    return [x for k, v in content.items() for x in flat(v, f"{path}.{k}" if path else k)]


def percents(span: Any) -> str:
    """Two bounds in percent."""
    if not (isinstance(span, list) and len(span) == 2):
        return ""
    return f"{100 * span[0]:.2f} to {100 * span[1]:.2f} %"
