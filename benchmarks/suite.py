"""Every part in turn, each in a process of its own; what is finished is not run again after an interruption."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks import child, environment
from benchmarks.journal import Journal, code

JOURNAL = ".suite.unfinished"

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Part:
    """One command of `python -m benchmarks`.

    Attributes:
        name: of its result file, without `.json`.
        arguments: of the command, without those that say where the result goes.
    """

    name: str
    arguments: tuple[str, ...]


@dataclass(frozen=True)
class Failure:
    """A part that did not end as it should, and how it ended."""

    name: str
    reason: str


def _part(name: str, arguments: str) -> Part:
    return Part(name, tuple(arguments.split()))


_BASICS = "latency --contestants torch-fp32,stock-dynamic-int8,ours-int8,ours-int8 --rounds"
SHORT = (
    _part("export-400m", "export-cost --ways ours-int8,stock-dynamic-int8"),
    # Twice, some minutes apart: other users of a machine may slow it down for as long.
    _part("latency-400m", f"{_BASICS} 3"),
    _part("load-400m", "load --servers ours,ours,stock-dynamic-int8 --clients 1 4 --rounds 2 --seconds 12"),
    _part("start-400m", "start --rounds 1"),
    _part("latency-again-400m", f"{_BASICS} 3"),
    _part("quality-demo", "quality --samples 100 --replies 20"),
)
FULL = (
    _part(
        "export-400m",
        "export-cost --ways "
        "ours-int8,ours-int4,ours-fp32,stock-dynamic-int8,optimum-fp32,openvino-int8,openvino-int4,ctranslate2-int8",
    ),
    _part(
        "latency-400m",
        "latency --rounds 8 --contestants torch-fp32,stock-int8,ours-int8,ours-int8,ours-int4,onnxruntime-int8,"
        "onnxruntime-int4,stock-dynamic-int8,"
        "openvino-int8,openvino-int4,ctranslate2-int8",
    ),
    # In a run of their own, since all together do not fit into 24 GB; it has its own reference and A/A pair.
    _part(
        "latency-variants-400m",
        "latency --rounds 6 --contestants torch-fp32,ours-int8,ours-int8,ours-fp32,torch-bf16,torch-dynamic-int8,"
        "torch-compile,optimum-fp32",
    ),
    _part("load-400m", "load --clients 1 4 --rounds 3 --seconds 20"),
    _part(
        "load-greedy-400m",
        "load --beams 1 --servers ours,ours,stock-dynamic-int8 --clients 1 8 --rounds 3 --seconds 15",
    ),
    _part("start-400m", "start"),
    _part("scaling-400m", "scaling"),
    _part("quality-demo", "quality"),
    _part("store-redis", "store"),
)


def run(parts: Sequence[Part], results: Path, progress: Progress) -> list[Failure]:
    """Run the parts that an interrupted run has not finished; their results replace those that are there.

    Args:
        parts: in order.
        results: folder for the JSON files.
        progress: told what is running and what remains.

    Returns:
        The parts that failed; the others have gone on without them.
    """
    results.mkdir(parents=True, exist_ok=True)
    machine = {name: value for name, value in environment.machine().items() if name != "load_average"}
    made_from = [[asdict(part) for part in parts], machine, environment.versions(), code()]
    journal = Journal(results / JOURNAL, json.loads(json.dumps(made_from)))
    failures: list[Failure] = []
    began = time.monotonic()
    for number, part in enumerate(parts, 1):
        place = f"== {number} of {len(parts)}: {part.name}"
        output = results / f"{part.name}.json"
        if journal.get(part.name) is not None and output.is_file():
            progress(f"{place}: finished before the interruption, in {journal.get(part.name):.0f} s")
            continue
        rest = ", ".join(one.name for one in parts[number:]) or "the report"
        progress(f"{place}: running, {(time.monotonic() - began) / 60:.0f} minutes after the start; then {rest}")
        output.unlink(missing_ok=True)
        command: list[str | Path] = [
            sys.executable,
            "-m",
            "benchmarks",
            *part.arguments,
            "--output",
            output,
            "--resume",
        ]
        ended = child.run(command, shown=True)
        if ended.code:
            failures.append(Failure(part.name, f"it {ended}"))
            progress(f"{place}: FAILED: it {ended}")
        else:
            journal.put(part.name, ended.seconds)
            progress(f"{place}: finished in {ended.seconds:.0f} s")
    if not failures:
        journal.finish()
    return failures
