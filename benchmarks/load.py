"""`load`: how chat servers bear load: they take turns, run by run, each in a process of its own and idle in between."""

from __future__ import annotations

import argparse
import itertools
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarks import session
from benchmarks.client import Client
from benchmarks.environment import peak_bytes
from benchmarks.errors import ArgumentError, ServerError
from benchmarks.figures import MAX_NOISE, largest, noise, noise_text, pair_of, times_as_many
from benchmarks.journal import Journal
from benchmarks.process import ServerProcess, uninterrupted
from benchmarks.results import CLIENTS, LOADS, Results
from benchmarks.schema import Exchange, Load, LoadResult, Missing, Participant, Run, ServerRuns, Sizes
from benchmarks.servers import NAMES, OURS, LineUp, Server, prepare, title
from benchmarks.session import Session, number, progress
from benchmarks.tables import Block, Heading, Items, Prose, Table

IDLE_TIMEOUT_S = 20.0
# How often the rounds of a load are run again when its A/A pair is too noisy.
REPEATS = 1
PROMPTS_PER_ROUND = 31
PAUSE_AFTER_ERROR_S = 0.5
DESCRIPTION = f"""
Chat servers under load, over HTTP on the loopback address: our service, the stock ORTModelForSeq2SeqLM behind one lock
and waitress, and the tutorial's Flask app with torch. They take turns, run by run, on the same prompts, each in a
conversation of its own, and every reply must have the number of tokens that was asked for. Servers: {", ".join(NAMES)}.
"""


@dataclass(frozen=True)
class Plan:
    """What every server is asked.

    Attributes:
        clients: the loads, one after the other in each round.
        rounds: runs of each server under each load.
        source_tokens: of each prompt.
        seconds: no request is sent later than that after the beginning of a run; None for no such limit.
        requests: no more than that are sent in a run; None for no such limit.
        timeout_s: after which a request is given up.
    """

    clients: Sequence[int]
    rounds: int
    source_tokens: int
    seconds: float | None = None
    requests: int | None = None
    timeout_s: float = 300.0


