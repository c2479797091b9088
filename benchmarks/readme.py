"""The tables of the README, made from the committed results: `python -m benchmarks.readme` writes them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.evidence.comparison import load_table, read_machines, speed_table
from benchmarks.evidence.results import Results

ROOT = Path(__file__).resolve().parent.parent
README = ROOT / "README.md"
RESULTS = ROOT / "benchmarks" / "results"
SECTION = re.compile(r"(<!-- (?P<name>\w+):begin -->\n).*?(<!-- (?P=name):end -->)", re.DOTALL)


def filled(text: str) -> str:
    """The README with every table as the committed results have it."""
    machines = read_machines(RESULTS)
    tables = {"latency": _latency, "load": load_table}
    return SECTION.sub(lambda found: "\n".join((found[1], *tables[found["name"]](machines), found[3])), text)


def _latency(machines: Sequence[Results]) -> Iterator[str]:
    for beams in (10, 1):
        yield from speed_table(machines, beams)


def main() -> None:
    README.write_text(filled(README.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
