"""Every flag that a message of `cl` names is one of the program that may print it."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from cl import embedding
from cl.config import Linear, Pretrain, signature
from cl.config.evaluations import built_in
from cl.config.schema import options_of
from cl.config.words import options_named

CL = Path(embedding.__file__).parent
FLAG = re.compile(r"(?<![\w-])(?<!var\()--([a-z][a-z_]+)\b(?!-)")
ADDING = ("add", "add_argument")
# Of every program, a place for any; of tar, docker, srun, nvidia-smi and git.
OTHERS = {"help", "flag", "concatenate", "shm", "ntasks", "format", "porcelain"}
# Messages of an evaluation about the run that it was given, or that name the other program.
OF_THE_RUN = {"method", "lora_rank"}


def flags_of(program: type[Pretrain | Linear]) -> set[str]:
    """The flags of a program, with those of everything that it may be told to use."""
    chosen = [*signature.methods(), *signature.losses()] if program is Pretrain else built_in()
    known = options_of(program)
    for name in chosen:
        known = known | options_named(program, [name])
    return {*known} | {option.shortcut for option in known.values() if option.shortcut}


PRETRAIN, LINEAR = flags_of(Pretrain), flags_of(Linear)


def added_by(folder: str) -> set[str]:
    """The flags that a module or a folder of `cl` itself adds to a parser of argparse."""
    found = set[str]()
    for file in files_of(folder):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] in ADDING:
                words = (word.value for word in node.args if isinstance(word, ast.Constant))
                found |= {w.removeprefix("--") for w in words if FLAG.fullmatch(str(w))}
    return found


def files_of(folder: str) -> list[Path]:
    return [CL / folder] if folder.endswith(".py") else [*(CL / folder).rglob("*.py")]


def texts_in(file: Path) -> Iterator[tuple[int, str]]:
    """The strings of a file but for its docstrings, each with its line."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    kinds = ast.Module | ast.ClassDef | ast.FunctionDef
    documented = [node for node in ast.walk(tree) if isinstance(node, kinds)]
    first = (node.body[0] for node in documented if node.body)
    documents = {id(node.value) for node in first if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        text = isinstance(node, ast.Constant) and isinstance(node.value, str)
        if text and id(node) not in documents:
            yield node.lineno, node.value


def named_in(file: Path) -> Iterator[tuple[str, set[str]]]:
    for line, text in texts_in(file):
        if found := {*FLAG.findall(text)} - OTHERS:
            yield f"{file.relative_to(CL)}:{line}: {text}", found


def test_the_strings_of_a_file_are_found() -> None:
    """Those of f-strings too."""
    where = dict(named_in(CL / "eval" / "fewshot.py"))
    assert any({"ways", "shots"} <= found for found in where.values())
    assert any("min_lr" in found for _, found in named_in(CL / "optim.py"))


@pytest.mark.parametrize("folder", sorted({f.relative_to(CL).parts[0] for f in CL.rglob("*.py")}))
def test_each_flag_is_one_of_a_program(folder: str) -> None:
    """One that was renamed, or is misspelled, is of none."""
    known = PRETRAIN | LINEAR | {o for name in ("embedding.py", folder) for o in added_by(name)}
    for file in files_of(folder):
        for where, found in named_in(file):
            assert found <= known, where


@pytest.mark.parametrize("file", sorted({*CL.glob("eval/*.py"), CL / "evaluation.py"}))
def test_an_evaluation_names_its_own_flags(file: Path) -> None:
    known = LINEAR | OF_THE_RUN | {"text_encoder"}
    for where, found in named_in(file):
        assert found <= known, where


@pytest.mark.parametrize("folder", ["methods", "losses", "callbacks"])
def test_a_training_names_its_own_flags(folder: str) -> None:
    for file in (CL / folder).glob("*.py"):
        for where, found in named_in(file):
            assert found <= PRETRAIN, where


def test_cl_embed_names_its_own_flags() -> None:
    """What it shares with others may name more, which it says whose they are."""
    own = added_by("embedding.py") | {"query_prompt", "document_prompt"}
    for where, found in named_in(CL / "embedding.py"):
        assert found <= own, where
    shown = embedding.origins("--max_pixels, --layer and --loss", {"--layer"})
    assert shown.endswith(
        "(--max_pixels is a flag of main_linear.py, --loss is a flag of main_contrastive.py)"
    )
