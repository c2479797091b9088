"""`profile`: where the time of one decoder step goes."""

from __future__ import annotations

import argparse
import json
from datetime import UTC, datetime
from typing import Any

from benchmarks import environment
from benchmarks.commands import arguments
from benchmarks.errors import InputError
from benchmarks.models import named_export
from benchmarks.output import check_output, write_json
from benchmarks.step_profile import BEAMS, PAST, STEPS, StepProfile, operators, step_time

DESCRIPTION = f"""
Time of one decoder step of our engine by number of rows (greedy requests, and requests of {BEAMS} beams where the rows
allow it), in the graph and outside of it, and a table of the operators of one step of {BEAMS} beams.
"""


def add(commands: Any) -> None:
    """Add the command to a parser's sub-commands."""
    parser = commands.add_parser("profile", help="time one decoder step, operator by operator", description=DESCRIPTION)
    arguments.add_steps(parser, rows=[1, 4, 10, 20, 40], rows_help="rows of a step, beams times requests")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    if options.output is not None:
        check_output(options.output)
    folder = options.exported.expanduser()
    precision = named_export(folder)
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    if config["max_position_embeddings"] < PAST + STEPS + 2:
        raise InputError(f"{folder} has too few positions; a profile takes {PAST + STEPS + 2}.")
    threads = options.threads or environment.usable_cores()
    rows = sorted(set(options.rows))
    kinds = [(1, number) for number in rows]
    kinds += [(BEAMS, number // BEAMS) for number in rows if number % BEAMS == 0]
    date = datetime.now(UTC).isoformat(timespec="seconds")
    machine = environment.machine()

    from service.engine.kernels import library
    from service.engine.network import Network, session_options
    from service.errors import ServiceError

    try:
        arguments.progress("profiling the operators")
        table = operators(folder, config, threads=threads)
        network = Network(folder, config, session_options(threads), library.choose())
        steps = []
        for beams, requests in kinds:
            arguments.progress(f"timing {beams * requests} rows: {requests} x " + _kind(beams))
            steps.append(step_time(network, config, beams=beams, requests=requests))
    except ServiceError as error:
        raise InputError(str(error)) from error
    name = folder.resolve().name
    profile = StepProfile(date, machine, environment.versions(), name, precision, threads, table, steps)
    print(profile.as_text())
    if options.output is not None:
        write_json(profile.as_json(), options.output)


def _kind(beams: int) -> str:
    return f"beam {beams}" if beams > 1 else "greedy"
