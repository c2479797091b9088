"""The tables of README and docs, made from the committed results: `python -m benchmarks.readme` writes them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

from benchmarks.evidence.comparison import load_table, read_machines, speed_table, summary_table
from benchmarks.evidence.results import Results

ROOT = Path(__file__).resolve().parent.parent
PAGES = (ROOT / "README.md", ROOT / "docs" / "benchmarks.md")
RESULTS = ROOT / "benchmarks" / "results"
SECTION = re.compile(r"(<!-- (?P<name>\w+):begin -->\n).*?(<!-- (?P=name):end -->)", re.DOTALL)


def filled(text: str) -> str:
    """A page with every table as the committed results have it."""
    machines = read_machines(RESULTS)
    tables: dict[str, Callable[[Sequence[Results]], Iterator[str]]] = {
        "summary": partial(summary_table, beams=10),
        "latency": partial(speed_table, beams=10),
        "greedy": partial(speed_table, beams=1),
        "load": load_table,
    }
    return SECTION.sub(lambda found: "\n".join((found[1], *tables[found["name"]](machines), found[3])), text)


def main() -> None:
    for page in PAGES:
        page.write_text(filled(page.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
