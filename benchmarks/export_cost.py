"""`export-cost` and `shapes`: what exports of one checkpoint by several ways take, and of checkpoints of any size."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks import process, session
from benchmarks.cache import Cache
from benchmarks.checkpoints import Checkpoint, export, read_cost, size_bytes
from benchmarks.contestants import CONTESTANTS, prepare, title
from benchmarks.errors import BenchmarkError
from benchmarks.results import Results
from benchmarks.schema import ExportCost, ExportCosts, Missing, ShapeCost, Shapes
from benchmarks.session import Session, progress
from benchmarks.tables import Block, Heading, Prose, Table

WAYS = [name for name, contestant in CONTESTANTS.items() if contestant.recipe or name.startswith("ours-")]
NEW_TOKENS, SOURCE_TOKENS = 60, 28
REPLIES = 2
DESCRIPTION = f"""
Each export or conversion is made anew, in a process of its own, and put into the cache for the other commands: its
time, the largest memory of its processes together, and the size of the folder. Ways: {", ".join(WAYS)}.
"""
SHAPES_DESCRIPTION = f"""
Each checkpoint is exported with 8-bit and with 4-bit weights, by `python -m export --no-verify` in a process of its
own, and the engine writes replies of {NEW_TOKENS} tokens to {SOURCE_TOKENS}, greedy and with 10 beams, in another.
`python -m benchmarks synthetic --shape` makes checkpoints of known sizes.
"""


def cost(way: str, checkpoint: Checkpoint, cache: Cache) -> dict[str, Any]:
    """Fields of `ExportCost` for one way, made anew, or those of `Missing` when it fails."""
    cache.forget(CONTESTANTS[way].cached(checkpoint))
    ready, missing = prepare([way], checkpoint, {}, cache, progress)
    if missing:
        return missing[0].model_dump()
    return {"name": way, "title": ready[0].details, **read_cost(ready[0].folder)}


def shape_cost(checkpoint: Path, precision: str) -> dict[str, Any]:
    """Fields of `ShapeCost`: export into a temporary folder beside the checkpoint, and replies with what came out."""
    with TemporaryDirectory(dir=checkpoint.parent) as scratch:
        folder = Path(scratch) / "exported"
        exported = export(checkpoint, folder, precision)
        if exported.code != 0:
            raise BenchmarkError(f"The export {exported}.")
        replied = process.run([sys.executable, "-m", "benchmarks.export_cost", folder])
        if replied.code != 0:
            raise BenchmarkError(f"The engine {replied}.")
        return {
            "checkpoint": checkpoint.name,
            "precision": precision,
            "export_s": exported.seconds,
            "export_peak_bytes": exported.peak_bytes,
            "size_bytes": size_bytes(folder),
            "resident_bytes": replied.peak_bytes,
            **json.loads(replied.last_line),
        }


def reply_times(folder: Path) -> dict[str, float]:
    """Load an exported folder and write replies of fixed length to a random source."""
    import numpy as np

    from service.engine.chat_model import load
    from service.engine.sequence import Sequence

    started = time.perf_counter()
    model = load(folder)
    times = {"load_s": time.perf_counter() - started}
    vocabulary = json.loads((folder / "config.json").read_text(encoding="utf-8"))["vocab_size"]
    source = np.random.default_rng(0).integers(4, vocabulary, SOURCE_TOKENS)
    for name, beams in (("greedy_s", 1), ("beam10_s", 10)):
        settings = model.settings.override({"num_beams": beams, "min_length": NEW_TOKENS, "max_length": NEW_TOKENS})
        times[name] = float("inf")
        for _ in range(REPLIES):
            batch = model.batch()
            started = time.perf_counter()
            batch.add(Sequence(source, settings))
            while len(batch):
                batch.step()
            times[name] = min(times[name], time.perf_counter() - started)
    return times


def add(commands: Any) -> None:
    """Add both commands to a parser's sub-commands."""
    parser = commands.add_parser("export-cost", help="time, memory and size of exports", description=DESCRIPTION)
    session.add_checkpoint(parser)
    settings = {"type": session.names_of(WAYS, "way"), "default": ("ours-int8", "stock-dynamic-int8")}
    help_text = "what to measure (default: ours-int8,stock-dynamic-int8)"
    parser.add_argument("--ways", metavar="A,B,...", help=help_text, **settings)
    parser.set_defaults(run=run)

    help_text = "export and replies by size of the model"
    parser = commands.add_parser("shapes", help=help_text, description=SHAPES_DESCRIPTION)
    parser.add_argument("checkpoints", nargs="+", type=Path, metavar="DIR", help="folders of checkpoints")
    session.add_output(parser)
    parser.set_defaults(run=run_shapes)


