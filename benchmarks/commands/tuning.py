"""`tuning`: the engine's settings beside others."""

from __future__ import annotations

import argparse
import json
from datetime import UTC, datetime
from typing import Any

from benchmarks import environment
from benchmarks.commands import arguments
from benchmarks.models import named_export
from benchmarks.output import check_output, write_json
from benchmarks.tuning import SCHEMES, VARIANTS, Tuning, scheme_time, variant_time

DESCRIPTION = """
Whole replies of our engine under its own session options and under others, each in a process of its own, and the weight
products of one decoder step by bits, block size and number of rows.
"""


def add(commands: Any) -> None:
    """Add the command to a parser's sub-commands."""
    parser = commands.add_parser("tuning", help="our engine's settings beside others", description=DESCRIPTION)
    arguments.add_steps(parser, rows=[1, 10, 20, 40], rows_help="rows of the products")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    if options.output is not None:
        check_output(options.output)
    folder = options.exported.expanduser()
    named_export(folder)
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    threads = options.threads or environment.usable_cores()
    date = datetime.now(UTC).isoformat(timespec="seconds")
    machine = environment.machine()
    variants = []
    for name in VARIANTS:
        arguments.progress(f"session options: {name}")
        variants.append(variant_time(name, folder, threads))
    schemes = []
    for bits, block_size in SCHEMES:
        arguments.progress(f"products: {bits} bits, blocks of {block_size}")
        schemes.append(scheme_time(bits, block_size, config, sorted(set(options.rows)), threads))
    name = folder.resolve().name
    tuning = Tuning(date, machine, environment.versions(), name, threads, variants, schemes)
    print(tuning.as_text())
    if options.output is not None:
        write_json(tuning.as_json(), options.output)
