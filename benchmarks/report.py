"""A latency run as JSON and as a table of plain text, at most `WIDTH` columns wide."""

from __future__ import annotations

import json
import os
import tempfile
import textwrap
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.errors import OutputError
from benchmarks.latency import BackendRun, BeamRun, LatencyRun
from benchmarks.models import Models
from benchmarks.summary import agreement, quantile, speed_up
from benchmarks.workload import WARM_UP_ROUNDS, Workload

WIDTH = 100
FORMAT = 1
RANDOM_WEIGHTS = "random weights: numeric fidelity only, nothing about quality"


@dataclass(frozen=True)
class LatencyReport:
    """Everything a reader needs to judge the figures.

    The run has three backends: the reference, the exported model, and the exported model once more (the A/A pair).

    Attributes:
        date: when the run began, ISO 8601.
        machine: of `benchmarks.environment.machine`.
        versions: of `benchmarks.environment.versions`.
        models: what was compared.
        workload: what was asked.
        run: raw values.
    """

    date: str
    machine: dict[str, Any]
    versions: dict[str, str]
    models: Models
    workload: Workload
    run: LatencyRun

    def as_json(self) -> dict[str, Any]:
        """Raw values and summaries; seconds, bytes and milliseconds as the names say."""
        return {
            "benchmark": "latency",
            "format": FORMAT,
            "date": self.date,
            "machine": self.machine,
            "versions": self.versions,
            "settings": {
                "checkpoint": self.models.source,
                "exported": self.models.exported.name,
                "precision": self.models.precision,
                "random_weights": self.models.random_weights,
                **asdict(self.workload),
                "warm_up_rounds": WARM_UP_ROUNDS,
                "decoding": self.run.decoding,
            },
            "results": [self._beam_json(result) for result in self.run.results],
        }

    def as_text(self) -> str:
        """The table, with what it rests on above and what it does not say below."""
        flags = " ".join(self.machine["cpu_flags"])
        workload = self.workload
        head = [
            f"Latency of one reply: {workload.source_tokens} source tokens, {workload.new_tokens} generated tokens, "
            f"{workload.threads} threads, {workload.rounds} rounds (not counted: {WARM_UP_ROUNDS} of warm-up)",
            f"{self.machine['cpu']}, {self.machine['cores']} cores, {self.machine['memory_bytes'] / 2**30:.0f} GiB, "
            f"{self.machine['os']}, {flags}",
            f"checkpoint: {self.models.source}" + (f"; {RANDOM_WEIGHTS}" if self.models.random_weights else ""),
        ]
        lines = [part for line in head for part in textwrap.wrap(line, WIDTH, subsequent_indent="  ")]
        for result in self.run.results:
            lines += ["", *self._beam_text(result)]
        notes = [
            "vs torch: times as fast, median of the ratios within each round (least-greatest).",
            "load: importing the libraries and reading the model; files may come from the page cache.",
            "peak: resident memory of the backend's own process, loading included.",
        ]
        return "\n".join([*lines, "", *notes])

    def _beam_json(self, result: BeamRun) -> dict[str, Any]:
        reference, exported, again = result.backends
        return {
            "beams": result.beams,
            "backends": [self._backend_json(reference, run) for run in result.backends],
            "a_a_ratio": asdict(speed_up(exported, again)),
            "agreement": {
                "numeric_fidelity_only": self.models.random_weights,
                "reference_and_exported": asdict(agreement(reference, exported)),
                "a_a": asdict(agreement(exported, again)),
            },
        }

    def _backend_json(self, reference: BackendRun, run: BackendRun) -> dict[str, Any]:
        values = asdict(run)
        del values["replies"]
        return {
            **values,
            "median_s": median(run.seconds),
            "p90_s": quantile(run.seconds, 0.9),
            "ms_per_token": self._ms_per_token(run),
            "speed_up": asdict(speed_up(reference, run)),
        }

    def _beam_text(self, result: BeamRun) -> list[str]:
        reference, exported, again = result.backends
        width = max(len(run.label) for run in result.backends)
        name = f"beam {result.beams}" if result.beams > 1 else "greedy"
        lines = [
            f"{name:{width}}  {'median s':>8}  {'p90 s':>8}  {'ms/token':>8}  {'vs torch':>19}  "
            f"{'peak MB':>7}  {'load s':>6}"
        ]
        for run in result.backends:
            ratio = speed_up(reference, run)
            versus = "1" if run is reference else f"{ratio.median:.2f} ({ratio.least:.2f}-{ratio.greatest:.2f})"
            lines.append(
                f"{run.label:{width}}  {median(run.seconds):8.3f}  {quantile(run.seconds, 0.9):8.3f}  "
                f"{self._ms_per_token(run):8.1f}  {versus:>19}  {run.peak_bytes / 1e6:7.0f}  "
                f"{run.import_s + run.load_s:6.1f}"
            )
        noise = speed_up(exported, again)
        same, own = agreement(reference, exported), agreement(exported, again)
        label = "numeric fidelity" if self.models.random_weights else "same replies"
        lines += [
            f"A/A: {exported.label} against itself {noise.median:.2f} ({noise.least:.2f}-{noise.greatest:.2f}); "
            "differences within that spread are noise.",
            f"{label}: {exported.label} equal to {reference.label} in {same.equal} of {same.replies} replies, "
            f"first difference after {same.shared_tokens:g} tokens (median); A/A {own.equal} of {own.replies}.",
        ]
        return [part for line in lines for part in textwrap.wrap(line, WIDTH, subsequent_indent="  ")]

    def _ms_per_token(self, run: BackendRun) -> float:
        return 1000 * median(run.seconds) / self.workload.new_tokens


def check_output(path: Path) -> None:
    """Find out before a long run whether its figures can be written.

    Raises:
        OutputError: `path` is a folder, or its folder is missing or read-only.
    """
    if path.is_dir():
        raise OutputError(f"{path} is a folder; --output takes a file.")
    if not path.parent.is_dir():
        raise OutputError(f"There is no folder {path.parent} to write {path.name} to.")
    if not os.access(path.parent, os.W_OK):
        raise OutputError(f"The folder {path.parent} cannot be written to.")


def write_json(report: dict[str, Any], path: Path) -> None:
    """Write `report` to `path`, whole or not at all.

    Raises:
        OutputError: it cannot be written.
    """
    try:
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}-") as scratch:
            written = Path(scratch) / path.name
            written.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
            written.replace(path)
    except OSError as error:
        raise OutputError(f"{path} cannot be written ({error.strerror}).") from error
