"""The tests marked `gpu`, in as many processes at a time as there are files."""

import os
import subprocess
import sys
import time
from pathlib import Path
from xml.etree import ElementTree

from benchmarks.gpu.part import Given, Table, given

FILES = [*sorted(Path("tests/gpu").glob("test_*.py")), Path("tests/data/test_device.py")]


def start(g: Given, file: Path) -> subprocess.Popen[bytes]:
    """One file's tests, their output in a log."""
    log = (g.out / f"{file.stem}.log").open("wb")
    words = ["-m", "pytest", str(file), "-q", "-p", "no:cacheprovider", "-o", "timeout=100"]
    words += ["--junitxml", str(g.out / f"{file.stem}.xml"), "--durations=8", "--tb=short"]
    # Rehearsed they are not marked, since they do without a GPU.
    words += [] if g.rehearse else ["-m", "gpu"]
    more = {"CL_REHEARSE": "1"} if g.rehearse else {}
    return subprocess.Popen(
        [sys.executable, *words], stdout=log, stderr=subprocess.STDOUT, env=os.environ | more
    )


def counted(table: Table, g: Given, file: Path, code: int | None) -> None:
    """A row of one file, and its failures by name."""
    if code is None or not (g.out / f"{file.stem}.xml").exists():
        table.row(
            file, "-", "-", "-", "ended by the time limit" if code is None else f"code {code}"
        )
        table.check(f"{file} came to its end", False)
        return
    suite = ElementTree.parse(g.out / f"{file.stem}.xml").getroot()[0]
    number = {k: int(suite.attrib[k]) for k in ("tests", "failures", "errors", "skipped")}
    failed = number["failures"] + number["errors"]
    passed = number["tests"] - failed - number["skipped"]
    table.row(file, passed, failed, number["skipped"], f"{float(suite.attrib['time']):.0f}")
    for case in suite.iter("testcase"):
        for wrong in [*case.findall("failure"), *case.findall("error")]:
            name = f"{case.attrib['classname'].rpartition('.')[2]}.{case.attrib['name']}"
            said = " ".join((wrong.attrib.get("message") or "").split())[:300]
            table.check(f"{name}: {said}", False)
    if not g.rehearse:
        table.check(f"{file}: a test ran on the card", passed + failed > 0)


def main() -> None:
    g = given()
    table = g.table("tests marked gpu", "file", "passed", "failed", "skipped", "seconds")
    end = time.monotonic() + g.seconds
    running = {file: start(g, file) for file in FILES}
    for file, process in running.items():
        try:
            code: int | None = process.wait(max(1.0, end - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            code = None
        counted(table, g, file, code)


if __name__ == "__main__":
    main()
