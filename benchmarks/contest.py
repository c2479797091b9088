"""A contest of `load`: chat servers take turns, run by run, each in a process of its own and idle in between."""

from __future__ import annotations

import itertools
import math
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field

from benchmarks.client import Client
from benchmarks.errors import ServerError
from benchmarks.figures import MAX_NOISE, pair_noise, pair_of
from benchmarks.output import progress
from benchmarks.process import ServerProcess, peak_bytes, uninterrupted
from benchmarks.schema import Exchange, LoadResult, Participant, Run, ServerRuns
from benchmarks.servers import TIMEOUT_S, LineUp, Server
from benchmarks.session import Session

IDLE_TIMEOUT_S = 20.0
# How often the rounds of a load are run again when its A/A pair is too noisy.
REPEATS = 1
PROMPTS_PER_ROUND = 31
PAUSE_AFTER_ERROR_S = 0.5


def closed_loop(ask: Callable[[int, float], Exchange], clients: int, seconds: float, requests: float) -> list[Exchange]:
    """Clients that each send the next request when the reply to the last one has come; all replies are waited for.

    After an error a client pauses for a moment.

    Args:
        ask: sends the request of a number in a run that began at a moment of `time.perf_counter`.
        clients: how many there are.
        seconds: no request is sent later than that after the beginning of the run.
        requests: no more than that are sent.
    """
    exchanges: list[Exchange] = []
    failures: list[Exception] = []
    numbers = itertools.count()
    began = time.perf_counter()

    def visit() -> None:
        try:
            while (number := next(numbers)) < requests and time.perf_counter() - began < seconds:
                exchange = ask(number, began)
                exchanges.append(exchange)
                if exchange.error:
                    time.sleep(PAUSE_AFTER_ERROR_S)
        except Exception as error:
            failures.append(error)

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
    """A server and its present process; `warm` are the numbers of clients that this process has already had."""

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
    """

    def __init__(
        self,
        line_up: LineUp,
        session: Session,
        *,
        clients: Sequence[int],
        rounds: int,
        seconds: float = math.inf,
        requests: float = math.inf,
    ) -> None:
        """`clients` are the loads, one after the other in each round; seconds and requests are limits of each run."""
        self._line_up = line_up
        self._session = session
        self._loads = clients
        self._number_of_rounds = rounds
        self._limits = (seconds, requests)
        self._places: list[Place] = []

    def run(self) -> list[LoadResult]:
        """A result for each load.

        Raises:
            ServerError: a server did not start, and either is no rival or ran before; or none started.
        """
        with ExitStack() as stack:
            for server in self._line_up.servers:
                progress(f"starting {server.label}")
                place = Place(server, stack)
                try:
                    place.start()
                    self._places.append(place)
                except ServerError as error:
                    self._session.leave_out(server.label, error, rival=server.rival)
            if not self._places:
                raise ServerError("None of the servers started.")
            attempts: dict[int, list[LoadResult]] = {clients: [] for clients in self._loads}
            pending = list(self._loads)
            for again in (*["running the rounds again"] * REPEATS, "the quietest rounds are kept"):
                measured, pending = self._rounds(pending), []
                for result in measured:
                    attempts[result.clients].append(result)
                    if result.noise and result.noise[0] > MAX_NOISE:
                        pending.append(result.clients)
                        text = f"too noisy: the A/A pair differs by {result.noise[0]:.0%}; {again}"
                        progress(f"{named(result.clients)}: {text}")
        return [_quietest(results) for results in attempts.values()]

    def participants(self) -> list[Participant]:
        """The servers that took part."""
        return [Participant.of(place.server, peak_bytes=place.peak_bytes) for place in self._places]

    def _rounds(self, loads: Sequence[int]) -> list[LoadResult]:
        labels = [place.server.label for place in self._places]
        runs: dict[tuple[int, str], list[Run]] = {(clients, label): [] for clients in loads for label in labels}
        for number in range(self._number_of_rounds):
            first = number % len(self._places)
            for clients in loads:
                for place in (*self._places[first:], *self._places[:first]):
                    run = self._run(place, clients, number)
                    runs[clients, place.server.label].append(run)
                    text = f"round {number + 1} of {self._number_of_rounds}: {named(clients)}: {place.server.label}"
                    progress(f"{text}: {_summary(run)}")
                    self._make_idle(place, run)
        pair = pair_of(labels)
        results = []
        for clients in loads:
            served = {label: ServerRuns(label=label, runs=runs[clients, label]) for label in labels}
            noise = pair_noise(*(served[label].rates for label in pair)) if pair else None
            noises = [] if noise is None else [noise]
            results.append(LoadResult(clients=clients, noise=noises, servers=list(served.values())))
        return results

    def _run(self, place: Place, clients: int, round_number: int) -> Run:
        line_up, process = self._line_up, place.process
        client = Client(process.host, process.port, line_up.sizes.source_tokens, line_up.reply_tokens, TIMEOUT_S)
        warm_up = 1 if clients in place.warm else clients
        place.warm.add(clients)

        def ask(number: int, began: float) -> Exchange:
            prompt = line_up.prompts[(PROMPTS_PER_ROUND * round_number + number) % len(line_up.prompts)]
            return client.ask(prompt, began)

        closed_loop(lambda number, began: ask(number - warm_up, began), warm_up, math.inf, warm_up)
        cpu_before = time.process_time()
        exchanges = closed_loop(ask, clients, *self._limits)
        cpu_s = time.process_time() - cpu_before
        place.peak_bytes = max(place.peak_bytes, peak_bytes(process.pid))
        ended = str(process.ending() or "")
        return Run(round=round_number, generator_cpu_s=cpu_s, ended=ended, requests=exchanges)

    def _make_idle(self, place: Place, run: Run) -> None:
        """The next server gets an idle processor, if need be by a fresh start of this one."""
        if run.ended:
            progress(f"{place.server.label} {run.ended}; starting it again")
            place.start()
        elif not place.process.wait_idle(IDLE_TIMEOUT_S):
            progress(f"{place.server.label} goes on working on what was given up; starting it again")
            place.process.kill()
            place.start()


def _quietest(attempts: Sequence[LoadResult]) -> LoadResult:
    """The attempt with the least noise, which also tells that of the others."""
    best = min(attempts, key=lambda attempt: attempt.noise or [0.0])
    return best.model_copy(update={"noise": sorted(value for attempt in attempts for value in attempt.noise)})


def _summary(run: Run) -> str:
    errors = run.errors.total()
    return f"{len(run.replies)} replies in {run.seconds:.1f} s" + f", {errors} errors" * bool(errors)
