"""The result files of a folder, and every figure that is computed of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from benchmarks import schema
from benchmarks.environment import Machine
from benchmarks.errors import InputError
from benchmarks.figures import Ratio, times_as_fast, times_as_many
from benchmarks.process import PROJECT
from benchmarks.schema import Agreement, AnyMeasurement, Latency, Load, Measurement, Race, ServerRuns, Timing

FOLDER = PROJECT / "benchmarks" / "results"
# Runs of one reply at a time.
LATENCY = ("latency-400m", "latency-again-400m", "latency-variants-400m")
LOADS = ("load-400m", "load-greedy-400m")
CLIENTS = "clients-400m"
START, EXPORT, QUALITY = "start-400m", "export-400m", "quality-demo"
PARTS = (LATENCY[0], LATENCY[2], *LOADS, CLIENTS, START, EXPORT, QUALITY)
# Of the names of folders whose quality is measured.
ENDINGS = ("stock-dynamic-int8", "fp32", "int8", "int4")

M = TypeVar("M", bound=Measurement)


@dataclass
class Replies:
    """One contestant at one beam width, in all runs together.

    Attributes:
        seconds: of each reply.
        ms_per_token: of the best.
        floor_ms: the least that a token could take, in the run where that was least; None for no floor.
        peak_bytes: largest memory of its process.
        same: replies like torch's; None where nobody compared.
    """

    seconds: list[float] = field(default_factory=list)
    ms_per_token: float = math.inf
    floor_ms: float | None = None
    peak_bytes: int = 0
    same: Agreement | None = None

    def add(self, timing: Timing, new_tokens: int, floor_ms: float | None) -> None:
        """Take in the replies of one more run."""
        self.seconds += timing.seconds
        self.ms_per_token = min(self.ms_per_token, 1000 * min(timing.seconds) / new_tokens)
        self.floor_ms = min((floor for floor in (self.floor_ms, floor_ms) if floor), default=None)
        self.peak_bytes = max(self.peak_bytes, timing.peak_bytes or 0)
        self.same = self.same or timing.same_as_torch


@dataclass(frozen=True)
class Results:
    """What was measured on one machine: the result files of `folder`, by name without `.json`."""

    folder: Path
    parts: dict[str, AnyMeasurement]

    @classmethod
    def read(cls, folder: Path) -> Results:
        """Every result file in a folder; an `InputError` if one is no result, or they are of several machines."""
        parts = {path.stem: schema.read(path) for path in sorted(folder.glob("*.json"))}
        machines = sorted({part.machine.folder for part in parts.values()})
        if len(machines) > 1:
            names = " and ".join(machines)
            raise InputError(f"{folder} mixes results of {names}; keep those of each in a folder of its own.")
        return cls(folder, parts)

    @property
    def machine(self) -> Machine:
        """Where they were measured."""
        return next(iter(self.parts.values())).machine

    def of_kind(self, kind: type[M], names: Sequence[str] = ()) -> dict[str, M]:
        """The parts of one kind by name, in the order of `names` if there are some."""
        order = [name for name in names or self.parts if name in self.parts]
        return {name: part for name in order if isinstance(part := self.parts[name], kind)}

    def races(self, beams: int, names: Sequence[str] = LATENCY) -> list[tuple[Latency, Race]]:
        """Every race of a beam width, of each latency run with one of `names`, or of all runs."""
        runs = self.of_kind(Latency, names).values()
        return [(run, race) for run in runs for race in run.results if race.sizes.beams == beams]

    def latency(self, beams: int) -> dict[str, Replies]:
        """Contestants of a beam width by label; empty for none."""
        rows: dict[str, Replies] = {}
        for run, race in self.races(beams):
            for timing in race.timings:
                floor_ms = run.floor_ms(timing.label, beams)
                rows.setdefault(timing.label, Replies()).add(timing, race.sizes.new_tokens, floor_ms)
        return rows

    def times(self, faster: str, slower: str, beams: int) -> Ratio | None:
        """How many times as fast one contestant is as another, in the runs that both took part in, if any."""
        seconds: dict[str, list[float]] = {faster: [], slower: []}
        for _, race in self.races(beams):
            timings = {timing.label: timing.seconds for timing in race.timings}
            if faster in timings and slower in timings:
                for label, values in seconds.items():
                    values += timings[label]
        return times_as_fast(seconds[slower], seconds[faster]) if seconds[faster] else None

    def replies(self, checkpoint: str, label: str, beams: int) -> Timing | None:
        """One contestant with one checkpoint, in the first run that it took part in, if any."""
        races = (race for run, race in self.races(beams, ()) if run.settings["checkpoint"] == checkpoint)
        return next((timing for race in races for timing in race.timings if timing.label == label), None)

    def served(self, part: str, label: str) -> dict[int, ServerRuns]:
        """One server of a load part, by number of clients."""
        results = (result for load in self.of_kind(Load, [part]).values() for result in load.results)
        return {result.clients: server for result in results for server in result.servers if server.label == label}

    def rate(self, part: str, label: str, clients: int, other: str, other_clients: Sequence[int]) -> Ratio | None:
        """How many times as many replies a second a server gives with so many clients as another does at its best with
        one of several numbers of clients; None where one of them was not measured."""
        runs, other_runs = self.served(part, label), self.served(part, other)
        if clients not in runs or not set(other_clients) <= other_runs.keys():
            return None
        best = [max(rates) for rates in zip(*(other_runs[count].rates for count in other_clients), strict=True)]
        return times_as_many(runs[clients].rates, best)

    def starts(self) -> dict[str, list[schema.Start]]:
        """Starts of each server by label."""
        return {label: row for part in self.of_kind(schema.Starts).values() for label, row in part.results.items()}

    def exports(self) -> dict[str, schema.ExportCost]:
        """Exports of the 400M shape by name."""
        return {row.name: row for part in self.of_kind(schema.ExportCosts, [EXPORT]).values() for row in part.results}

    def quality(self) -> dict[str, schema.Fidelity]:
        """Fidelity by what the exported folder's name ends in, a precision or a rival, or else by the whole name."""
        rows: dict[str, schema.Fidelity] = {}
        for row in (row for part in self.of_kind(schema.Quality).values() for row in part.results):
            key = next((ending for ending in ENDINGS if row.exported.endswith(f"-{ending}")), row.exported)
            rows[row.exported if key in rows else key] = row
        return rows

    def with_kernels(self, names: Sequence[str]) -> bool:
        """Whether this project ran on kernels of its own in all of these parts that it took part in."""
        latencies, loads = self.of_kind(Latency, names).values(), self.of_kind(Load, names).values()
        line_ups = [*(part.contestants for part in latencies), *(part.servers for part in loads)]
        ours = (row for line_up in line_ups for row in line_up if row.name.startswith("ours"))
        return all("kernels" in participant.engine for participant in ours)


def all_machines(folder: Path = FOLDER) -> list[Results]:
    """The results of each machine whose folder in `folder` is named after it."""
    folders = [Results.read(child) for child in sorted(folder.glob("*-cores"))]
    return [results for results in folders if results.parts and results.folder.name == results.machine.folder]
