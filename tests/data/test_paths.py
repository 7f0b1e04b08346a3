"""Paths in buffers are those of a list, and take few bytes."""

import pickle
import tracemalloc
from pathlib import Path

import numpy as np

from cl.data.sets._paths import PathArray, followed, repeated
from cl.data.sets._walk import Walk

NAMES = ["a.png", "b/ü.png", "/c d.png", "", "x" * 300, "b/\udcff.png"]


def test_they_are_the_paths_of_a_list() -> None:
    expected = [Path("root/of") / name for name in NAMES]
    held = PathArray.of(NAMES, "root/of")
    assert [*held] == expected
    assert [held[i] for i in range(len(held))] == expected
    index = np.array([4, 0, 0, 5])
    for some in (held.subset(index), pickle.loads(pickle.dumps(held.subset(index)))):
        assert [*some] == [expected[i] for i in index]
    assert [*PathArray.below("r", ["r/a", "r/r/b", "s/c"])] == [
        Path(f"r/{x}") for x in ("a", "r/b", "s/c")
    ]


def test_what_is_there_twice_is_found() -> None:
    assert not repeated(PathArray.of(NAMES, "r"))
    assert repeated(PathArray.of([*NAMES, "a.png", "a.png"], "r")) == ["r/a.png"]
    twice = [*NAMES, f"{Path.cwd()}/r/a.png", "sub/../a.png"]
    assert [*followed(repeated(PathArray.of(twice, "r")))] == [str(Path.cwd() / "r" / "a.png")]


def test_a_file_is_there_twice_by_links(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a/1.png").touch()
    (tmp_path / "2.png").symlink_to("a/1.png")
    (tmp_path / "b").symlink_to("a")
    for other in ("2.png", "b/1.png"):
        found = repeated(PathArray.of(["a/1.png", "a/3.png", other], str(tmp_path)))
        assert found == [f"{tmp_path}/a/1.png"]


def test_a_path_takes_its_name_and_nine_bytes() -> None:
    names = [f"n{i % 100:08}/n{i % 100:08}_{i}.JPEG" for i in range(100_000)]
    tracemalloc.start()
    held = PathArray.of(names, "/data/train")
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    needed = sum(map(len, names)) / len(names) + 9
    assert needed <= size / len(held) < 1.15 * needed


def test_a_walk_is_in_the_order_of_paths(tmp_path: Path) -> None:
    places = [tmp_path / name for name in ("b", "a", "a/z", "a-", "a/b.png.d")]
    for place in places:
        place.mkdir(parents=True, exist_ok=True)
        for name in ("2.png", "10.png", "zz.png"):
            (place / name).touch()
    assert [*map(Path, Walk().images(tmp_path))] == sorted(tmp_path.rglob("*.png"))