def closed_loop(
    ask: Callable[[int, float, float], Exchange], clients: int, seconds: float | None, requests: int | None
) -> list[Exchange]:
    """Clients that each send the next request when the reply to the last one has come; all replies are waited for.

    After an error a client pauses for a moment.

    Args:
        ask: sends the request of a number; the others are when the run began and when the request was due.
        clients: how many there are.
        seconds, requests: limits of the run, as in `Plan`.
    """
    exchanges: list[Exchange] = []
    failures: list[Exception] = []
    numbers = itertools.count()
    began = time.perf_counter()

    def visit() -> None:
        while True:
            number, due = next(numbers), time.perf_counter()
            if (requests is not None and number >= requests) or (seconds is not None and due - began >= seconds):
                return
            try:
                exchanges.append(ask(number, began, due))
            except Exception as error:
                failures.append(error)
                return
            if exchanges[-1].error:
                time.sleep(PAUSE_AFTER_ERROR_S)

    # An interrupt does not wait for them.
    threads = [threading.Thread(target=visit, daemon=True) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
    return sorted(exchanges, key=lambda exchange: exchange.start_s)


def named(clients: int) -> str:
    return f"{clients} client" + "s" * (clients > 1)


@dataclass
class Place:
    """A server and the process that it runs in now; `warm` are the numbers of clients that it has had."""

    server: Server
    stack: ExitStack
    process: ServerProcess = field(init=False)
    peak_bytes: int = 0
    warm: set[int] = field(default_factory=set)

    def start(self) -> None:
        with uninterrupted():
            self.process = self.stack.enter_context(ServerProcess(self.server.label, self.server.command))
        self.process.wait_ready()
        self.process.wait_idle(IDLE_TIMEOUT_S)
        self.warm.clear()


class Contest:
    """All servers under all loads.

    In each round every server gets the same prompts, and who goes first changes from round to round. Before each run
    come some requests that are not counted: the first time as many at once as there are clients, later one. A server
    that ends, or that goes on working after a run on requests that were given up, is started again. Under a load where
    the A/A pair is too noisy, the rounds are run again, `REPEATS` times at most; the quietest are kept.

    Attributes:
        missing: rivals that did not start.
    """

    def __init__(
        self, line_up: LineUp, plan: Plan, progress: Callable[[str], None], journal: Journal | None = None
    ) -> None:
        """`journal` is that of a measurement that was interrupted; what it holds is not measured again."""
        self.missing: list[Missing] = []
        self._line_up = line_up
        self._plan = plan
        self._progress = progress
        self._journal = Journal() if journal is None else journal
        self._places: list[Place] = []

    def run(self) -> list[LoadResult]:
        """A result for each load.

        Raises:
            ServerError: a server did not start, and either is no rival or ran before; or none started.
        """
        with ExitStack() as stack:
            for server in self._line_up.servers:
                self._progress(f"starting {server.label}")
                place = Place(server, stack)
                try:
                    place.start()
                    self._places.append(place)
                except ServerError as error:
                    if not server.rival:
                        raise
                    self._progress(f"{server.label} is missing: {error}")
                    self.missing.append(Missing(name=server.label, reason=str(error).rstrip(".")))
            if not self._places:
                raise ServerError("None of the servers started.")
            attempts: dict[int, list[LoadResult]] = {clients: [] for clients in self._plan.clients}
            pending = list(self._plan.clients)
            for attempt in range(1 + REPEATS):
                measured, pending = self._rounds(pending, attempt) if pending else [], []
                for result in measured:
                    attempts[result.clients].append(result)
                    if result.noise and result.noise[0] > MAX_NOISE:
                        pending.append(result.clients)
                        again = "running the rounds again" if attempt < REPEATS else "the quietest rounds are kept"
                        text = f"too noisy: the A/A pair differs by {result.noise[0]:.0%}; {again}"
                        self._progress(f"{named(result.clients)}: {text}")
        return [_quietest(results) for results in attempts.values()]

    def participants(self) -> list[Participant]:
        """The servers that took part."""
        return [
            Participant(
                label=place.server.label,
                name=place.server.name,
                title=place.server.title,
                versions=place.server.versions,
                engine=place.server.engine,
                peak_bytes=place.peak_bytes,
            )
            for place in self._places
        ]

    def _rounds(self, loads: Sequence[int], attempt: int) -> list[LoadResult]:
        labels = [place.server.label for place in self._places]
        runs: dict[tuple[int, str], list[Run]] = {(clients, label): [] for clients in loads for label in labels}
        for round_number in range(self._plan.rounds):
            for clients in loads:
                for turn in range(len(self._places)):
                    place = self._places[(round_number + turn) % len(self._places)]
                    run = self._stored_or_run(place, clients, attempt, round_number)
                    runs[clients, place.server.label].append(run)
        pair = pair_of(labels)
        results = []
        for clients in loads:
            servers = {label: ServerRuns(label=label, runs=runs[clients, label]) for label in labels}
            noises = pair_noise(servers[pair[0]], servers[pair[1]]) if pair else []
            results.append(LoadResult(clients=clients, noise=noises, servers=list(servers.values())))
        return results

    def _stored_or_run(self, place: Place, clients: int, attempt: int, round_number: int) -> Run:
        key = f"attempt {attempt}, round {round_number}, {named(clients)}, {place.server.label}"
        text = f"round {round_number + 1} of {self._plan.rounds}: {named(clients)}: {place.server.label}"
        stored = self._journal.get(key)
        if stored is not None:
            run = Run.model_validate(stored["run"])
            place.peak_bytes = max(place.peak_bytes, stored["peak_bytes"])
            self._progress(f"{text}: {_summary(run)}, kept")
            return run
        run = self._run(place, clients, round_number)
        self._journal.put(key, {"run": run.model_dump(), "peak_bytes": place.peak_bytes})
        self._progress(f"{text}: {_summary(run)}")
        # The next server gets an idle processor, if need be by a fresh start of this one.
        if run.ended:
            self._progress(f"{place.server.label} {run.ended}; starting it again")
            place.start()
        elif not place.process.wait_idle(IDLE_TIMEOUT_S):
            self._progress(f"{place.server.label} goes on working on what was given up; starting it again")
            place.process.kill()
            place.start()
        return run

    def _run(self, place: Place, clients: int, round_number: int) -> Run:
        plan, prompts, process = self._plan, self._line_up.prompts, place.process
        client = Client(process.host, process.port, plan.source_tokens, self._line_up.reply_tokens, plan.timeout_s)
        warm_up = 1 if clients in place.warm else clients
        place.warm.add(clients)

        def ask(number: int, began: float, due: float) -> Exchange:
            return client.ask(prompts[(PROMPTS_PER_ROUND * round_number + number) % len(prompts)], began, due)

        warmed = closed_loop(lambda number, *when: ask(number - warm_up, *when), warm_up, None, warm_up)
        cpu_before = time.process_time()
        exchanges = closed_loop(ask, clients, plan.seconds, plan.requests)
        cpu_s = time.process_time() - cpu_before
        ending = process.ending()
        if ending is None:
            place.peak_bytes = max(place.peak_bytes, peak_bytes(process.pid))
        return Run(
            round=round_number,
            generator_cpu_s=cpu_s,
            warm_up_errors=Counter(exchange.error for exchange in warmed if exchange.error),
            ended="" if ending is None else str(ending),
            requests=exchanges,
        )


def pair_noise(first: ServerRuns, second: ServerRuns) -> list[float]:
    """How far the replies a second of two runs of one server differ; empty where one of them had none."""
    ratios = [a / b for a, b in zip(first.rates, second.rates, strict=True) if a and b]
    return [noise(ratios)] if ratios else []


def _quietest(attempts: Sequence[LoadResult]) -> LoadResult:
    """The attempt with the least noise, which also tells that of the others."""
    best = min(attempts, key=lambda attempt: attempt.noise or [0.0])
    return best.model_copy(update={"noise": sorted(value for attempt in attempts for value in attempt.noise)})


def _summary(run: Run) -> str:
    errors = run.errors.total()
    return f"{len(run.replies)} replies in {run.seconds:.1f} s" + f", {errors} errors" * bool(errors)


def add(commands: Any) -> None:
    """Add the command to a parser's sub-commands."""
    parser = commands.add_parser("load", help="put chat servers under load", description=DESCRIPTION)
    session.add_workload(parser, 3, "runs of each server under each load")
    help_text = "folder that `python -m export` made of it, for our service (default: int8, exported into the cache)"
    parser.add_argument("--exported", type=Path, metavar="DIR", help=help_text)
    help_text = "who takes part; one named twice runs twice (default: all, ours twice)"
    servers = session.names_of(NAMES, "server")
    parser.add_argument("--servers", type=servers, default=(OURS, *NAMES), metavar="A,B,...", help=help_text)
    number(parser, "--clients", [1, 4], "clients that each send the next request when the last reply has come")
    lengths = parser.add_mutually_exclusive_group()
    text = "a run sends its last request by then, and waits for all replies"
    number(lengths, "--seconds", 30.0, text, session.above_zero)
    number(lengths, "--requests", None, "requests a run, however long it takes")
    number(parser, "--beams", 10, "beam width; 1 is greedy")
    number(parser, "--timeout", 300.0, "seconds after which a request is given up", session.above_zero)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    if options.new_tokens < 2:
        raise ArgumentError("--new-tokens is at least 2: one token and </s>.")
    current = Session(options)
    checkpoint = current.checkpoint()
    if options.new_tokens == checkpoint.positions:
        text = "but a reply of our service has one less at the most."
        raise ArgumentError(f"--new-tokens is {options.new_tokens}, {text}")
    sizes = Sizes.model_validate(options, from_attributes=True)
    seconds = None if options.requests else options.seconds
    loads = list(dict.fromkeys(options.clients))
    plan = Plan(loads, options.rounds, sizes.source_tokens, seconds, options.requests, options.timeout)
    limits = {"queue": max(loads), "timeout_s": plan.timeout_s}
    line_up = prepare(options.servers, checkpoint, options.exported, sizes, current.cache, progress, **limits)
    head = current.begin(plan, sizes, [server.command for server in line_up.servers])
    contest = Contest(line_up, plan, progress, current.journal)
    results = contest.run()
    measurement = Load(
        **head,
        settings={
            "checkpoint": checkpoint.source,
            "random_weights": checkpoint.random_weights,
            **sizes.model_dump(),
            **asdict(plan),
            "counted_tokens": line_up.reply_tokens,
            "pause_after_error_s": PAUSE_AFTER_ERROR_S,
            "decoding": line_up.decoding,
        },
        servers=contest.participants(),
        missing=[*line_up.missing, *contest.missing],
        results=results,
    )
    current.finish(measurement, section(Results(Path(), {LOADS[0]: measurement})))


def section(results: Results) -> Iterator[Block]:
    """Replies a second and their times, of every server under every load."""
    parts = results.of_kind(Load, (*LOADS, CLIENTS)).values()
    if not parts:
        return
    yield Heading("Many clients")
    for part in parts:
        settings = part.settings
        yield Heading("Greedy" if settings["beams"] == 1 else f"{settings['beams']} beams", 3)
        columns = ("clients", "", "replies/s", "tokens/s", "p50 s", "p90 s", "p99 s", "max s", "errors", "beside one")
        yield Table(columns, [row for result in part.results for row in _rows(part, result)])
        pairs = [f"A/A pair, {named(result.clients)}: {noise_text(result.noise)}." for result in part.results]
        yield Items([*pairs, *_failures(part)])
        memory = (f"{title(server.label)} {(server.peak_bytes or 0) / 1e6:,.0f} MB" for server in part.servers)
        limit = f"{settings['requests']} requests" if settings["requests"] else f"{settings['seconds']:g} s"
        yield Prose(
            f"{settings['source_tokens']} source tokens, {settings['new_tokens']} generated (checked), "
            f"{settings['threads']} threads, {settings['rounds']} rounds of {limit} a run. Memory at most: "
            f"{', '.join(memory)}."
        )
    yield Prose(
        "Over HTTP on the loopback address; replies of fixed length, computed and checked. *replies/s* and *beside one*"
        " client: of the best rounds, in brackets the smallest and largest; p50 to max: from the moment a request was "
        "due to the last byte of its reply, of all rounds together; errors are in no other figure."
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
                if run.warm_up_errors:
                    kinds = ", ".join(f"{count} x {kind}" for kind, count in run.warm_up_errors.items())
                    yield f"{place}: warm-up of round {run.round + 1}: {kinds}."
