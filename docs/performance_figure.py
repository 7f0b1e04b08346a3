"""Draws docs/performance.png, the README's figure, from the numbers of docs/on_gpu.json."""

import json
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")
from matplotlib import pyplot as plt

HERE = Path(__file__).parent
LOSS = "nt_xent"
LABELS = {"ours": "cl", "plain": "whole matrix", "lightly": "lightly"}
COLORS = {"ours": "#2166ac", "plain": "#999999", "lightly": "#d6604d"}
BARE, PEER = "bare loop, views given", "lightly's pipeline"


def number(cell: str) -> float:
    return float(cell.replace(",", ""))


def draw_loss(axis: Any, rows: list[list[str]], column: int, title: str) -> None:
    """One column of the table of losses against the number of rows, a line for each implementation.

    Args:
        axis: of matplotlib.
        rows: (loss, rows, whose, ms, peak MB, ...).
        column: which number.
        title: of the panel.
    """
    for whose, label in LABELS.items():
        points = [(number(r[1]), number(r[column])) for r in rows if r[0] == LOSS and r[2] == whose]
        axis.plot(*zip(*points, strict=True), marker="o", label=label, color=COLORS[whose])
    axis.set(xscale="log", yscale="log", xlabel="embeddings in the batch", title=title)
    axis.legend(frameon=False)


def draw_throughput(axis: Any, rows: list[list[str]]) -> None:
    """Samples per second of whole pipelines relative to a bare loop on finished views."""
    cases = list(dict.fromkeys(r[0] for r in rows))
    speed = {(r[0], r[1]): number(r[2]) for r in rows}
    for offset, whose, key in ((-0.2, "ours", "ours"), (0.2, "lightly", PEER)):
        places = [i + offset for i in range(len(cases))]
        shares = [100 * speed[case, key] / speed[case, BARE] for case in cases]
        bars = axis.bar(places, shares, 0.38, label=LABELS[whose], color=COLORS[whose])
        axis.bar_label(bars, [f"{speed[case, key]:,.0f}/s" for case in cases], fontsize=8)
    ticks = [case.replace(", ", "\n") for case in cases]
    axis.set_xticks(range(len(cases)), ticks, fontsize=8)
    axis.set(
        ylabel="% of a bare training loop", title="SimCLR, whole pipeline, bf16", ylim=(0, 100)
    )
    axis.legend(frameon=False)


def main() -> None:
    tables = {t["name"]: t["rows"] for t in json.loads((HERE / "on_gpu.json").read_text())}
    card = dict(tables["machine"])["card"].partition(",")[0]
    figure, axes = plt.subplots(1, 3, figsize=(13, 4), layout="constrained")
    draw_loss(axes[0], tables["losses"], 4, "NT-Xent, forward and backward: peak MB")
    draw_loss(axes[1], tables["losses"], 3, "NT-Xent, forward and backward: ms")
    draw_throughput(axes[2], tables["throughput"])
    figure.suptitle(f"One {card}, float32 losses of dimension 128, n = 1", fontsize=10)
    figure.savefig(HERE / "performance.png", dpi=80)


if __name__ == "__main__":
    main()
