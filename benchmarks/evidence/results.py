"""The JSON files of a results folder, by what they are about."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.summary import Spread, spread

# Runs of one reply at a time; a contestant's figures are those of the first that it took part in.
LATENCY = ("latency-400m", "latency-variants-400m")
PARTS = (
    *LATENCY,
    "load-400m",
    "load-greedy-400m",
    "start-400m",
    "export-400m",
    "quality-demo",
    "scaling-400m",
)


@dataclass(frozen=True)
class Results:
    """What is there; a part that was not measured is None.

    Attributes:
        folder: that they were read from.
        parts: the content of each file of `PARTS` that is there and is a benchmark's, by its name.
    """

    folder: Path
    parts: dict[str, dict[str, Any]]

    @classmethod
    def read(cls, folder: Path) -> Results:
        """Read what is there."""
        found = {
            name: json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
            for name in PARTS
            if (folder / f"{name}.json").is_file()
        }
        return cls(folder, {name: part for name, part in found.items() if "benchmark" in part})

    def latency(self, beams: int) -> dict[str, dict[str, Any]]:
        """Rows of a beam width by label, of all runs; empty when it was not measured."""
        found: dict[str, dict[str, Any]] = {}
        for rows in self._runs(beams):
            found = {**rows, **found}
        return found

    def a_a(self, beams: int) -> list[dict[str, Any] | None]:
        """The A/A pair of a beam width, of each run."""
        return [
            result["a_a"]
            for name in LATENCY
            if name in self.parts
            for result in self.parts[name]["results"]
            if result["beams"] == beams
        ]

    def times(self, faster: str, slower: str, beams: int) -> Spread | None:
        """How many times as fast one contestant is as another, within each round; None where no run has both."""
        for rows in self._runs(beams):
            if faster in rows and slower in rows:
                return spread([a / b for a, b in zip(rows[slower]["seconds"], rows[faster]["seconds"], strict=True)])
        return None

    def _runs(self, beams: int) -> Iterator[dict[str, dict[str, Any]]]:
        for name in LATENCY:
            for result in self.parts.get(name, {"results": []})["results"]:
                if result["beams"] == beams:
                    yield {row["label"]: row for row in result["backends"]}

    def loads(self, name: str) -> dict[int, dict[str, Any]]:
        """Results of a load part by number of clients."""
        part = self.parts.get(name, {"results": []})
        return {result["load"]["clients"]: result for result in part["results"]}

    def served(self, name: str, clients: int) -> dict[str, dict[str, Any]]:
        """Servers of a load part under a number of clients, by label."""
        result: dict[str, Any] = self.loads(name).get(clients, {"servers": []})
        return {server["label"]: server for server in result["servers"]}

    def rate(self, name: str, first: tuple[str, int], second: tuple[str, int]) -> Spread | None:
        """How many times as many replies a second: label and clients of both; within each round."""
        a, b = (self.served(name, clients).get(label) for label, clients in (first, second))
        if a is None or b is None:
            return None
        pairs = zip(a["runs"], b["runs"], strict=True)
        ratios = [x["replies_per_s"] / y["replies_per_s"] for x, y in pairs if y["replies_per_s"]]
        return spread(ratios) if ratios else None

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
        """Times torch fp32, median."""
        found = self.times(name, "torch-fp32", beams)
        return None if found is None else found.median
