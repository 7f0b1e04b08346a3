"""The commands that the documents print, as their readers type them."""

import re
import shlex
from pathlib import Path

ROOT = Path(__file__).parents[1]
HISTORY = ROOT / "CHANGELOG.md"  # whose commands are those of their days
DOCUMENTS = sorted({*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")} - {HISTORY})
DOCUMENTS += [ROOT / "trained_models/README.md"]
SHELLS = ("bash", "sh", "shell", "console")
PYTHON = r"(?:\.venv/bin/)?python3? (?=main_|-m (?:cl|benchmarks|tests)|benchmarks/|docs/)"
PROGRAMS = rf"{PYTHON}|bash (?=\S+\.sh|\.ci)|make (?=[a-z])|(?:\.venv/bin/)?cl-\w+ |sbatch "
COMMAND = re.compile(rf"(?:[A-Z_]+=\S+ )*(?:{PROGRAMS})")
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
OPTIONAL = re.compile(r" \[[^\]]*\]")  # [FLAG ...]


def blocks(file: Path) -> list[str]:
    """The lines of shells' blocks, and those that are indented to be one."""
    text = re.sub(r" *\\\n\s*", " ", file.read_text(encoding="utf-8"))
    lines = [
        line
        for language, block in FENCE.findall(text)
        if language in SHELLS
        for line in block.splitlines()
    ]
    other = FENCE.sub("", text).splitlines()
    return lines + [line.strip() for line in other if COMMAND.match(line.strip())]


def commands(file: Path) -> list[list[str]]:
    """The words of each command, also of those inside of a sentence."""
    prose = FENCE.sub("", file.read_text(encoding="utf-8"))
    lines = blocks(file) + re.findall(r"`([^`\n]+)`", prose)
    found = [OPTIONAL.sub("", line) for line in lines if COMMAND.match(line)]
    return [shlex.split(line, comments=True) for line in found]
