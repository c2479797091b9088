"""A load run as JSON and as tables of plain text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any

from benchmarks.load import LoadRun, LoadWorkload, LoopRuns, Run, Server, ServerRuns
from benchmarks.load_summary import Figures, Ratio, figures, ratio
from benchmarks.loops import PAUSE_AFTER_ERROR_S, ClosedLoop, Loop
from benchmarks.models import Checkpoint
from benchmarks.output import RANDOM_WEIGHTS, machine_line, wrapped
from benchmarks.runs import Missing
from benchmarks.summary import MOST_NOISE, Spread

FORMAT = 2
COLUMNS = ("replies/s", "tokens/s", "p50 s", "p90 s", "p99 s", "max s", "text p50", "text p90", "errors")
WIDTHS = (9, 8, 7, 7, 7, 7, 8, 8, 6)
RATIO_COLUMNS = ("replies/s", "median latency")
RATIO_WIDTHS = (22, 22)
NOTES = (
    "replies/s: replies as they should be, over the seconds from the first request to the last reply; median of the "
    "rounds. tokens/s: that times the tokens of a reply. p50 to max: latency of these replies in all rounds together, "
    "from the moment a request was due to its last byte; text: to the first text, where a reply comes as a stream. "
    "Errors are in none of these figures, nor are the requests that warm a server up before each run.",
    "a : b is how many times as many replies a second, and how many times as long a median latency, a has as b: median "
    "of the ratios within each round (least-greatest).",
)


@dataclass(frozen=True)
class LoadReport:
    """Everything a reader needs to judge the figures.

    Attributes:
        date: when the run began, ISO 8601.
        machine: of `benchmarks.environment.machine`.
        versions: of `benchmarks.environment.versions`.
        checkpoint: what was served.
        decoding: its generation settings, before beam width and length were set.
        workload: what was asked.
        reply_tokens: what each reply had to count, special tokens left out.
        run: raw values.
        missing: rivals that could not be made ready, beside those of `run`.
    """

    date: str
    machine: dict[str, Any]
    versions: dict[str, str]
    checkpoint: Checkpoint
    decoding: Mapping[str, Any]
    workload: LoadWorkload
    reply_tokens: int
    run: LoadRun
    missing: Sequence[Missing] = ()

    def as_json(self) -> dict[str, Any]:
        """Raw values and summaries; seconds and bytes as the names say."""
        workload = self.workload
        return {
            "benchmark": "load",
            "format": FORMAT,
            "date": self.date,
            "machine": self.machine,
            "versions": self.versions,
            "settings": {
                "checkpoint": self.checkpoint.source,
                "random_weights": self.checkpoint.random_weights,
                "loads": [_loop_json(loop) for loop in workload.loops],
                **asdict(workload.limit),
                "rounds": workload.rounds,
                "beams": workload.beams,
                "new_tokens": workload.new_tokens,
                "counted_tokens": self.reply_tokens,
                "source_tokens": workload.source_tokens,
                "threads": workload.threads,
                "timeout_s": workload.timeout_s,
                "pause_after_error_s": PAUSE_AFTER_ERROR_S,
                "stream": workload.stream,
                "seed": workload.seed,
                "decoding": dict(self.decoding),
            },
            "servers": [self._server_json(server) for server in self.run.servers],
            "missing": [asdict(missing) for missing in self._missing],
            "results": [self._loop_runs_json(result) for result in self.run.results],
        }

    def as_text(self) -> str:
        """The tables, with what they rest on above and what they do not say below."""
        workload, limit = self.workload, self.workload.limit
        length = f"{limit.seconds:g} s" if limit.requests is None else f"{limit.requests} requests"
        head = [
            f"Chat servers under load: {workload.source_tokens} source tokens, {workload.new_tokens} generated tokens "
            f"(checked), {'greedy' if workload.beams == 1 else f'beam {workload.beams}'}, {workload.threads} threads, "
            f"{workload.rounds} rounds of {length} a run",
            machine_line(self.machine),
            f"checkpoint: {self.checkpoint.source}" + (f"; {RANDOM_WEIGHTS}" if self.checkpoint.random_weights else ""),
        ]
        tables = [
            line
            for result in self.run.results
            for line in ("", *self._table(result), *self._ratios(result), *_noise(result))
        ]
        failures = list(self._failures())
        notes = [
            *NOTES,
            *dict.fromkeys(map(_legend, self.run.servers)),
            "peak memory of a server's process: "
            + ", ".join(f"{label} {size / 1e6:.0f} MB" for label, size in self.run.peak_bytes.items())
            + ".",
            *(f"missing: {missing.name}: {missing.reason}." for missing in self._missing),
        ]
        return "\n".join(wrapped([*head, *tables, "", *failures, *notes]))

    @property
    def _missing(self) -> tuple[Missing, ...]:
        return (*self.missing, *self.run.missing)

    def _table(self, result: LoopRuns) -> list[str]:
        width = max(len(name) for name in (str(result.loop), *(server.label for server in result.servers)))
        lines = [_row(str(result.loop), width, COLUMNS, WIDTHS)]
        for server in result.servers:
            lines.append(_row(server.label, width, self._cells(figures(server)), WIDTHS))
        return lines

    def _cells(self, found: Figures) -> tuple[str, ...]:
        latency, text = found.latency_s, found.first_text_s
        seconds = ("-",) * 4 if latency is None else (latency.p50, latency.p90, latency.p99, latency.max)
        texts = ("-",) * 2 if text is None else (text.p50, text.p90)
        return (
            f"{found.replies_per_s.median:.3f}",
            f"{found.replies_per_s.median * self.workload.new_tokens:.1f}",
            *(value if isinstance(value, str) else f"{value:.2f}" for value in (*seconds, *texts)),
            str(sum(found.errors.values())),
        )

    def _ratios(self, result: LoopRuns) -> list[str]:
        rows = [(f"{a.label} : {b.label}", ratio(a, b)) for a, b in combinations(result.servers, 2)]
        rows += [
            (f"{server.label} : itself with 1 client", ratio(server, alone))
            for server, alone in self._beside_one_client(result)
        ]
        if not rows:
            return []
        width = max(len(name) for name, _ in rows)
        return [
            "",
            _row("", width, RATIO_COLUMNS, RATIO_WIDTHS),
            *(
                _row(name, width, (_span(found.replies_per_s), _span(found.latency)), RATIO_WIDTHS)
                for name, found in rows
            ),
        ]

    def _beside_one_client(self, result: LoopRuns) -> list[tuple[ServerRuns, ServerRuns]]:
        """Each server under this load, and under that of one client, if that is another load and was measured."""
        alone = next((other for other in self.run.results if other.loop == ClosedLoop(1)), None)
        if alone is None or alone is result or not isinstance(result.loop, ClosedLoop):
            return []
        return list(zip(result.servers, alone.servers, strict=True))

    def _failures(self) -> Iterator[str]:
        for result in self.run.results:
            for server in result.servers:
                found = figures(server)
                for kind, number in found.errors.most_common():
                    yield f"errors: {result.loop}: {server.label}: {number} x {kind}, such as: {found.examples[kind]}."
                for run in server.runs:
                    if run.ended:
                        yield f"errors: {result.loop}: {server.label}: in round {run.round + 1} the server {run.ended}."
                    if run.warm_up_errors:
                        kinds = ", ".join(f"{number} x {kind}" for kind, number in run.warm_up_errors.items())
                        yield f"errors: {result.loop}: {server.label}: warm-up of round {run.round + 1}: {kinds}."

    def _server_json(self, server: Server) -> dict[str, Any]:
        return {
            "label": server.label,
            "name": server.name,
            "title": server.title,
            "stream": server.stream,
            "versions": dict(server.versions),
            "peak_bytes": self.run.peak_bytes[server.label],
        }

    def _loop_runs_json(self, result: LoopRuns) -> dict[str, Any]:
        alone = {server.label: _ratio_json(ratio(server, one)) for server, one in self._beside_one_client(result)}
        return {
            "load": _loop_json(result.loop),
            "a_a": None
            if not result.noise
            else {
                "noise": result.noise[0],
                "attempts": list(result.noise),
                "too_noisy": result.noise[0] > MOST_NOISE,
            },
            "servers": [
                {
                    "label": server.label,
                    **self._figures_json(figures(server)),
                    "versus_one_client": alone.get(server.label),
                    "runs": [_run_json(run) for run in server.runs],
                }
                for server in result.servers
            ],
            "ratios": [
                {"first": a.label, "second": b.label, **_ratio_json(ratio(a, b))}
                for a, b in combinations(result.servers, 2)
            ],
        }

    def _figures_json(self, found: Figures) -> dict[str, Any]:
        rate = found.replies_per_s
        return {
            "replies": found.replies,
            "replies_per_s": asdict(rate),
            "tokens_per_s": {name: value * self.workload.new_tokens for name, value in asdict(rate).items()},
            "latency_s": None if found.latency_s is None else asdict(found.latency_s),
            "first_text_s": None if found.first_text_s is None else asdict(found.first_text_s),
            "errors": dict(found.errors),
        }


def _noise(result: LoopRuns) -> list[str]:
    if not result.noise:
        return []
    verdict = f": too noisy, more than {MOST_NOISE:.0%}" if result.noise[0] > MOST_NOISE else ""
    return [f"A/A: replies/s of the pair differ by {result.noise[0]:.1%} (middle half of the rounds){verdict}."]


def _run_json(run: Run) -> dict[str, Any]:
    return {
        "round": run.round,
        "seconds": run.seconds,
        "replies_per_s": run.replies_per_s,
        "generator_cpu_s": run.generator_cpu_s,
        "errors": dict(run.errors),
        "warm_up_errors": dict(run.warm_up_errors),
        "ended": run.ended,
        "requests": [asdict(exchange) for exchange in run.exchanges],
    }


def _loop_json(loop: Loop) -> dict[str, Any]:
    if isinstance(loop, ClosedLoop):
        return {"mode": "closed", "clients": loop.clients}
    return {"mode": "open", "requests_per_s": loop.rate, "most_in_flight": loop.most}


def _ratio_json(found: Ratio) -> dict[str, Any]:
    return asdict(found)


def _span(found: Spread | None) -> str:
    return "-" if found is None else f"{found.median:.3g} ({found.least:.3g}-{found.greatest:.3g})"


def _row(name: str, width: int, cells: Sequence[str], widths: Sequence[int]) -> str:
    return "  ".join([f"{name:{width}}", *(f"{cell:>{size}}" for cell, size in zip(cells, widths, strict=True))])


def _legend(server: Server) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in server.versions.items())
    return f"{server.name}: {server.title} ({versions})."
