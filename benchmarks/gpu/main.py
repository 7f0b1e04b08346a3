"""Every part in turn, each in a process of its own with its own time limit; then all tables."""

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

# Seconds that a part may take at most; the training has what the others leave of the 8 minutes.
PARTS = {"machine": 30, "tests": 120, "waits": 50, "losses": 75, "throughput": 180, "training": 480}
MINUTES, REHEARSAL = 8.0, 3.0
LEAST = 10.0  # seconds that are worth starting a part with


def given() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="on_gpu.sh", description=__doc__)
    parser.add_argument("--data", type=Path, help="folder with cifar-10-batches-py")
    parser.add_argument("--minutes", type=float, default=MINUTES, help="for all parts together")
    parser.add_argument("--out", type=Path, default=Path("on_gpu"), help="folder of the results")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS), metavar="PART")
    parser.add_argument("--rehearse", action="store_true", help="on the CPU, at tiny sizes")
    parser.add_argument("--relative_to", type=Path, default=Path(), help=argparse.SUPPRESS)
    return parser.parse_args()


def run(name: str, out: Path, seconds: float, words: list[str]) -> dict[str, Any]:
    """One part, its process group ended at its limit; its table, however far it came."""
    command = [sys.executable, "-m", f"benchmarks.gpu.{name}", "--out", str(out), *words]
    command += ["--seconds", f"{seconds:.0f}"]
    print(f"\n== {name}, at most {seconds:.0f} s", flush=True)
    start = time.monotonic()
    process = subprocess.Popen(command, start_new_session=True)
    try:
        code = process.wait(seconds)
        ended = f"exit code {code}" if code else ""
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        ended = f"ended at its limit of {seconds:g} s"
    file = out / f"{name}.json"
    empty: dict[str, Any] = {"name": name, "title": name, "columns": [], "rows": []}
    table = empty | {"notes": [], "failed": [], "values": {}}
    if file.exists():
        table |= json.loads(file.read_text())
    if ended:
        table["failed"].append(ended)
    table["seconds"] = round(time.monotonic() - start, 1)
    return table


def lines(table: dict[str, Any]) -> list[str]:
    """A table as text."""
    rows = [table["columns"], *table["rows"]]
    widths = [max(map(len, cells)) for cells in zip(*rows, strict=True)]
    text = [f"\n== {table['name']}: {table['title']} ({table['seconds']:.0f} s)"]
    if table["rows"]:
        padded = [[c.ljust(w) for c, w in zip(row, widths, strict=True)] for row in rows]
        text += ["  ".join(row).rstrip() for row in padded]
    return text + table["notes"] + [f"FAILED: {what}" for what in table["failed"]]


def main() -> int:
    g = given()
    out = (g.relative_to / g.out).resolve()
    words = ["--rehearse"] if g.rehearse else []
    if g.data:
        data = (g.relative_to / g.data).resolve()
        if not (data / "cifar-10-batches-py").is_dir():
            print(f"error: --data {data}: no cifar-10-batches-py in it", file=sys.stderr)
            return 2
        words += ["--data", str(data)]
    if find_spec("torch") is None:
        print(f"error: {sys.executable} has no torch; PYTHON names another one", file=sys.stderr)
        return 2
    if not g.rehearse:
        import torch

        if not torch.cuda.is_available():
            print("error: no CUDA device; --rehearse runs the same on the CPU", file=sys.stderr)
            return 2
    out.mkdir(parents=True, exist_ok=True)
    for name in g.only:  # what an earlier call left would be taken for this one's
        (out / f"{name}.json").unlink(missing_ok=True)
        shutil.rmtree(out / "runs", ignore_errors=True)
    minutes = REHEARSAL if g.rehearse else g.minutes
    end, tables = time.monotonic() + 60 * minutes, []
    for name in (part for part in PARTS if part in g.only):
        limit = min(PARTS[name], end - time.monotonic())
        if limit < LEAST:
            print(f"\n== {name}: no time is left", flush=True)
            continue
        tables.append(run(name, out, limit, words))
        (out / "on_gpu.json").write_text(json.dumps(tables, indent=1) + "\n")
    for table in tables:
        print("\n".join(lines(table)))
    failed = [what for table in tables for what in table["failed"]]
    print(f"\n{len(failed)} failed" if failed else "\nall checks hold", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
