"""torchrun starts the processes again, all of them or fewer: the run goes on by itself."""

import multiprocessing
import os
import signal
import subprocess
import sys
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from cl import distributed
from tests.end_to_end.test_devices import same_run
from tests.faults.processes import RUN, Ranks, environment, group_signal, same

ROOT = Path(__file__).parents[2]
STEPS = ["--checkpoint_every", "5", "--checkpoint_unit", "steps"]


def torchrun(place: Path, world: int, *words: str, restarts: int = 0) -> subprocess.Popen[str]:
    """Start a module of the tests or the program's, without a run's id."""
    line = [sys.executable, "-m", "torch.distributed.run", "--nnodes", "1"]
    line += ["--nproc-per-node", str(world), "--max-restarts", str(restarts)]
    line += ["--rdzv-backend", "c10d", "--rdzv-endpoint", "localhost:0", "-m", *words]
    return subprocess.Popen(
        [*line, "--output", str(place)],
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1", "BREAK": "kill -9 $PPID"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def start(rank: int, port: int, answer: Connection) -> None:
    """One of two processes that torchrun starts, as far as `Rendezvous` knows."""
    os.environ.update(environment(rank, 2))
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    os.environ["TORCHELASTIC_USE_AGENT_STORE"] = "True"
    distributed.rendezvous.cache_clear()  # what the process it was forked from knew
    met = distributed.rendezvous()
    assert met
    met.fresh.set(f"left/{rank}", "")
    answer.send((met.number, os.environ["MASTER_PORT"], met.settle("word", str(rank))))
    answer.recv()  # the first process keeps the store


def test_each_start_has_a_store_of_its_own_and_one_number(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the one before was killed while it asked."""
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    store = distributed.open_store()
    store.set("cl/asked/1", "left by a process that was killed")
    context, heard = multiprocessing.get_context("fork"), []
    for _ in range(2):
        pipes = [context.Pipe() for _ in range(2)]
        processes = [
            context.Process(target=start, args=(rank, store.port, theirs))
            for rank, (_, theirs) in enumerate(pipes)
        ]
        for process in processes:
            process.start()
        heard += [ours.recv() for ours, _ in pipes if ours.poll(30)]
        for ours, _ in pipes:
            ours.send(None)
        for process in processes:
            process.join(30)
    assert [number for number, *_ in heard] == [1, 1, 2, 2]
    assert len({word for *_, word in heard}) == 1
    first, second, third, fourth = (port for _, port, _ in heard)
    assert first == second != third == fourth
    assert str(store.port) not in (first, third)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The uninterrupted run of two processes."""
    ranks = Ranks([*RUN, *STEPS], tmp_path_factory.mktemp("whole"), "whole", world=2)
    assert ranks.end() == [0, 0], ranks.said()
    return ranks.folder


@pytest.mark.slow
@pytest.mark.parametrize("rank", [0, 1])
def test_a_killed_process_is_started_again_and_the_run_goes_on(
    rank: int, whole: Path, tmp_path: Path
) -> None:
    """The first process is killed or the last one; no id is given, and no word of resuming."""
    words = ["tests.faults.broken_once", "9", str(rank), str(tmp_path / "mark"), *RUN, *STEPS]
    run = torchrun(tmp_path / "runs", 2, *words, restarts=1)
    said, _ = run.communicate(timeout=180)
    assert run.returncode == 0, said
    (folder,) = (tmp_path / "runs").iterdir()
    assert f"going on with {folder}" in said
    assert same(folder, whole)


@pytest.mark.slow
@pytest.mark.parametrize("worlds", [(2, 1), (1, 2)])
def test_fewer_or_more_processes_go_on_with_the_same_global_batch(
    worlds: tuple[int, int], tmp_path: Path
) -> None:
    """In float64: what rounding makes of another order of sums stays below 1e-6."""
    words = [*RUN, "--global_batch_size", "128"]
    words[words.index("--precision") + 1] = "64"
    before, after = worlds
    part = Ranks(words, tmp_path, "part", world=before, act=group_signal(9, signal.SIGTERM))
    rest = Ranks(words, tmp_path, "whole", world=before)
    assert part.end() == [143] * before, part.said()
    assert rest.end() == [0] * before, rest.said()
    part = Ranks([*words, "--auto_resume"], tmp_path, "part", world=after)
    assert part.end() == [0] * after, part.said()
    same_run(rest.folder, part.folder)
