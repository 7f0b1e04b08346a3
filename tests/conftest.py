"""What every test can count on: a machine without GPUs or settings of its owner's, few threads.

`pytest -m gpu` alone sees the GPUs; all other tests are of the CPU wherever they run.
"""

import gc
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

SHARED = Path(os.environ.get("CL_TEST_DATA") or Path(__file__).parents[2] / "shared")
# Of a cluster's job or a user's shell: they change what runs do and how wide their tables are.
OWNERS = ("CL_RUN_ID", "SLURM_", "TORCHELASTIC_", "WANDB_", "TTY_")
OWNERS += ("RANK", "LOCAL_", "NODE_RANK", "WORLD_SIZE", "MASTER_", "COLUMNS", "FORCE_COLOR")
HANDLERS = {signal.SIGINT: signal.default_int_handler, signal.SIGHUP: signal.SIG_DFL}


def pytest_configure(config: pytest.Config) -> None:
    """Before anything asks for GPUs, as CUDA looks at the environment once."""
    wanted = config.option.markexpr
    if "gpu" not in wanted or "not gpu" in wanted:
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    for name in [name for name in os.environ if name.startswith(OWNERS)]:
        del os.environ[name]
    for number, handler in HANDLERS.items():  # a shell's background job inherits them as ignored
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, handler)
    if "PYTEST_XDIST_WORKER" in os.environ:  # one of several workers has a core
        os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """One more than there are cores: a test that waits for its processes leaves one free."""
    return (os.cpu_count() or 1) + 1


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if not torch.cuda.is_available():
        reason = "needs a CUDA device, which `pytest -m gpu` alone sees"
        for item in (item for item in items if item.get_closest_marker("gpu")):
            item.add_marker(pytest.mark.skip(reason=reason))


def pytest_collection_finish() -> None:
    """What is there by now stays: each run looks for garbage, and need not look through it."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def _few_threads() -> None:
    """Sums come out the same on a machine with more cores; one of several workers has a core."""
    torch.set_num_threads(1 if "PYTEST_XDIST_WORKER" in os.environ else 2)


@pytest.fixture(scope="session", autouse=True)
def _no_reports() -> Iterator[None]:
    """No run draws its page but where a test asks for `reports`: seconds for each of many runs."""
    from cl import evaluation, train

    draw = SimpleNamespace(warm_up=lambda: None)
    drawing_nothing = SimpleNamespace(after_run=lambda *_, **__: None, draw=draw)
    with pytest.MonkeyPatch.context() as patch:
        for module in (evaluation, train):
            patch.setattr(module, "report", drawing_nothing)
        yield


@pytest.fixture
def reports(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each run has its page, as it has for a user."""
    from cl import evaluation, report, train

    for module in (evaluation, train):
        monkeypatch.setattr(module, "report", report)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of reference values and real data: CL_TEST_DATA, or `shared` beside the clone."""
    if not SHARED.is_dir():
        pytest.skip(f"no reference files: {SHARED} is not there (CL_TEST_DATA names the folder)")
    return SHARED
