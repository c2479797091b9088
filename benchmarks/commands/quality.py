"""`quality`: what quantisation costs."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks import environment
from benchmarks.cache import Cache
from benchmarks.commands import arguments
from benchmarks.contestants import prepare
from benchmarks.errors import InputError
from benchmarks.models import QUANTIZATIONS, Checkpoint, cached_export, named_checkpoint, named_export
from benchmarks.output import write_json
from benchmarks.quality import SAMPLES, Fidelity, QualityReport, fidelity, heldout_samples
from benchmarks.replies import REPLIES, exported_replies, likeness, torch_replies
from benchmarks.runs import Missing

if TYPE_CHECKING:
    from models.demo.conversations import Sample

STOCK = "stock-dynamic-int8"

DESCRIPTION = """
Exports of the demo model, and what Optimum's dynamic int8 makes of it, against torch fp32 on the held-out dialogues of
models/demo: perplexity, Kullback-Leibler divergence and agreement on the most likely token, teacher-forced in the stock
ORTModelForSeq2SeqLM; and whole replies. `--checkpoint facebook/blenderbot-400M-distill` does the same for the real one.
"""


def add(commands: Any) -> None:
    """Add the command to a parser's sub-commands."""
    parser = commands.add_parser(
        "quality", help="what quantisation costs on held-out dialogues", description=DESCRIPTION
    )
    parser.add_argument(
        "--checkpoint",
        metavar="DIR_OR_ID",
        help="a checkpoint: a folder or a Hub id (default: models/demo/checkpoint)",
    )
    parser.add_argument(
        "--exported",
        type=Path,
        nargs="+",
        default=[],
        metavar="DIR",
        help=f"folders that `python -m export` made of it (default: {', '.join(QUANTIZATIONS)} and {STOCK}, made in "
        "the cache)",
    )
    parser.add_argument(
        "--samples",
        type=arguments.positive,
        default=SAMPLES,
        metavar="N",
        help="replies to compare (default: %(default)s)",
    )
    parser.add_argument(
        "--replies",
        type=arguments.positive,
        default=REPLIES,
        metavar="N",
        help="whole replies to compare (default: %(default)s)",
    )
    arguments.add_output(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    from models.demo.config import CHECKPOINT

    arguments.check_results(options)
    folders = [folder.expanduser() for folder in options.exported]
    missing: list[Missing] = []
    for folder in folders:
        named_export(folder)
    checkpoint = named_checkpoint(options.checkpoint or str(CHECKPOINT))
    if not folders:
        cache = Cache()
        folders = [cached_export(checkpoint, precision, cache, arguments.progress) for precision in QUANTIZATIONS]
        ready, missing = prepare([STOCK], checkpoint, {}, cache, arguments.progress)
        folders += [contestant.path for contestant in ready]
    for folder in folders:
        _check_vocabulary(checkpoint, folder)
    date = datetime.now(UTC).isoformat(timespec="seconds")
    machine = environment.machine()
    arguments.progress(f"drawing {options.samples} replies")
    samples = heldout_samples(max(options.samples, options.replies), checkpoint.folder)
    forced, answered = samples[: options.samples], samples[: options.replies]
    names = [folder.resolve().name for folder in folders]
    journal = arguments.journal(options, [checkpoint.fingerprint, names, options.samples, options.replies])
    results = {}
    for name, folder in zip(names, folders, strict=True):
        arguments.progress(f"comparing {name}, teacher-forced")
        found = journal.kept(name, partial(_forced, checkpoint, folder, forced))
        results[name] = Fidelity(**found)
    arguments.progress(f"{len(answered)} whole replies of torch")
    reference = journal.kept("torch", partial(torch_replies, checkpoint.folder, answered))
    replies = {}
    for name, folder in zip(names, folders, strict=True):
        arguments.progress(f"{len(answered)} whole replies of {name}")
        said = journal.kept(f"replies of {name}", partial(exported_replies, folder, answered))
        replies[name] = likeness(reference, said)
    report = QualityReport(date, machine, environment.versions(), checkpoint, len(forced), results, replies, missing)
    print(report.as_text())
    if options.output is not None:
        write_json(report.as_json(), options.output)
    journal.finish()


def _forced(checkpoint: Checkpoint, folder: Path, samples: Sequence[Sample]) -> dict[str, Any]:
    return asdict(fidelity(checkpoint.folder, folder, samples))


def _check_vocabulary(checkpoint: Checkpoint, exported: Path) -> None:
    ours, theirs = (
        json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))["model"]["vocab"]
        for folder in (checkpoint.folder, exported)
    )
    if ours != theirs:
        raise InputError(f"{exported} is not an export of {checkpoint.folder}: their vocabularies differ.")
