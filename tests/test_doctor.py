"""The doctor: a line for each question, and an exit code that says whether one found an error."""

import subprocess
import sys
from collections import namedtuple
from collections.abc import Iterator
from pathlib import Path

import pytest

from cl import doctor
from cl.losses.nt_xent import nt_xent

Usage = namedtuple("Usage", "total used free")


def test_each_line_is_a_state_and_a_sentence() -> None:
    """In a process of its own, as it forks."""
    ended = subprocess.run(
        [sys.executable, "-m", "cl.doctor"],
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
        check=False,
    )
    lines = ended.stdout.splitlines()
    assert {line.split()[0] for line in lines} <= {"ok", "warning"}, ended.stdout
    assert ended.returncode == 0
    assert len(lines) >= len(doctor.QUESTIONS)
    assert "ok       two processes sum 1 and 2 to 3 through gloo" in lines
    assert any("NT-Xent is 0.551445, the formula 0.551445" in line for line in lines)
    assert ended.stderr == ""


def failing() -> Iterator[doctor.Finding]:
    yield doctor.OK, "begun"
    raise RuntimeError("broken\n  here")


def warns() -> Iterator[doctor.Finding]:
    yield doctor.WARNING, "do something"


@pytest.mark.parametrize(
    ("questions", "code", "said"),
    [
        ((warns,), 0, "warning  do something\n"),
        (
            (warns, failing),
            1,
            "warning  do something\n"
            "error    failing cannot be checked: RuntimeError: broken here\n",
        ),
    ],
)
def test_an_error_is_an_exit_code(
    questions: tuple,
    code: int,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(doctor, "QUESTIONS", questions)
    assert doctor.main() == code
    assert capsys.readouterr().out == said


def test_a_wrong_loss_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "cl.losses.nt_xent.nt_xent", lambda z, temperature: 1.01 * nt_xent(z, temperature=1.0)
    )
    ((state, sentence),) = doctor.ask(doctor.check_loss)
    assert state == doctor.ERROR
    assert "0.556959, the formula 0.551445" in sentence


def test_a_library_that_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "LIBRARIES", ("torch", "no-such-library"))
    states = [state for state, _ in doctor.ask(doctor.check_libraries)]
    assert states == [doctor.ERROR, doctor.OK]


def test_a_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda _: Usage(2**40, 2**40, 2**30))
    assert {state for state, _ in doctor.ask(doctor.check_disk)} == {doctor.WARNING}

    def full(**_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(doctor.tempfile, "TemporaryFile", full)
    found = doctor.ask(doctor.check_disk)
    assert {state for state, _ in found} == {doctor.ERROR}
    assert all("No space left on device; see --output" in sentence for _, sentence in found)


def test_a_key_is_never_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WANDB_MODE", raising=False)
    monkeypatch.setenv("WANDB_API_KEY", "secret-key")
    ((state, sentence),) = doctor.ask(doctor.check_wandb)
    assert state == doctor.OK
    assert "secret" not in sentence


def test_few_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor.os, "sched_getaffinity", lambda _: range(64), raising=False)
    ((state, sentence),) = doctor.ask(doctor.check_threads)
    assert state == doctor.WARNING
    assert "OMP_NUM_THREADS" in sentence