def run(options: argparse.Namespace) -> None:
    current = Session(options)
    checkpoint = current.checkpoint()
    head = current.begin(checkpoint.fingerprint, options.ways)
    rows = []
    for way in dict.fromkeys(options.ways):
        progress(f"export: {way}")
        rows.append(current.journal.get_or(way, lambda way=way: cost(way, checkpoint, current.cache)))  # type: ignore[misc]
    measurement = ExportCosts(
        **head,
        settings={"checkpoint": checkpoint.source, "verification": "left out"},
        missing=[Missing(**row) for row in rows if "reason" in row],
        results=[ExportCost(**row) for row in rows if "reason" not in row],
    )
    current.finish(measurement, section(Results(Path(), {"export": measurement})))


def run_shapes(options: argparse.Namespace) -> None:
    current = Session(options)
    head = current.begin(options.checkpoints)
    rows = []
    for checkpoint, precision in (
        (folder.absolute(), bits) for folder in options.checkpoints for bits in ("int8", "int4")
    ):
        progress(f"{checkpoint.name}: {precision}")
        stored = current.journal.get_or(
            f"{checkpoint} {precision}",
            lambda folder=checkpoint, bits=precision: shape_cost(folder, bits),  # type: ignore[misc]
        )
        rows.append(ShapeCost(**stored))
    settings = {"new_tokens": NEW_TOKENS, "source_tokens": SOURCE_TOKENS, "verification": "left out"}
    measurement = Shapes(**head, settings=settings, results=rows)
    current.finish(measurement, shapes_section(Results(Path(), {"shapes": measurement})))


def section(results: Results) -> Iterator[Block]:
    """Seconds, memory and size of every way."""
    rows = [
        (title(name), f"{row.seconds:.0f}", f"{row.peak_bytes / 1e9:.2f}", f"{row.size_bytes / 1e6:,.0f}")
        for name, row in results.exports().items()
    ]
    if rows:
        yield Heading("Export")
        yield Table(("", "seconds", "peak GB", "MB on disk"), rows)


def shapes_section(results: Results) -> Iterator[Block]:
    """Export and replies by size of the model."""
    for part in results.of_kind(Shapes).values():
        rows = [
            (
                row.checkpoint,
                row.precision,
                f"{row.size_bytes / 1e6:,.0f} MB",
                f"{row.export_s:.0f} s",
                f"{row.export_peak_bytes / 1e9:.2f} GB",
                f"{row.resident_bytes / 1e9:.2f} GB",
                f"{row.greedy_s:.2f} s",
                f"{row.beam10_s:.2f} s",
            )
            for row in part.results
        ]
        columns = ("weights", "folder", "export", "its most memory", "engine's most memory", "greedy", "10 beams")
        lengths = f"{part.settings['new_tokens']} tokens to {part.settings['source_tokens']}"
        yield Heading("Export and replies by size of the model")
        yield Table(("model", *columns), rows)
        yield Prose(f"The best of {REPLIES} replies of {lengths}; memory of all processes together.")


if __name__ == "__main__":
    print(json.dumps(reply_times(Path(sys.argv[1]))))
