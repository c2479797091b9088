"""How cost grows: one setting of a reply at a time, and the number of clients."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks import load
from benchmarks.cache import Cache
from benchmarks.errors import BackendError, WorkloadError
from benchmarks.fairness import check_reply, check_witness
from benchmarks.journal import Journal
from benchmarks.load_summary import figures
from benchmarks.loops import ClosedLoop, Limit
from benchmarks.models import Checkpoint
from benchmarks.process import BackendProcess
from benchmarks.prompts import prompts
from benchmarks.runs import Contestant, Missing
from benchmarks.servers import OURS, STOCK, prepare
from benchmarks.workload import Vocabulary, Workload, source

BEAMS = (1, 2, 4, 6, 8, 10)
SOURCE_TOKENS = (8, 16, 32, 64, 128)
NEW_TOKENS = (8, 15, 30, 45, 60)
CLIENTS = (1, 2, 4, 8, 16)

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Point:
    """The settings of a reply."""

    beams: int
    source_tokens: int
    new_tokens: int
    threads: int


def points(base: Point, longest: int) -> list[tuple[str, Point]]:
    """One setting changed at a time, by its name; `longest` is what the model has positions for."""
    values = {
        "threads": range(1, base.threads + 1),
        "beams": BEAMS,
        "source_tokens": [length for length in SOURCE_TOKENS if length <= longest],
        "new_tokens": [length for length in NEW_TOKENS if length <= longest],
    }
    return [(axis, replace(base, **{axis: value})) for axis, found in values.items() for value in found]


def reply_points(
    contestants: Sequence[Contestant],
    wanted: Sequence[tuple[str, Point]],
    rounds: int,
    progress: Progress,
    journal: Journal,
) -> tuple[list[dict[str, Any]], list[Missing]]:
    """Seconds of a reply at each point: contestants take turns, round by round, after one reply that is watched.

    Returns:
        A row for each point and contestant, and the rivals that failed.
    """
    rows: list[dict[str, Any]] = []
    missing: dict[str, str] = {}
    for threads in dict.fromkeys(point.threads for _, point in wanted):
        group = [(axis, point) for axis, point in wanted if point.threads == threads]
        with ExitStack() as stack:
            processes: dict[str, tuple[BackendProcess, dict[str, Any]]] = {}
            for axis, point in group:
                kept = journal.get(f"{axis} {asdict(point)}")
                if kept is None:
                    for one in contestants:
                        if one.label not in processes and one.name not in missing:
                            _load(one, threads, stack, processes, missing, progress)
                    kept = _point(contestants, processes, point, rounds, missing, progress)
                    journal.put(f"{axis} {asdict(point)}", kept)
                told = ", ".join(f"{label} {median(seconds):.3f} s" for label, seconds in kept.items())
                progress(f"{axis.replace('_', ' ')} {getattr(point, axis)}: {told}")
                rows += [
                    {"axis": axis, "label": label, **asdict(point), "median_s": median(seconds), "seconds": seconds}
                    for label, seconds in kept.items()
                ]
    return rows, [Missing(name, reason) for name, reason in missing.items()]


def _load(
    one: Contestant,
    threads: int,
    stack: ExitStack,
    processes: dict[str, tuple[BackendProcess, dict[str, Any]]],
    missing: dict[str, str],
    progress: Progress,
) -> None:
    progress(f"loading {one.label} with {threads} threads")
    try:
        process = stack.enter_context(BackendProcess(one.label, one.command))
        process.request("load", path=str(one.path), threads=threads)
        processes[one.label] = (process, process.request("describe"))
    except BackendError as error:
        _leave_out(one, error, missing, progress)


def _point(
    contestants: Sequence[Contestant],
    processes: dict[str, tuple[BackendProcess, dict[str, Any]]],
    point: Point,
    rounds: int,
    missing: dict[str, str],
    progress: Progress,
) -> dict[str, list[float]]:
    seconds: dict[str, list[float]] = {}
    workload = Workload((point.beams,), point.new_tokens, point.source_tokens, rounds, point.threads)
    for number in range(-1, rounds):
        for one in contestants:
            if one.name in missing:
                continue
            process, description = processes[one.label]
            special = frozenset(description["special_ids"])
            ids = source(workload, Vocabulary(description["vocab_size"], special, description["eos_id"]), number)
            request = {"ids": ids, "beams": point.beams, "new_tokens": point.new_tokens}
            try:
                reply = process.request("witness" if number < 0 else "generate", **request)
                check_reply(one, ids, reply["tokens"], description["decoding"], point.new_tokens)
                if number < 0:
                    check_witness(one, reply, point.beams, workload)
                else:
                    seconds.setdefault(one.label, []).append(reply["seconds"])
            except (BackendError, WorkloadError) as error:
                _leave_out(one, error, missing, progress)
                seconds.pop(one.label, None)
    return seconds


def _leave_out(one: Contestant, error: Exception, missing: dict[str, str], progress: Progress) -> None:
    if not one.rival:
        raise error
    progress(f"{one.label} is missing: {error}")
    missing[one.name] = str(error).rstrip(".")


def clients_points(
    checkpoint: Checkpoint,
    exported: Path | None,
    options: argparse.Namespace,
    threads: int,
    cache: Cache,
    progress: Progress,
    journal: Journal,
) -> list[dict[str, Any]]:
    """Replies a second of our service and of the stock path, with 10 beams, by number of clients."""
    workload = load.LoadWorkload(
        loops=tuple(map(ClosedLoop, options.clients)),
        limit=Limit(options.seconds),
        rounds=options.rounds,
        beams=10,
        new_tokens=options.new_tokens,
        source_tokens=options.source_tokens,
        threads=threads,
        timeout_s=300.0,
    )
    line_up = prepare((OURS, STOCK), checkpoint, exported, workload, cache, progress)
    texts = prompts(checkpoint.folder, workload.source_tokens)
    counted = workload.new_tokens - (line_up.decoding.get("forced_eos_token_id") is not None)
    found = load.measure(line_up.servers, workload, texts, counted, progress, journal)
    return list(_client_rows(found))


def _client_rows(found: load.LoadRun) -> Iterator[dict[str, Any]]:
    for result in found.results:
        for server in result.servers:
            summed = figures(server)
            yield {
                "label": server.label,
                "clients": result.loop.most,
                "replies_per_s": summed.replies_per_s.median,
                "p50_s": None if summed.latency_s is None else summed.latency_s.p50,
                "p99_s": None if summed.latency_s is None else summed.latency_s.p99,
                "errors": dict(summed.errors),
                "rounds": [run.replies_per_s for run in server.runs],
            }
