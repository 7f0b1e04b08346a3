"""The glossary: words that must not come back, in names, in messages and in documents.

A name is the field's word for the thing. Each entry says what to write instead.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = sorted((ROOT / "cl").rglob("*.py"))
PAGES = [
    *SOURCES,
    *sorted((ROOT / "tests").rglob("*.py")),
    *sorted(ROOT.glob("*.md")),
    *sorted(ROOT.glob("docs/*.md")),
    *sorted(ROOT.glob("bash_files/*.sh")),
]
NAMES = {  # of functions, classes, parameters, attributes and variables
    "Scene": "PairContext",
    "Room": "scratch buffer",
    "Plan": "BlockSchedule",
    "Rule": "PairMask",
    "pushed": "denominator",
    "everyone": "all anchors",
    "steep": "needs max-subtraction",
    "Found": "EvalResult",
    "told": "a verb: evaluate_features",
    "taken": "a verb: extract_features",
    "judged": "score",
    "drawn": "plot",
    "made_by": "provenance",
    "spelled": "format_metric",
    "peeled": "strip_prefixes",
    "watched": "eval_encoder",
    "shown_to_probe": "probe_features",
    "in_chunks": "embed_in_chunks",
    "layouts": "formats",
    "preflight": "summary",
    "sketch": "plot_schedules",
    "sheet": "plot_views",
    "launch": "trainer, run_folder, setup",
    "largest": "all_reduce_max",
    "firsts": "broadcast_object",
    "hits": "topk_correct",
    "standing": "frozen",
    "still": "frozen_stats",
    "peel": "strip_prefixes",
}
SPELLING = {  # American, as in torch, timm and Lightning
    r"\w*(?:normal|standard|optim|initial|solar|penal|minim|maxim|organ)is(?:e[ds]?|ing|ation)\b": (
        "-ize"
    ),
    r"\b\w*colour\w*": "color",
    r"\bgrey\w*": "gray",
    r"\bbehaviour\w*": "behavior",
    r"\bneighbour\w*": "neighbor",
    r"\bcentre[ds]?\b": "center",
    r"\b\w*labell(?:ed|ing)\b": "labeled",
    r"\blicence\w*": "license",
    r"\bfavour\w*": "favor",
}
PHRASES = {  # a message says what is wrong and what to do
    r"given [^\"']*, allowed ": 'a sentence: "--pictures cannot be used with --augment."',
    r"of several so the best": "several values are searched on a held-out tenth",
    r"the same encoder untrained": "random init",
}


def names_in(tree: ast.AST) -> Iterator[str]:
    """Every name that a module gives to something."""
    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef() | ast.ClassDef() | ast.AsyncFunctionDef():
                yield node.name
            case ast.arg():
                yield node.arg
            case ast.Name(ctx=ast.Store()):
                yield node.id
            case ast.Attribute(ctx=ast.Store()):
                yield node.attr


def modules_in(path: Path) -> Iterator[str]:
    yield from path.relative_to(ROOT).with_suffix("").parts


def test_no_name_of_the_package_is_a_word_of_its_own() -> None:
    found = [
        f"{path.relative_to(ROOT)}: {name}, write: {NAMES[name]}"
        for path in SOURCES
        for name in sorted({*names_in(ast.parse(path.read_text())), *modules_in(path)})
        if name.lstrip("_") in NAMES
    ]
    assert not found, "\n".join(found)


@pytest.mark.parametrize("pattern", SPELLING)
def test_spelling_is_american(pattern: str) -> None:
    found = [
        f"{path.relative_to(ROOT)}: {word}, write {SPELLING[pattern]}"
        for path in PAGES
        if path != Path(__file__)
        for word in sorted({*re.findall(pattern, path.read_text(encoding="utf-8"))})
    ]
    assert not found, "\n".join(found)


@pytest.mark.parametrize("pattern", PHRASES)
def test_messages_are_sentences(pattern: str) -> None:
    found = [
        f"{path.relative_to(ROOT)}: {phrase}"
        for path in SOURCES
        for phrase in re.findall(pattern, path.read_text(encoding="utf-8"))
    ]
    assert not found, f"write {PHRASES[pattern]}\n" + "\n".join(found)


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        (next(iter(SPELLING)), "normalised"),
        (next(iter(PHRASES)), "--x: given 1, allowed 2"),
    ],
)
def test_the_glossary_finds_what_it_looks_for(pattern: str, text: str) -> None:
    assert re.search(pattern, text)
