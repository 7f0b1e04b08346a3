"""The tests marked `gpu`, in as many processes at a time as there are files."""

import os
import subprocess
import sys
import time
from pathlib import Path
from xml.etree import ElementTree

from benchmarks.gpu.part import Given, Table, given

FILES = [*sorted(Path("tests/gpu").glob("test_*.py")), Path("tests/data/test_device.py")]
# Rehearsed they are not marked, as they do without a GPU; threads that wait do not spin.
REHEARSAL = {"CL_REHEARSE": "1", "OMP_WAIT_POLICY": "PASSIVE"}


def start(g: Given, name: str, files: list[Path]) -> subprocess.Popen[bytes]:
    """The tests of some files in one process, their output in a log."""
    log = (g.out / f"{name}.log").open("wb")
    words = ["-m", "pytest", *map(str, files), "-q", "-p", "no:cacheprovider", "-o", "timeout=100"]
    words += ["--junitxml", str(g.out / f"{name}.xml"), "--durations=8", "--tb=short"]
    words += [] if g.rehearse else ["-m", "gpu"]
    more = REHEARSAL if g.rehearse else {}
    return subprocess.Popen(
        [sys.executable, *words], stdout=log, stderr=subprocess.STDOUT, env=os.environ | more
    )


def counted(table: Table, g: Given, name: str, code: int | None) -> None:
    """A row of one process, and its failures by name."""
    if code is None or not (g.out / f"{name}.xml").exists():
        said = "ended by the time limit" if code is None else f"exit code {code}"
        table.row(name, "-", "-", "-", said)
        table.check(f"{name} came to its end", False)
        return
    suite = ElementTree.parse(g.out / f"{name}.xml").getroot()[0]
    number = {k: int(suite.attrib[k]) for k in ("tests", "failures", "errors", "skipped")}
    failed = number["failures"] + number["errors"]
    passed = number["tests"] - failed - number["skipped"]
    table.row(name, passed, failed, number["skipped"], f"{float(suite.attrib['time']):.0f}")
    for case in suite.iter("testcase"):
        for wrong in [*case.findall("failure"), *case.findall("error")]:
            of = f"{case.attrib['classname'].rpartition('.')[2]}.{case.attrib['name']}"
            said = " ".join((wrong.attrib.get("message") or "").split())[:300]
            table.check(f"{of}: {said}", False)
    table.check(f"{name}: a test ran", passed + failed > 0)


def main() -> None:
    g = given()
    table = g.table("tests marked gpu", "file", "passed", "failed", "skipped", "seconds")
    end = time.monotonic() + g.seconds
    # A card's machine has cores for all at once; two cores are best used by one process.
    groups = {"all of them": FILES} if g.rehearse else {file.stem: [file] for file in FILES}
    running = {name: start(g, name, files) for name, files in groups.items()}
    for name, process in running.items():
        try:
            code: int | None = process.wait(max(1.0, end - 5 - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            code = None
        counted(table, g, name, code)


if __name__ == "__main__":
    main()
