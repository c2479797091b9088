"""`export-cost`: what it takes to turn a checkpoint into a model folder."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from benchmarks import environment
from benchmarks.cache import Cache
from benchmarks.commands import arguments
from benchmarks.contestants import ENTRIES, prepare
from benchmarks.cost import Cost
from benchmarks.models import Checkpoint, named_checkpoint, synthetic_checkpoint
from benchmarks.output import machine_line, wrapped, write_json

FORMAT = 1
WAYS = (
    "ours-int8",
    "ours-int4",
    "ours-fp32",
    "stock-dynamic-int8",
    "optimum-fp32",
    "openvino-int8",
    "openvino-int4",
    "ctranslate2-int8",
)
DESCRIPTION = f"""
Each export or conversion is made anew, in a process of its own, and put into the cache for the other commands: its
time, the largest memory of its process, and the size of the folder. Ours is `python -m export --no-verify`. Ways:
{", ".join(WAYS)}.
"""


def add(commands: Any) -> None:
    """Add the command to a parser's sub-commands."""
    parser = commands.add_parser("export-cost", help="time, memory and size of exports", description=DESCRIPTION)
    parser.add_argument("--checkpoint", metavar="DIR_OR_ID", help="a folder or a Hub id (default: a synthetic one)")
    parser.add_argument(
        "--ways",
        type=_ways,
        default=("ours-int8", "stock-dynamic-int8"),
        metavar="A,B,...",
        help="what to measure (default: ours-int8,stock-dynamic-int8)",
    )
    arguments.add_output(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    arguments.check_results(options)
    cache = Cache()
    named = options.checkpoint
    checkpoint = synthetic_checkpoint(cache, arguments.progress) if named is None else named_checkpoint(named)
    date = datetime.now(UTC).isoformat(timespec="seconds")
    machine = environment.machine()
    journal = arguments.journal(options, [checkpoint.fingerprint, options.ways])
    results: list[dict[str, Any]] = []
    missing: list[dict[str, Any]] = []
    for way in options.ways:
        arguments.progress(f"export: {way}")
        found = journal.kept(way, lambda way=way: cost(way, checkpoint, cache))  # type: ignore[misc]
        (missing if "reason" in found else results).append({"name": way, **found})
    report = {
        "benchmark": "export-cost",
        "format": FORMAT,
        "date": date,
        "machine": machine,
        "versions": environment.versions(),
        "settings": {"checkpoint": checkpoint.source, "verification": "left out"},
        "missing": missing,
        "results": results,
    }
    print("\n".join(_text(report)))
    if options.output is not None:
        write_json(report, options.output)
    journal.finish()


def cost(way: str, checkpoint: Checkpoint, cache: Cache) -> dict[str, Any]:
    """What one way takes, made anew; the reason when it fails."""
    entry = ENTRIES[way]
    cache.forget(entry.cached(checkpoint))
    ready, missing = prepare([way], checkpoint, {}, cache, arguments.progress)
    if missing:
        return {"reason": missing[0].reason}
    return {"title": ready[0].title, **asdict(Cost.read(ready[0].path))}


def _text(report: dict[str, Any]) -> list[str]:
    lines = [f"{'':20}  {'seconds':>8}  {'peak GB':>8}  {'size MB':>8}"]
    lines += [
        f"{row['name']:20}  {row['seconds']:8.1f}  {row['peak_bytes'] / 1e9:8.2f}  {row['size_bytes'] / 1e6:8.0f}"
        for row in report["results"]
    ]
    head = ["Export of " + report["settings"]["checkpoint"], machine_line(report["machine"]), ""]
    notes = [f"missing: {one['name']}: {one['reason']}." for one in report["missing"]]
    return [*wrapped(head), *lines, *wrapped(notes)]


def _ways(text: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",")))
    unknown = next((name for name in names if name not in WAYS), None)
    if unknown is not None:
        raise argparse.ArgumentTypeError(f"there is no way {unknown!r}; choose from {', '.join(WAYS)}")
    return names
