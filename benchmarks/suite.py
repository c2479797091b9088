"""`suite`: every part in turn, each in a process of its own; what an interrupted one has finished is not run again."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks import process, report, results
from benchmarks.cache import fingerprint
from benchmarks.environment import this_machine, versions
from benchmarks.errors import BenchmarkError
from benchmarks.export_cost import WAYS
from benchmarks.output import progress

JOURNAL = ".suite.unfinished"
DESCRIPTION = """
Run the parts one after the other, from nothing: models, exports and the environments of rivals are made in the cache.
An interrupted suite goes on when it is started again, with the part that it was at. In the end the report is written,
of what is there even if a part failed.
"""

BASICS = "latency --contestants torch-fp32,stock-dynamic-int8,ours-int8,ours-int8,ours-int4 --rounds 3"
# Commands of `python -m benchmarks` by the name of their result file, without `.json`.
SHORT = {
    "export-400m": "export-cost --ways ours-int8,ours-int4,stock-dynamic-int8",
    # Twice, some minutes apart: other users of a machine may slow it down for as long.
    "latency-400m": BASICS,
    "load-400m": "load --servers ours,ours,stock-dynamic-int8 --clients 1 4 --rounds 2 --seconds 12",
    "start-400m": "start --servers ours,stock-dynamic-int8 --rounds 2",
    "latency-again-400m": BASICS,
    "quality-demo": "quality --samples 100 --replies 20",
}
FULL = {
    "export-400m": f"export-cost --ways {','.join(WAYS)}",
    "latency-400m": "latency --rounds 8 --contestants torch-fp32,stock-int8,ours-int8,ours-int8,ours-int4,"
    "onnxruntime-int8,onnxruntime-int4,stock-dynamic-int8,openvino-int8,openvino-int4,ctranslate2-int8",
    # In a run of their own, since all together do not fit into 24 GB; it has its own reference and A/A pair.
    "latency-variants-400m": "latency --rounds 6 --contestants torch-fp32,ours-int8,ours-int8,ours-fp32,torch-bf16,"
    "torch-dynamic-int8,torch-compile,optimum-fp32",
    "load-400m": "load --clients 1 4 --rounds 3 --seconds 20",
    "load-greedy-400m": "load --beams 1 --servers ours,ours,stock-dynamic-int8 --clients 1 8 --rounds 3 --seconds 15",
    "start-400m": "start",
    "clients-400m": "load --servers ours,stock-dynamic-int8 --clients 1 2 4 8 16 --seconds 15",
    "quality-demo": "quality",
}


def run_parts(parts: Mapping[str, str], folder: Path) -> dict[str, str]:
    """Run the parts, in order, that an interrupted run has not finished; their JSON files in `folder` are replaced.

    Returns how each part ended that failed; the others have gone on without it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    journal = folder / JOURNAL
    depends_on = json.dumps([parts, _surroundings()])
    finished = _finished(journal, depends_on)
    failures: dict[str, str] = {}
    began = time.monotonic()
    for number, (name, arguments) in enumerate(parts.items(), 1):
        place = f"== {number} of {len(parts)}: {name}"
        output = folder / f"{name}.json"
        if name in finished and output.is_file():
            progress(f"{place}: finished before the interruption, in {finished[name]:.0f} s")
            continue
        rest = ", ".join([*parts][number:]) or "the report"
        progress(f"{place}: running, {(time.monotonic() - began) / 60:.0f} minutes after the start; then {rest}")
        output.unlink(missing_ok=True)
        command = [sys.executable, "-m", "benchmarks", *arguments.split(), "--output", str(output)]
        ending = process.run(command, show=True)
        if ending.code:
            failures[name] = f"it {ending}"
            progress(f"{place}: FAILED: it {ending}")
            continue
        finished[name] = ending.seconds
        journal.write_text(json.dumps({"depends_on": depends_on, "finished": finished}), encoding="utf-8")
        progress(f"{place}: finished in {ending.seconds:.0f} s")
    if not failures:
        journal.unlink(missing_ok=True)
    return failures


def _finished(journal: Path, depends_on: str) -> dict[str, float]:
    """Seconds of the parts that an interrupted run of the same things has finished."""
    content = json.loads(journal.read_text(encoding="utf-8")) if journal.is_file() else {}
    return dict(content["finished"]) if content.get("depends_on") == depends_on else {}


def _surroundings() -> list[Any]:
    """What figures depend on: the machine, versions, and the code of the engine, the exporter and the benchmarks."""
    folders = ("service/engine", "service/engine/kernels", "export", "benchmarks", "benchmarks/rivals")
    code = fingerprint(path for folder in folders for path in sorted((process.PROJECT / folder).glob("*.py")))
    return [this_machine().folder, versions(), code]


def add(commands: Any) -> None:
    """Add the command to a parser's sub-commands."""
    parser = commands.add_parser("suite", help="all parts, and the report", description=DESCRIPTION)
    help_text = "torch fp32, stock Optimum int8 and ours only, in few rounds"
    parser.add_argument("--short", action="store_true", help=help_text)
    help_text = "for result files and report (default: benchmarks/results/short, or else one named after the machine)"
    parser.add_argument("--results", type=Path, metavar="DIR", help=help_text)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    parts = SHORT if options.short else FULL
    folder = results.FOLDER / ("short" if options.short else this_machine().folder)
    folder = (options.results or folder).expanduser().resolve()
    failures = run_parts(parts, folder)
    report.write(folder)
    if failures:
        reasons = "; ".join(f"{name}: {ending}" for name, ending in failures.items())
        raise BenchmarkError(f"{len(failures)} of {len(parts)} parts failed ({reasons}); start again to run them.")
