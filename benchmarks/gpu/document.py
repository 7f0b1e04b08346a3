"""The GPU section of docs/performance.md, made anew from the results of `on_gpu.sh`.

    python -m benchmarks.gpu.document [FOLDER/on_gpu.json]

The results are kept beside the page; until there are some it says that no card was there.
"""

import json
import sys
from pathlib import Path
from typing import Any

PAGE = Path(__file__).parents[2] / "docs" / "performance.md"
RESULTS = PAGE.with_name("on_gpu.json")
FIRST, LAST = "<!-- made by benchmarks/gpu/document.py -->", "<!-- end -->"
NONE = "No card was at hand yet, so there is no number here. `bash benchmarks/on_gpu.sh` measures."


def cell(text: str) -> str:
    return text.replace("|", "\\|")


def section(table: dict[str, Any]) -> list[str]:
    """One part as a heading and a Markdown table."""
    title = table["title"]
    text = [f"### {title[0].upper()}{title[1:]}", ""]
    if table["rows"]:
        rows = [table["columns"], ["---"] * len(table["columns"]), *table["rows"]]
        text += [f"| {' | '.join(map(cell, row))} |" for row in rows] + [""]
    text += [f"{note}\n" for note in table["notes"]]
    text += [f"Failed: {what}\n" for what in table["failed"]]
    return text


def made(results: list[dict[str, Any]] | None) -> str:
    """What stands between the marks."""
    text = [line for table in results for line in section(table)] if results else [NONE, ""]
    return "\n".join([FIRST, "", *text, LAST])


def main() -> None:
    if len(sys.argv) > 1:
        RESULTS.write_text(Path(sys.argv[1]).read_text())
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else None
    page = PAGE.read_text()
    before, _, rest = page.partition(FIRST)
    PAGE.write_text(before + made(results) + rest.partition(LAST)[2])


if __name__ == "__main__":
    main()
