"""`profile`: where the time of one decoder step of our engine goes."""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from benchmarks import session
from benchmarks.checkpoints import named_export
from benchmarks.environment import usable_cores
from benchmarks.errors import InputError
from benchmarks.results import Results
from benchmarks.schema import Operator, Profile, StepTime
from benchmarks.session import Session, progress
from benchmarks.tables import Block, Heading, Prose, Table

if TYPE_CHECKING:
    from service.engine.network import Network, StepBinding

PAST = 30
SOURCE_TOKENS = 28
STEPS = 20
BEAMS = 10
DESCRIPTION = f"""
Time of one decoder step of our engine by number of rows (greedy requests, and requests of {BEAMS} beams where the rows
allow it), in the graph and outside of it, and a table of the operators of one step of {BEAMS} beams.
"""


def step_time(network: Network, config: Mapping[str, Any], *, beams: int, requests: int) -> StepTime:
    """Measure `STEPS` steps, `PAST` tokens into replies that all began together; `config` is that of the folder."""
    import numpy as np

    from service.engine.batch import Batch
    from service.engine.sequence import Sequence
    from service.engine.settings import DecodingSettings

    random = np.random.default_rng(0)
    length = PAST + STEPS + 2
    settings = DecodingSettings(
        num_beams=beams, min_length=length, max_length=length, no_repeat_ngram_size=3, encoder_no_repeat_ngram_size=3
    )
    batch = Batch(network)
    for _ in range(requests):
        batch.add(Sequence(random.integers(4, config["vocab_size"], SOURCE_TOKENS), settings))
    steps = []
    with _timed_graphs() as graph:
        for _ in range(PAST + STEPS):
            started = time.perf_counter()
            batch.step()
            steps.append((time.perf_counter() - started) * 1e3)
    return StepTime(beams=beams, requests=requests, step_ms=steps[PAST:], graph_ms=graph[PAST:])


def operators(folder: Path, config: Mapping[str, Any], *, threads: int) -> list[Operator]:
    """The operators of one step of `BEAMS` beams, the slowest first, from ONNX Runtime's own trace of `STEPS` steps."""
    from service.engine.kernels import library
    from service.engine.network import Network, session_options

    with tempfile.TemporaryDirectory() as scratch:
        options = session_options(threads)
        options.enable_profiling = True
        options.profile_file_prefix = str(Path(scratch) / "profile")
        network = Network(folder, config, options, library.choose())
        step_time(network, config, beams=BEAMS, requests=1)
        events: Sequence[Mapping[str, Any]] = json.loads(Path(network.end_profiling()).read_text(encoding="utf-8"))
    begin = [event["ts"] for event in events if event["name"] == "model_run"][-STEPS:][0]
    spent: defaultdict[str, float] = defaultdict(float)
    count: defaultdict[str, int] = defaultdict(int)
    for event in events:
        if event["cat"] == "Node" and event["name"].endswith("_kernel_time") and event["ts"] >= begin:
            spent[event["args"]["op_name"]] += event["dur"]
            count[event["args"]["op_name"]] += 1
    slowest = sorted(spent, key=spent.__getitem__, reverse=True)
    return [Operator(name=name, ms=spent[name] / STEPS / 1e3, nodes=count[name] // STEPS) for name in slowest]


@contextmanager
def _timed_graphs() -> Iterator[list[float]]:
    """Milliseconds of every run of the graph of a step within the block."""
    from service.engine.network import StepBinding

    times: list[float] = []
    run = StepBinding.run

    def timed(binding: StepBinding, *arguments: Any) -> Any:
        started = time.perf_counter()
        outputs = run(binding, *arguments)
        times.append((time.perf_counter() - started) * 1e3)
        return outputs

    with patch.object(StepBinding, "run", timed):
        yield times


def add(commands: Any) -> None:
    """Add the command to a parser's sub-commands."""
    parser = commands.add_parser("profile", help="time one decoder step, operator by operator", description=DESCRIPTION)
    help_text = "folder that `python -m export` wrote"
    parser.add_argument("--exported", type=Path, required=True, metavar="DIR", help=help_text)
    session.number(parser, "--rows", [1, 4, 10, 20, 40], "rows of a step, beams times requests")
    session.number(parser, "--threads", usable_cores(), "threads")
    parser.add_argument("--output", type=Path, metavar="FILE.json", help="also write the figures as JSON")
    parser.set_defaults(run=run, resume=False)


def run(options: argparse.Namespace) -> None:
    current = Session(options)
    folder = options.exported.expanduser()
    precision = named_export(folder)
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    if config["max_position_embeddings"] < PAST + STEPS + 2:
        raise InputError(f"{folder} has too few positions; a profile takes {PAST + STEPS + 2}.")
    rows = sorted(set(options.rows))
    kinds = [(1, number) for number in rows]
    kinds += [(BEAMS, number // BEAMS) for number in rows if number % BEAMS == 0]
    head = current.begin()

    from models.folder import ModelFolderError
    from service.engine.kernels import library
    from service.engine.network import Network, session_options

    try:
        progress("profiling the operators")
        table = operators(folder, config, threads=options.threads)
        network = Network(folder, config, session_options(options.threads), library.choose())
        steps = []
        for beams, requests in kinds:
            progress(f"timing {beams * requests} rows: {_kind(beams, requests)}")
            steps.append(step_time(network, config, beams=beams, requests=requests))
    except ModelFolderError as error:
        raise InputError(str(error)) from error
    measurement = Profile(
        **head,
        settings={
            "exported": folder.resolve().name,
            "precision": precision,
            "threads": options.threads,
            "past_tokens": PAST,
            "source_tokens": SOURCE_TOKENS,
            "steps": STEPS,
        },
        operators=table,
        steps=steps,
    )
    current.finish(measurement, section(Results(Path(), {"profile": measurement})))


def _kind(beams: int, requests: int) -> str:
    return f"{requests} x " + (f"beam {beams}" if beams > 1 else "greedy")


def section(results: Results) -> Iterator[Block]:
    """Steps by number of rows, and the operators of one step."""
    for part in results.of_kind(Profile).values():
        settings, steps = part.settings, part.steps
        yield Heading(f"One decoder step, {settings['precision']}")
        outside = [[step - graph for step, graph in zip(row.step_ms, row.graph_ms, strict=True)] for row in steps]
        yield Table(
            ("rows", "", "step ms", "graph ms", "outside ms"),
            [
                (
                    str(row.beams * row.requests),
                    _kind(row.beams, row.requests),
                    *(f"{median(times):.2f}" for times in (row.step_ms, row.graph_ms, rest)),
                )
                for row, rest in zip(steps, outside, strict=True)
            ],
        )
        total = sum(operator.ms for operator in part.operators)
        yield Table(
            (f"operators, {_kind(BEAMS, 1)}", "ms", "share", "nodes"),
            [
                (operator.name, f"{operator.ms:.3f}", f"{operator.ms / total:.1%}", str(operator.nodes))
                for operator in part.operators
            ],
        )
        yield Prose(
            f"{settings['past_tokens']} tokens into replies to sources of {settings['source_tokens']} tokens, "
            f"{settings['threads']} threads, medians of {settings['steps']} steps; {settings['exported']}, onnxruntime "
            f"{part.versions['onnxruntime']}."
        )
