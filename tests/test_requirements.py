"""Every package that is imported is listed, and constraints.txt has one tested version of each."""

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from importlib.metadata import PackageNotFoundError, packages_distributions, requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[1]
OURS = {"cl", "tests", "benchmarks", "main_contrastive", "main_linear", "__main__"}
LOADERS = ("import_module", "importorskip", "find_spec", "installed", "has")
# Packages that are not installed everywhere, by what they are imported as.
PACKAGES = {"faiss": "faiss-cpu", "kornia": "kornia", "nvidia": "nvidia-dali-cuda130"}
PACKAGES |= {"onnx": "onnx", "onnxruntime": "onnxruntime", "onnxscript": "onnxscript"}
PACKAGES |= {"PIL": "pillow", "sklearn": "scikit-learn", "vl_convert": "vl-convert-python"}
PACKAGES |= {"lightning_fabric": "pytorch-lightning", "pytrec_eval": "pytrec-eval-terrier"}
PACKAGES |= {"triton": "torch", "umap": "umap-learn"}  # which brings it where it is built for CUDA


def listed(text: str) -> list[Requirement]:
    lines = (line.partition("#")[0].strip() for line in text.splitlines())
    return [Requirement(line) for line in lines if line and not line.startswith("--")]


ALWAYS = listed((ROOT / "requirements.txt").read_text())
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = {name: [*map(Requirement, of)] for name, of in PROJECT["optional-dependencies"].items()}
PINS = {canonicalize_name(r.name): r for r in listed((ROOT / "constraints.txt").read_text())}

distributions = cache(packages_distributions)


def names_of(requirements: list[Requirement]) -> set[str]:
    return {canonicalize_name(r.name) for r in requirements}


def imported(file: Path) -> Iterator[str]:
    """The top modules that a file imports, also those by a name in a string."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        found: list[str] = []
        if isinstance(node, ast.Import):
            found = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            found = [node.module or ""]
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            called = getattr(node.func, "attr", getattr(node.func, "id", ""))
            found = [str(node.args[0].value)] if called in LOADERS else []
        yield from (name.partition(".")[0] for name in found)


def packages_in(*places: str) -> dict[str, str]:
    """The packages that the files in some places import, each with one of these files."""
    files = [
        f for p in places for f in ([ROOT / p] if p.endswith(".py") else ROOT.glob(f"{p}/**/*.py"))
    ]
    known, found = distributions(), dict[str, str]()
    for file in files:
        for module in imported(file):
            if module and module not in OURS and module not in sys.stdlib_module_names:
                package = PACKAGES.get(module) or known.get(module, [module])[0]
                found.setdefault(canonicalize_name(package), str(file.relative_to(ROOT)))
    return found


def test_what_the_package_imports_is_required_or_an_extra() -> None:
    own = [r for name, of in EXTRAS.items() if name not in ("dev", "bench") for r in of]
    needed = packages_in("cl", "main_contrastive.py", "main_linear.py")
    assert {"pillow", "torch", "typing-extensions", "transformers"} <= needed.keys()
    there = names_of([*ALWAYS, *own])
    assert {k: file for k, file in needed.items() if k not in there} == {}


def test_what_tests_and_benchmarks_import_is_listed() -> None:
    there = names_of([*ALWAYS, *(r for of in EXTRAS.values() for r in of)])
    needed = packages_in("tests", "benchmarks", "docs")
    missing = {name: file for name, file in needed.items() if name not in there}
    assert {*missing} <= {"packaging"}, missing  # which pytest brings


def test_what_is_always_installed_is_imported() -> None:
    needed = packages_in("cl", "main_contrastive.py", "main_linear.py")
    assert names_of(ALWAYS) - needed.keys() == set()


@pytest.mark.parametrize("r", [*ALWAYS, *(r for of in EXTRAS.values() for r in of)], ids=str)
def test_the_tested_version_is_within_the_open_bounds(r: Requirement) -> None:
    pin = PINS.get(canonicalize_name(r.name))
    if pin is None:
        assert r not in ALWAYS
        pytest.skip("an extra that was not tested")
    (exact,) = pin.specifier
    assert exact.operator == "=="
    assert not Version(exact.version).is_prerelease
    assert r.specifier.contains(exact.version)


def test_what_packages_need_is_pinned_too() -> None:
    """And no pin contradicts them, so that pip can install all of it."""
    for name, pin in PINS.items():
        try:
            needed = [Requirement(line) for line in requires(name) or []]
        except PackageNotFoundError:
            continue
        for r in needed:
            plain = r.marker is None or (
                "extra" not in str(r.marker) and r.marker.evaluate({"extra": ""})
            )
            if plain:
                other = PINS.get(canonicalize_name(r.name))
                assert other is not None, f"{name} needs {r}"
                (exact,) = other.specifier
                assert r.specifier.contains(exact.version, prereleases=True), f"{name}: {r}, {pin}"


def test_each_package_has_one_pin() -> None:
    text = (ROOT / "constraints.txt").read_text()
    names = re.findall(r"^([\w.-]+)==[\w.]+$", text, re.MULTILINE)
    assert len(names) == len({*names}) == len(PINS) == len(listed(text))


def test_without_a_gpu_the_same_packages_but_dali_are_needed() -> None:
    without = [r for r in ALWAYS if "dali" not in r.name]
    assert len(without) == len(ALWAYS) - 1
    assert listed((ROOT / "requirements-cpu.txt").read_text()) == without
