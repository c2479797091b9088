"""The JSON files of a results folder, by what they are about."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.environment import slug
from benchmarks.errors import InputError
from benchmarks.summary import quantile

# Runs of one reply at a time.
LATENCY = ("latency-400m", "latency-again-400m", "latency-variants-400m")
PARTS = (
    *LATENCY,
    "load-400m",
    "load-greedy-400m",
    "start-400m",
    "export-400m",
    "quality-demo",
    "scaling-400m",
    "store-redis",
)


@dataclass(frozen=True)
class Ratio:
    """How many times as much.

    Attributes:
        value: of the best that was measured of both: what else the machine does can only make either worse.
        least: within one round.
        greatest: within one round.
    """

    value: float
    least: float
    greatest: float


@dataclass(frozen=True)
class Results:
    """What was measured on one machine.

    Attributes:
        folder: that they were read from.
        parts: the content of each file of `PARTS` that is there and is a benchmark's, by its name.
    """

    folder: Path
    parts: dict[str, dict[str, Any]]

    @classmethod
    def read(cls, folder: Path) -> Results:
        """Read what is there.

        Raises:
            InputError: the parts are of several machines.
        """
        found = {
            name: json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
            for name in PARTS
            if (folder / f"{name}.json").is_file()
        }
        parts = {name: part for name, part in found.items() if "benchmark" in part}
        machines = {slug(part["machine"]) for part in parts.values()}
        if len(machines) > 1:
            told = " and ".join(sorted(machines))
            raise InputError(f"{folder} mixes results of {told}; keep those of each in a folder of its own.")
        return cls(folder, parts)

    @property
    def machine(self) -> dict[str, Any]:
        """Where they were measured, as `benchmarks.environment.machine` tells it."""
        machine: dict[str, Any] = next(iter(self.parts.values()))["machine"]
        return machine

    def latency(self, beams: int) -> dict[str, dict[str, Any]]:
        """Rows of a beam width by label, with the replies of all runs; empty for none."""
        runs: dict[str, list[dict[str, Any]]] = {}
        for rows in self._runs(beams):
            for label, row in rows.items():
                runs.setdefault(label, []).append(row)
        return {label: _pooled(rows) for label, rows in runs.items()}

    def a_a(self, beams: int) -> list[dict[str, Any] | None]:
        """The A/A pair of a beam width, of each run."""
        return [
            result["a_a"]
            for name in LATENCY
            if name in self.parts
            for result in self.parts[name]["results"]
            if result["beams"] == beams
        ]

    def times(self, faster: str, slower: str, beams: int) -> Ratio | None:
        """How many times as fast one contestant is as another, in the runs that both took part in, if any."""
        both = [rows for rows in self._runs(beams) if faster in rows and slower in rows]
        if not both:
            return None
        seconds = [[value for rows in both for value in rows[name]["seconds"]] for name in (slower, faster)]
        rounds = [a / b for a, b in zip(*seconds, strict=True)]
        return Ratio(min(seconds[0]) / min(seconds[1]), min(rounds), max(rounds))

    def _runs(self, beams: int) -> Iterator[dict[str, dict[str, Any]]]:
        for name in LATENCY:
            part = self.parts.get(name, {"results": []})
            for result in part["results"]:
                if result["beams"] == beams:
                    tokens = part["settings"]["new_tokens"]
                    yield {row["label"]: {**row, "new_tokens": tokens} for row in result["backends"]}

    def loads(self, name: str) -> dict[int, dict[str, Any]]:
        """Results of a load part by number of clients."""
        part = self.parts.get(name, {"results": []})
        return {result["load"]["clients"]: result for result in part["results"]}

    def served(self, name: str, clients: int) -> dict[str, dict[str, Any]]:
        """Servers of a load part under a number of clients, by label."""
        result: dict[str, Any] = self.loads(name).get(clients, {"servers": []})
        return {server["label"]: server for server in result["servers"]}

    def rate(self, name: str, first: tuple[str, int], second: tuple[str, Sequence[int]]) -> Ratio | None:
        """How many times as many replies a second: a label with so many clients, beside a label at its best with one of
        several numbers of clients."""
        label, clients = first
        other, counts = second
        if label not in self.served(name, clients) or any(other not in self.served(name, count) for count in counts):
            return None
        ours = self._rates(name, label, clients)
        theirs = [max(round_rates) for round_rates in zip(*(self._rates(name, other, n) for n in counts), strict=True)]
        rounds = [a / b for a, b in zip(ours, theirs, strict=True) if b]
        return Ratio(max(ours) / max(theirs), min(rounds), max(rounds)) if rounds else None

    def best_rate(self, name: str, label: str, clients: int) -> float | None:
        """Replies a second of a label with so many clients, in its best round."""
        return max(self._rates(name, label, clients)) if label in self.served(name, clients) else None

    def _rates(self, name: str, label: str, clients: int) -> list[float]:
        return [run["replies_per_s"] for run in self.served(name, clients)[label]["runs"]]

    def rows(self, name: str, key: str = "label") -> dict[str, dict[str, Any]]:
        """The flat results of a part by one of their fields."""
        return {row[key]: row for row in self.parts.get(name, {"results": []})["results"]}

    def quality(self) -> dict[str, dict[str, Any]]:
        """Rows of the quality part by precision, or by the name of a rival."""
        return {
            row["exported"].partition("-")[2]: row for row in self.parts.get("quality-demo", {"results": []})["results"]
        }

    def missing(self) -> list[tuple[str, str, str]]:
        """Part, name and reason of everything that could not be measured."""
        return [
            (part, one["name"], one["reason"])
            for part, content in self.parts.items()
            for one in content.get("missing", ())
        ]

    def replies_s(self, name: str, clients: int, label: str) -> list[float]:
        """Seconds of each reply as it should be, of all rounds, shortest first."""
        server = self.served(name, clients).get(label, {"runs": []})
        requests = [request for run in server["runs"] for request in run["requests"]]
        return sorted(request["seconds"] for request in requests if not request["error"])

    def speed(self, name: str, beams: int) -> float | None:
        """Times torch fp32."""
        found = self.times(name, "torch-fp32", beams)
        return None if found is None else found.value


def _pooled(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """One row of several runs of a contestant."""
    seconds = [value for row in rows for value in row["seconds"]]
    floors = [row["floor_ms"] for row in rows if row.get("floor_ms")]
    per_token = 1000 * min(seconds) / rows[0]["new_tokens"]
    return {
        **rows[0],
        "seconds": seconds,
        "best_s": min(seconds),
        "median_s": median(seconds),
        "p90_s": quantile(seconds, 0.9),
        "ms_per_token": per_token,
        "floor_ms": min(floors) if floors else None,
        "times_floor": per_token / min(floors) if floors else None,
        "peak_bytes": max(row["peak_bytes"] for row in rows),
    }
