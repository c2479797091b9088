"""`quality`: what quantisation costs."""

from __future__ import annotations

import argparse
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks import environment
from benchmarks.cache import Cache
from benchmarks.commands import arguments
from benchmarks.errors import InputError
from benchmarks.models import QUANTIZATIONS, Checkpoint, cached_export, named_checkpoint, named_export
from benchmarks.output import check_output, write_json
from benchmarks.quality import SAMPLES, QualityReport, fidelity, heldout_samples

DESCRIPTION = """
Exports of the demo model, in the stock ORTModelForSeq2SeqLM, against torch fp32: perplexity, Kullback-Leibler
divergence and agreement on the most likely token over the replies of the held-out dialogues of models/demo.
"""


def add(commands: Any) -> None:
    """Add the command to a parser's sub-commands."""
    parser = commands.add_parser(
        "quality", help="what quantisation costs on held-out dialogues", description=DESCRIPTION
    )
    parser.add_argument(
        "--checkpoint",
        metavar="DIR_OR_ID",
        help="a checkpoint that was trained on the same dialogues (default: models/demo/checkpoint)",
    )
    parser.add_argument(
        "--exported",
        type=Path,
        nargs="+",
        default=[],
        metavar="DIR",
        help=f"folders that `python -m export` made of it (default: {', '.join(QUANTIZATIONS)}, made in the cache)",
    )
    parser.add_argument(
        "--samples",
        type=arguments.positive,
        default=SAMPLES,
        metavar="N",
        help="replies to compare (default: %(default)s)",
    )
    parser.add_argument("--output", type=Path, metavar="FILE.json", help="also write the figures as JSON")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    from models.demo.config import CHECKPOINT

    if options.output is not None:
        check_output(options.output)
    folders = [folder.expanduser() for folder in options.exported]
    for folder in folders:
        named_export(folder)
    checkpoint = named_checkpoint(options.checkpoint or str(CHECKPOINT))
    if not folders:
        cache = Cache()
        folders = [cached_export(checkpoint, precision, cache, arguments.progress) for precision in QUANTIZATIONS]
    for folder in folders:
        _check_vocabulary(checkpoint, folder)
    date = datetime.now(UTC).isoformat(timespec="seconds")
    machine = environment.machine()
    arguments.progress(f"drawing {options.samples} replies")
    samples = heldout_samples(options.samples, checkpoint.folder)
    results = {}
    for folder in folders:
        arguments.progress(f"comparing {folder}")
        results[folder.resolve().name] = fidelity(checkpoint.folder, folder, samples)
    report = QualityReport(date, machine, environment.versions(), checkpoint, len(samples), results)
    print(report.as_text())
    if options.output is not None:
        write_json(report.as_json(), options.output)


def _check_vocabulary(checkpoint: Checkpoint, exported: Path) -> None:
    ours, theirs = (
        json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))["model"]["vocab"]
        for folder in (checkpoint.folder, exported)
    )
    if ours != theirs:
        raise InputError(f"{exported} is not an export of {checkpoint.folder}: their vocabularies differ.")
