"""A latency run as JSON and as a table of plain text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

from benchmarks.latency import BackendRun, BeamRun, LatencyRun, Missing, Participant
from benchmarks.models import Checkpoint
from benchmarks.output import RANDOM_WEIGHTS, machine_line, wrapped
from benchmarks.summary import Spread, agreement, quantile, speed_up
from benchmarks.workload import WARM_UP_ROUNDS, Workload

FORMAT = 2
REFERENCE = "torch-fp32"
OURS = "ours-"
COLUMNS = ("median s", "p90 s", "ms/token", "vs torch", "ours vs it", "peak MB", "load s")
WIDTHS = (8, 7, 8, 18, 18, 7, 6)


@dataclass(frozen=True)
class LatencyReport:
    """Everything a reader needs to judge the figures.

    Attributes:
        date: when the run began, ISO 8601.
        machine: of `benchmarks.environment.machine`.
        versions: of `benchmarks.environment.versions`, in the project's own environment.
        checkpoint: what was measured.
        workload: what was asked.
        run: raw values.
        missing: rivals that could not be made ready, beside those of `run`.
    """

    date: str
    machine: dict[str, Any]
    versions: dict[str, str]
    checkpoint: Checkpoint
    workload: Workload
    run: LatencyRun
    missing: Sequence[Missing] = ()

    def as_json(self) -> dict[str, Any]:
        """Raw values and summaries; seconds, bytes and milliseconds as the names say."""
        return {
            "benchmark": "latency",
            "format": FORMAT,
            "date": self.date,
            "machine": self.machine,
            "versions": self.versions,
            "settings": {
                "checkpoint": self.checkpoint.source,
                "random_weights": self.checkpoint.random_weights,
                **asdict(self.workload),
                "warm_up_rounds": WARM_UP_ROUNDS,
                "decoding": self.run.decoding,
            },
            "contestants": [_contestant_json(participant) for participant in self.run.participants],
            "missing": [asdict(missing) for missing in self._missing],
            "results": [self._beam_json(result) for result in self.run.results],
        }

    def as_text(self) -> str:
        """The tables, with what they rest on above and what they do not say below."""
        workload = self.workload
        head = [
            f"Latency of one reply: {workload.source_tokens} source tokens, {workload.new_tokens} generated tokens "
            f"(checked), {workload.threads} threads, {workload.rounds} rounds and {WARM_UP_ROUNDS} of warm-up",
            machine_line(self.machine),
            f"checkpoint: {self.checkpoint.source}" + (f"; {RANDOM_WEIGHTS}" if self.checkpoint.random_weights else ""),
        ]
        tables = [line for result in self.run.results for line in ("", *self._beam_text(result))]
        notes = [
            "vs torch: how many times as fast as torch it is; ours vs it: how many times as fast as it ours is. Both: "
            "median of the ratios within each round (least-greatest).",
            "load: importing the libraries and reading the model; files may come from the page cache.",
            "peak: resident memory of the backend's own process, loading included.",
            *dict.fromkeys(map(_legend, self.run.participants)),
            *(f"missing: {missing.name}: {missing.reason}." for missing in self._missing),
        ]
        return "\n".join(wrapped([*head, *tables, "", *notes]))

    @property
    def _missing(self) -> tuple[Missing, ...]:
        return (*self.missing, *self.run.missing)

    def _beam_json(self, result: BeamRun) -> dict[str, Any]:
        reference, ours = self._reference(result), self._ours(result)
        pair = self._pair(result)
        return {
            "beams": result.beams,
            "backends": [self._backend_json(reference, ours, run) for run in result.backends],
            "a_a": None
            if pair is None
            else {
                "labels": [run.label for run in pair],
                "ratio": asdict(speed_up(*pair)),
                "agreement": asdict(agreement(*pair)),
            },
        }

    def _backend_json(self, reference: BackendRun | None, ours: BackendRun | None, run: BackendRun) -> dict[str, Any]:
        values = asdict(run)
        del values["replies"]
        compared = reference is not None and self._same_model(run)
        return {
            **values,
            "generated_tokens": sum(map(len, run.replies)),
            "median_s": median(run.seconds),
            "p90_s": quantile(run.seconds, 0.9),
            "ms_per_token": self._ms_per_token(run),
            "versus_torch": None if reference is None else asdict(speed_up(reference, run)),
            "ours_versus_it": None if ours is None else asdict(speed_up(run, ours)),
            "agreement_with_torch": asdict(agreement(reference, run)) if reference is not None and compared else None,
        }

    def _beam_text(self, result: BeamRun) -> list[str]:
        reference, ours = self._reference(result), self._ours(result)
        marks = {participant.contestant.label: "*" for participant in self.run.participants if _differs(participant)}
        names = {run.label: run.label + marks.get(run.label, "") for run in result.backends}
        title = f"beam {result.beams}" if result.beams > 1 else "greedy"
        width = max(map(len, (title, *names.values())))
        lines = [_row(title, width, COLUMNS)]
        for run in result.backends:
            figures = (
                f"{median(run.seconds):.3f}",
                f"{quantile(run.seconds, 0.9):.3f}",
                f"{self._ms_per_token(run):.1f}",
                "-" if reference is None else _ratio(speed_up(reference, run), run is reference),
                "-" if ours is None else _ratio(speed_up(run, ours), run is ours),
                f"{run.peak_bytes / 1e6:.0f}",
                f"{run.import_s + run.load_s:.1f}",
            )
            lines.append(_row(names[run.label], width, figures))
        pair = self._pair(result)
        if pair is not None:
            noise, own = speed_up(*pair), agreement(*pair)
            lines.append(
                f"A/A: {pair[0].label} against itself {_ratio(noise)}, equal replies {own.equal} of {own.replies}; "
                "differences within that spread are noise."
            )
        if reference is not None:
            others = [run for run in result.backends if run is not reference and self._same_model(run)]
            label = "numeric fidelity" if self.checkpoint.random_weights else "fidelity"
            counts = [(run.label, agreement(reference, run)) for run in others]
            told = [f"{name} {count.equal} of {count.replies} ({count.shared_tokens:g})" for name, count in counts]
            if told:
                lines.append(
                    f"{label}, replies equal to {reference.label}'s (tokens before the first difference, median): "
                    + ", ".join(told)
                )
        return lines

    def _reference(self, result: BeamRun) -> BackendRun | None:
        return next((run for run in result.backends if run.label == REFERENCE), None)

    def _ours(self, result: BeamRun) -> BackendRun | None:
        return next((run for run in result.backends if run.label.startswith(OURS)), None)

    def _pair(self, result: BeamRun) -> tuple[BackendRun, BackendRun] | None:
        """The first two runs of one and the same contestant."""
        names = {participant.contestant.label: participant.contestant.name for participant in self.run.participants}
        seen: dict[str, BackendRun] = {}
        for run in result.backends:
            name = names.get(run.label, run.label)
            if name in seen:
                return seen[name], run
            seen[name] = run
        return None

    def _same_model(self, run: BackendRun) -> bool:
        return not any(
            participant.contestant.other_model
            for participant in self.run.participants
            if participant.contestant.label == run.label
        )

    def _ms_per_token(self, run: BackendRun) -> float:
        return 1000 * median(run.seconds) / self.workload.new_tokens


def _row(name: str, width: int, cells: Sequence[str]) -> str:
    return "  ".join([f"{name:{width}}", *(f"{cell:>{size}}" for cell, size in zip(cells, WIDTHS, strict=True))])


def _ratio(ratio: Spread, is_itself: bool = False) -> str:
    if is_itself:
        return "1"
    return f"{ratio.median:.3g} ({ratio.least:.3g}-{ratio.greatest:.3g})"


def _differs(participant: Participant) -> bool:
    return bool(participant.contestant.other_model or participant.lacking)


def _legend(participant: Participant) -> str:
    contestant = participant.contestant
    versions = ", ".join(f"{name} {version}" for name, version in participant.versions.items())
    engine = "".join(f", {name.replace('_', ' ')} {value}" for name, value in participant.engine.items())
    text = f"{contestant.name}: {contestant.title} ({versions}{engine})."
    if not _differs(participant):
        return text
    other = " Not the checkpoint's model, so its tokens are not compared." if contestant.other_model else ""
    lacking = f" Without {', '.join(participant.lacking)}." if participant.lacking else ""
    return f"* {text}{other}{lacking}"


def _contestant_json(participant: Participant) -> dict[str, Any]:
    contestant = participant.contestant
    return {
        "label": contestant.label,
        "name": contestant.name,
        "title": contestant.title,
        "folder": contestant.path.name,
        "other_model": contestant.other_model,
        "settings_lacking": list(participant.lacking),
        "versions": participant.versions,
        "engine": participant.engine,
    }
