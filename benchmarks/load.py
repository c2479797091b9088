"""`load`: how chat servers bear load, over HTTP."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import Any

from benchmarks import arguments, output, servers
from benchmarks.checkpoints import decoding
from benchmarks.contest import PAUSE_AFTER_ERROR_S, Contest, named
from benchmarks.figures import largest, noise_text, times_as_many
from benchmarks.results import CLIENTS, LOADS, Results
from benchmarks.schema import Load, LoadResult
from benchmarks.servers import OURS, TIMEOUT_S, TITLES, title
from benchmarks.session import Session

DESCRIPTION = f"""
Chat servers under load, over HTTP on the loopback address: our service, the stock ORTModelForSeq2SeqLM behind one lock
and waitress, and the tutorial's Flask app with torch. They take turns, run by run, on the same prompts, each in a
conversation of its own, and every reply must have the number of tokens that was asked for. Servers:
{", ".join(TITLES)}.
"""


def add(commands: Any) -> None:
    """Add the command to a parser's sub-commands."""
    parser = commands.add_parser("load", help="put chat servers under load", description=DESCRIPTION)
    arguments.add_workload(parser, 3, "runs of each server under each load")
    servers.add_options(parser, (OURS, *TITLES))
    text = "clients that each send the next request when the last reply has come"
    arguments.number(parser, "--clients", [1, 4], text)
    arguments.number(parser, "--seconds", 30, "a run sends its last request by then, and waits for all replies")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    session = Session(options.output)
    checkpoint = session.checkpoint(options)
    loads = list(dict.fromkeys(options.clients))
    line_up = servers.prepare(options, checkpoint, session, queue=max(loads))
    session.begin(
        checkpoint,
        clients=loads,
        rounds=options.rounds,
        seconds=options.seconds,
        **line_up.sizes.model_dump(),
        decoding=decoding(checkpoint.folder),
        timeout_s=TIMEOUT_S,
        counted_tokens=line_up.reply_tokens,
        pause_after_error_s=PAUSE_AFTER_ERROR_S,
    )
    contest = Contest(line_up, session, clients=loads, rounds=options.rounds, seconds=options.seconds)
    results = contest.run()
    session.finish(Load, LOADS[0], section, servers=contest.participants(), results=results)


def section(results: Results) -> Iterator[str]:
    """Replies a second and their times, of every server under every load."""
    parts = results.of_kind(Load, (*LOADS, CLIENTS)).values()
    if not parts:
        return
    yield output.heading("Many clients")
    for part in parts:
        settings = part.settings
        yield output.heading("Greedy" if settings["beams"] == 1 else f"{settings['beams']} beams", 3)
        columns = ("clients", "", "replies/s", "tokens/s", "p50 s", "p90 s", "p99 s", "max s", "errors", "beside one")
        yield output.table(columns, [row for result in part.results for row in _rows(part, result)])
        pairs = [f"A/A pair, {named(result.clients)}: {noise_text(result.noise)}." for result in part.results]
        yield output.bullets([*pairs, *_failures(part)])
        memory = (f"{title(server.label)} {(server.peak_bytes or 0) / 1e6:,.0f} MB" for server in part.servers)
        yield output.paragraph(
            f"{settings['source_tokens']} source tokens, {settings['new_tokens']} generated (checked), "
            f"{settings['threads']} threads, {settings['rounds']} rounds of {settings['seconds']:g} s a run. Memory at "
            f"most: {', '.join(memory)}."
        )
    yield output.paragraph(
        "Over HTTP on the loopback address; replies of fixed length, computed and checked. *replies/s* and *beside one*"
        " client: of the best rounds, in brackets the smallest and largest; p50 to max: from the moment a request was "
        "sent to the last byte of its reply, of all rounds together; errors are in no other figure."
    )


def _rows(part: Load, result: LoadResult) -> Iterator[tuple[str, ...]]:
    alone = {server.label: server for other in part.results if other.clients == 1 for server in other.servers}
    for server in result.servers:
        rate = largest(server.rates)
        times = (server.seconds(share) for share in (0.5, 0.9, 0.99, 1.0))
        compared = result.clients > 1 and server.label in alone
        beside = times_as_many(server.rates, alone[server.label].rates) if compared else None
        yield (
            str(result.clients),
            title(server.label),
            str(rate),
            f"{rate.best * part.settings['new_tokens']:.0f}",
            *("-" if seconds is None else f"{seconds:.2f}" for seconds in times),
            str(server.errors.total()),
            "-" if beside is None else str(beside),
        )


def _failures(part: Load) -> Iterator[str]:
    for result in part.results:
        for server in result.servers:
            place = f"errors: {named(result.clients)}: {server.label}"
            details = {exchange.error: exchange.detail for run in server.runs for exchange in run.requests}
            for kind, count in server.errors.most_common():
                yield f"{place}: {count} x {kind}, such as: {details[kind]}."
            for run in server.runs:
                if run.ended:
                    yield f"{place}: in round {run.round + 1} the server {run.ended}."
