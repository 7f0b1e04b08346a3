"""What a Trainer is told of the machine, and what the user is told of it."""

import io
import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from cl import hardware

PRECISION = {  # wanted, on a GPU: where bf16 has instructions of its own, and where it has none
    ("auto", True): ("bf16-mixed", "32-true"),
    ("auto", False): ("bf16-mixed", "32-true"),
    ("bf16", True): ("bf16-mixed", "bf16-mixed"),
    ("bf16", False): ("bf16-mixed", "bf16-mixed"),
    ("16", True): ("16-mixed", "16-mixed"),
    ("16", False): ("bf16-mixed", "bf16-mixed"),
    ("32", True): ("32-true", "32-true"),
    ("32", False): ("32-true", "32-true"),
    ("64", True): ("64-true", "64-true"),
    ("64", False): ("64-true", "64-true"),
}
MB = 2**20
OPTIONS = ("accelerator", "devices", "num_nodes", "strategy", "precision")
MALLOPT = {-1: "MALLOC_TRIM_THRESHOLD_", -2: "MALLOC_TOP_PAD_", -4: "MALLOC_MMAP_MAX_"}
SETUP = Path(__file__).parents[1] / "bash_files" / "setup.sh"


@pytest.mark.parametrize(("wanted", "gpu"), PRECISION)
@pytest.mark.parametrize("bf16", [True, False])
def test_precision(
    wanted: str,
    gpu: bool,
    bf16: bool,
    monkeypatch: pytest.MonkeyPatch,
    recwarn: pytest.WarningsRecorder,
) -> None:
    monkeypatch.setattr(hardware, "bf16_in_hardware", lambda asked: asked is gpu and bf16)
    name = PRECISION[wanted, gpu][not bf16]
    said = ["--precision 16 on a CPU: bf16 autocast"] if (wanted, gpu) == ("16", False) else []
    if name == "bf16-mixed" and not bf16:
        slow = "this processor emulates bf16, many times slower than --precision 32"
        said.append(f"--precision {wanted}: {slow}")
    assert hardware.precision(wanted, gpu) == name
    assert [str(w.message) for w in recwarn] == said


@pytest.mark.parametrize(
    ("info", "known"),
    [
        ("model name : x\nflags\t\t: sse avx512f avx512_bf16\n", True),
        ("flags : amx_bf16 amx_tile\n", True),
        ("flags : sse avx512f\nbugs : avx512_bf16\n", False),
        ("", False),
        (None, False),
    ],
)
def test_bf16_of_a_processor(
    info: str | None, known: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read(_: str) -> io.StringIO:
        if info is None:
            raise OSError
        return io.StringIO(info)

    monkeypatch.setattr(hardware, "open", read, raising=False)
    assert hardware.bf16_in_hardware(False) is known


@pytest.mark.parametrize("native", [True, False])
def test_bf16_of_a_gpu_is_no_emulated_one(native: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    def supported(including_emulation: bool = True) -> bool:
        return including_emulation or native

    monkeypatch.setattr(hardware.torch.cuda, "is_bf16_supported", supported)
    assert hardware.bf16_in_hardware(True) is native


@pytest.mark.parametrize(
    ("gpus", "devices", "there", "expected"),
    [
        ([], 1, False, ("cpu", 1, 1, "auto")),
        ([], 2, False, ("cpu", 2, 1, "ddp")),
        ([], 1, True, ("gpu", 1, 1, "auto")),
        ([], 2, True, ("gpu", 2, 1, "ddp")),
        ([], 1, False, ("cpu", 1, 2, "ddp")),
        ([3], 1, True, ("gpu", [3], 1, "auto")),
        ([3], 1, True, ("gpu", [3], 2, "ddp")),
        ([0, 2], 1, True, ("gpu", [0, 2], 1, "ddp")),
        ([0, 2], 1, False, ("gpu", [0, 2], 1, "ddp")),  # that they are missing, Lightning says
    ],
)
def test_trainer_options(
    gpus: list[int],
    devices: int,
    there: bool,
    expected: tuple[object, ...],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(hardware.torch.cuda, "is_available", lambda: there)
    assert hardware.on_gpu(gpus) is (expected[0] == "gpu")
    found = hardware.trainer_options(gpus, devices, "32", expected[2])
    assert found == dict(zip(OPTIONS, (*expected, "32-true"), strict=True))


@pytest.mark.parametrize("system", ["glibc", ""])
@pytest.mark.parametrize("own", ["none", "MALLOC_TOP_PAD_"])
def test_memory_is_kept_as_the_scripts_keep_it(
    system: str, own: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The numbers of bash_files/setup.sh; one that the environment has already is left alone."""
    text, done = SETUP.read_text(), {}
    expected = {name: int(text.split(f"{name}:-")[1].split("}")[0]) for name in MALLOPT.values()}
    for name in expected:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(own, "1")

    class Library:
        def mallopt(self, number: int, value: int) -> None:
            done[MALLOPT[number]] = value

    monkeypatch.setattr(hardware.ctypes, "CDLL", lambda _: Library())
    monkeypatch.setattr(hardware.platform, "libc_ver", lambda: (system, "2.36"))
    hardware.keep_memory()
    assert done == ({k: v for k, v in expected.items() if k != own} if system else {})


def test_keeping_memory_works_here() -> None:
    hardware.keep_memory()


def test_workers_need_shared_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    free = SimpleNamespace(f_bavail=64 * MB // 4096, f_frsize=4096)
    monkeypatch.setattr(os, "statvfs", lambda path: free)
    hardware.check_shared_memory(64 * MB)
    with pytest.raises(ValueError, match=r"up to 1,500 MB .* 64 MB are free; .* --shm-size 2g"):
        hardware.check_shared_memory(1500 * MB)
    monkeypatch.undo()
    monkeypatch.setattr(hardware, "SHARED_MEMORY", Path("nowhere"))
    hardware.check_shared_memory(2**60)
