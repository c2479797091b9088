"""How chat servers bear load: they take turns, run by run, each in a process of its own and idle between its runs."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from itertools import combinations
from typing import Self

from benchmarks.client import Client, Exchange
from benchmarks.errors import ServerError
from benchmarks.journal import Journal
from benchmarks.loops import Ask, ClosedLoop, Limit, Loop
from benchmarks.memory import peak_bytes
from benchmarks.runs import Missing
from benchmarks.server_process import ServerProcess, uninterrupted
from benchmarks.summary import MOST_NOISE, noise

SETTLE_TIMEOUT_S = 20.0
# How often the rounds of a load are run again when its A/A pair is too noisy.
REPEATS = 1
PROMPTS_A_ROUND = 31

Progress = Callable[[str], None]


@dataclass(frozen=True)
class LoadWorkload:
    """What every server is asked.

    Attributes:
        loops: the loads, one after the other in each round.
        limit: of each run.
        rounds: runs of each server under each load.
        beams: beam width; 1 is greedy search.
        new_tokens: tokens of each reply, `</s>` included and the decoder's start token not.
        source_tokens: tokens of each prompt, `</s>` included.
        threads: processor threads of each model.
        timeout_s: seconds after which a request is given up.
        stream: ask servers that can for server-sent events.
        seed: of the prompts and of the arrivals.
    """

    loops: tuple[Loop, ...]
    limit: Limit
    rounds: int
    beams: int
    new_tokens: int
    source_tokens: int
    threads: int
    timeout_s: float
    stream: bool = False
    seed: int = 0


@dataclass(frozen=True)
class Server:
    """One server of a run.

    Attributes:
        label: its name in reports, different for each.
        name: what it is; the same for two that are run against each other to see the noise (an A/A pair).
        title: what it is, in words.
        command: as `benchmarks.server_process.ServerProcess` takes it.
        versions: of the packages that matter to it.
        stream: it is asked for server-sent events.
        rival: the run goes on without it when it does not start.
    """

    label: str
    name: str
    title: str
    command: tuple[str, ...]
    versions: Mapping[str, str] = field(default_factory=dict)
    stream: bool = False
    rival: bool = False

    def again(self) -> Self:
        """The same once more."""
        return replace(self, label=f"{self.name} (again)")


@dataclass(frozen=True)
class Run:
    """One server under one load, once.

    Attributes:
        round: number of the round, counted from 0.
        exchanges: all requests, in the order in which they were due.
        warm_up_errors: how many requests of the warm-up failed, by kind.
        generator_cpu_s: processor seconds that asking took on this side.
        ended: how the server ended during the run; "" when it did not.
    """

    round: int
    exchanges: tuple[Exchange, ...]
    warm_up_errors: Mapping[str, int] = field(default_factory=dict)
    generator_cpu_s: float = 0.0
    ended: str = ""

    @property
    def replies(self) -> tuple[Exchange, ...]:
        """The requests that got the reply they should."""
        return tuple(exchange for exchange in self.exchanges if not exchange.error)

    @property
    def seconds(self) -> float:
        """From the beginning to the end of the last request; 0 when there was none."""
        return max((exchange.start_s + exchange.seconds for exchange in self.exchanges), default=0.0)

    @property
    def replies_per_s(self) -> float:
        return len(self.replies) / self.seconds if self.seconds else 0.0

    @property
    def errors(self) -> Counter[str]:
        """How many requests failed, by kind."""
        return Counter(exchange.error for exchange in self.exchanges if exchange.error)


@dataclass(frozen=True)
class ServerRuns:
    """All runs of one server under one load, a round each."""

    label: str
    runs: tuple[Run, ...]


@dataclass(frozen=True)
class LoopRuns:
    """All servers under one load, in the order of the line-up.

    Attributes:
        loop: the load.
        servers: a server each.
        noise: of the A/A pair, in the runs that are kept and in those that were too noisy; empty without one.
    """

    loop: Loop
    servers: tuple[ServerRuns, ...]
    noise: tuple[float, ...] = ()


@dataclass(frozen=True)
class LoadRun:
    """A whole measurement.

    Attributes:
        results: one a load.
        servers: those that took part.
        missing: rivals that did not start.
        peak_bytes: largest resident memory of each server's process, by label.
    """

    results: tuple[LoopRuns, ...]
    servers: tuple[Server, ...]
    missing: tuple[Missing, ...]
    peak_bytes: Mapping[str, int]


@dataclass
class _Seat:
    """A server and the process that it runs in now."""

    server: Server
    stack: ExitStack
    process: ServerProcess = field(init=False)
    peak_bytes: int = 0
    warm: set[Loop] = field(default_factory=set)

    def start(self) -> None:
        with uninterrupted():
            self.process = self.stack.enter_context(ServerProcess(self.server.label, self.server.command))
        self.process.wait_ready()
        self.process.settle(SETTLE_TIMEOUT_S)
        self.warm.clear()


def measure(
    servers: Sequence[Server],
    workload: LoadWorkload,
    prompts: Sequence[str],
    reply_tokens: int,
    progress: Progress,
    journal: Journal | None = None,
) -> LoadRun:
    """Put all servers under all loads, round by round.

    In each round every server gets the same prompts, and who goes first changes from round to round. Before each run
    come some requests that are not counted: the first time as many at once as the load may send, later one. A server
    that ends, or that goes on working after a run on requests that were given up, is started again. Under a load where
    the A/A pair is too noisy, the rounds are run again, `REPEATS` times at the most; the quietest are kept.

    Args:
        servers: with different labels.
        workload: what they are asked.
        prompts: messages of `workload.source_tokens` tokens.
        reply_tokens: what a server must count in each reply.
        progress: told about each stage.
        journal: of an earlier measurement that was interrupted; what it holds is not measured again.

    Raises:
        ServerError: a server did not start, and either is no rival or ran before; or none started.
    """
    journal = Journal() if journal is None else journal
    missing: list[Missing] = []
    with ExitStack() as stack:
        seats: list[_Seat] = []
        for server in servers:
            progress(f"starting {server.label}")
            seat = _Seat(server, stack)
            try:
                seat.start()
            except ServerError as error:
                if not server.rival:
                    raise
                progress(f"{server.label} is missing: {error}")
                missing.append(Missing(server.label, str(error).rstrip(".")))
                continue
            seats.append(seat)
        if not seats:
            raise ServerError("None of the servers started.")
        attempts: dict[Loop, list[LoopRuns]] = {loop: [] for loop in workload.loops}
        pending = list(workload.loops)
        for attempt in range(1 + REPEATS):
            if not pending:
                break
            measured = _rounds(seats, pending, attempt, workload, prompts, reply_tokens, progress, journal)
            for result in measured:
                attempts[result.loop].append(result)
            pending = [result.loop for result in measured if result.noise and result.noise[0] > MOST_NOISE]
            for result in measured:
                if result.loop in pending:
                    again = "running the rounds again" if attempt < REPEATS else "the quietest rounds are kept"
                    progress(f"{result.loop}: too noisy: the A/A pair differs by {result.noise[0]:.0%}; {again}")
    return LoadRun(
        tuple(map(_quietest, attempts.values())),
        tuple(seat.server for seat in seats),
        tuple(missing),
        {seat.server.label: seat.peak_bytes for seat in seats},
    )


def _rounds(
    seats: Sequence[_Seat],
    loops: Sequence[Loop],
    attempt: int,
    workload: LoadWorkload,
    prompts: Sequence[str],
    reply_tokens: int,
    progress: Progress,
    journal: Journal,
) -> list[LoopRuns]:
    runs: dict[tuple[Loop, str], list[Run]] = {}
    for round_number in range(workload.rounds):
        for loop in loops:
            for turn in range(len(seats)):
                seat = seats[(round_number + turn) % len(seats)]
                key = f"attempt {attempt}, round {round_number}, {loop}, {seat.server.label}"
                kept = journal.get(key)
                place = f"round {round_number + 1} of {workload.rounds}: {loop}: {seat.server.label}"
                if kept is None:
                    run = _run(seat, loop, round_number, workload, prompts, reply_tokens)
                    journal.put(key, {"run": asdict(run), "peak_bytes": seat.peak_bytes})
                    progress(f"{place}: {_told(run)}")
                    _come_to_rest(seat, run, progress)
                else:
                    run = Run(
                        **{**kept["run"], "exchanges": tuple(Exchange(**one) for one in kept["run"]["exchanges"])}
                    )
                    seat.peak_bytes = max(seat.peak_bytes, kept["peak_bytes"])
                    progress(f"{place}: {_told(run)}, kept")
                runs.setdefault((loop, seat.server.label), []).append(run)
    return [
        _with_noise(
            LoopRuns(
                loop, tuple(ServerRuns(seat.server.label, tuple(runs[loop, seat.server.label])) for seat in seats)
            ),
            {seat.server.label: seat.server.name for seat in seats},
        )
        for loop in loops
    ]


def _with_noise(result: LoopRuns, names: Mapping[str, str]) -> LoopRuns:
    """With how far the replies a second of the first two servers of one name differ, where both gave some."""
    pairs = [(a, b) for a, b in combinations(result.servers, 2) if names[a.label] == names[b.label]]
    if not pairs:
        return result
    rates = [(a.replies_per_s, b.replies_per_s) for a, b in zip(pairs[0][0].runs, pairs[0][1].runs, strict=True)]
    ratios = [first / second for first, second in rates if first and second]
    return replace(result, noise=(noise(ratios),)) if ratios else result


def _quietest(attempts: Sequence[LoopRuns]) -> LoopRuns:
    """The attempt with the least noise, which also tells that of the others."""
    best = min(attempts, key=lambda attempt: attempt.noise or (0.0,))
    return replace(best, noise=tuple(sorted(value for attempt in attempts for value in attempt.noise)))


def _run(
    seat: _Seat, loop: Loop, round_number: int, workload: LoadWorkload, prompts: Sequence[str], reply_tokens: int
) -> Run:
    client = Client(
        seat.process.host,
        seat.process.port,
        workload.source_tokens,
        reply_tokens,
        workload.timeout_s,
        seat.server.stream,
    )

    def ask_from(first: int) -> Ask:
        return lambda number, began, due: client.ask(prompts[(first + number) % len(prompts)], began, due)

    visitors = 1 if loop in seat.warm else loop.visitors
    seat.warm.add(loop)
    first = PROMPTS_A_ROUND * round_number
    warm_up = ClosedLoop(visitors).run(ask_from(first - visitors), Limit(requests=visitors), "")
    cpu_before = time.process_time()
    exchanges = loop.run(ask_from(first), workload.limit, f"{workload.seed}/{round_number}")
    cpu_s = time.process_time() - cpu_before
    ended = seat.process.ended
    if ended is None:
        seat.peak_bytes = max(seat.peak_bytes, peak_bytes(seat.process.pid))
    return Run(
        round_number,
        tuple(exchanges),
        Counter(exchange.error for exchange in warm_up if exchange.error),
        cpu_s,
        "" if ended is None else str(ended),
    )


def _come_to_rest(seat: _Seat, run: Run, progress: Progress) -> None:
    """Leave the processor to the next server, if need be by a fresh start."""
    if run.ended:
        progress(f"{seat.server.label} {run.ended}; starting it again")
    elif seat.process.settle(SETTLE_TIMEOUT_S):
        return
    else:
        progress(f"{seat.server.label} goes on working on what was given up; starting it again")
        seat.process.kill()
    seat.start()


def _told(run: Run) -> str:
    errors = sum(run.errors.values())
    return f"{len(run.replies)} replies in {run.seconds:.1f} s" + (f", {errors} errors" if errors else "")
