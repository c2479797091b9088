"""A latency run as JSON and as a table of plain text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

from benchmarks.floor import StepWeights
from benchmarks.limits import Limits
from benchmarks.models import Checkpoint
from benchmarks.output import RANDOM_WEIGHTS, machine_line, wrapped
from benchmarks.runs import BackendRun, BeamRun, LatencyRun, Missing, Participant
from benchmarks.summary import MOST_NOISE, Spread, agreement, quantile, speed_up
from benchmarks.workload import WARM_UP_ROUNDS, Workload

FORMAT = 3
REFERENCE = "torch-fp32"
OURS = "ours-"
COLUMNS = ("median s", "p90 s", "ms/token", "floors", "vs torch", "ours vs it", "peak MB")
WIDTHS = (8, 7, 8, 6, 18, 18, 7)
EXCLUDED = (
    "loading, warm-up (compiling included), tokenising, and everything between processes: a reply is timed within its "
    "process, from token ids to token ids"
)


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
        limits: of the machine, measured in the same run.
        weights: that a step must read.
        missing: rivals that could not be made ready, beside those of `run`.
    """

    date: str
    machine: dict[str, Any]
    versions: dict[str, str]
    checkpoint: Checkpoint
    workload: Workload
    run: LatencyRun
    limits: Limits
    weights: StepWeights
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
                "excluded": EXCLUDED,
            },
            "limits": asdict(self.limits),
            "step_weights": asdict(self.weights),
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
            "floors: how many times the least that a token can take: the decoder's weights read once, at "
            f"{self.limits.read_bytes_per_s / 1e9:.1f} GB/s, or multiplied with every row (int8 "
            f"{self.limits.operations_per_s['int8'] / 1e9:.0f}, bf16 {self.limits.operations_per_s['bf16'] / 1e9:.0f}, "
            f"fp32 {self.limits.operations_per_s['fp32'] / 1e9:.0f} thousand million operations a second), whichever "
            "takes longer; both were measured in this run.",
            f"not in the times: {EXCLUDED}.",
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
            "backends": [self._backend_json(result, reference, ours, run) for run in result.backends],
            "a_a": None
            if pair is None
            else {
                "labels": [run.label for run in pair],
                "ratio": asdict(speed_up(*pair)),
                "noise": result.noise[0],
                "attempts": list(result.noise),
                "too_noisy": result.noise[0] > MOST_NOISE,
                "agreement": asdict(agreement(*pair)),
            },
        }

    def _backend_json(
        self, result: BeamRun, reference: BackendRun | None, ours: BackendRun | None, run: BackendRun
    ) -> dict[str, Any]:
        values = asdict(run)
        del values["replies"]
        compared = reference is not None and self._same_model(run)
        return {
            **values,
            "generated_tokens": sum(map(len, run.replies)),
            "median_s": median(run.seconds),
            "p90_s": quantile(run.seconds, 0.9),
            "ms_per_token": self._ms_per_token(run),
            "floor_ms": self._floor_ms(result, run),
            "times_floor": self._times_floor(result, run),
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
                f"{self._times_floor(result, run) or 0:.1f}",
                "-" if reference is None else _ratio(speed_up(reference, run), run is reference),
                "-" if ours is None else _ratio(speed_up(run, ours), run is ours),
                f"{run.peak_bytes / 1e6:.0f}",
            )
            lines.append(_row(names[run.label], width, figures))
        pair = self._pair(result)
        if pair is not None:
            noise, own = speed_up(*pair), agreement(*pair)
            lines.append(
                f"A/A: {pair[0].label} against itself {_ratio(noise)}, equal replies {own.equal} of {own.replies}; "
                f"differences within that spread are noise. The middle half is within {result.noise[0]:.1%} of 1"
                + (f": too noisy, more than {MOST_NOISE:.0%}." if result.noise[0] > MOST_NOISE else ".")
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

    def _floor_ms(self, result: BeamRun, run: BackendRun) -> float | None:
        precisions = {one.contestant.label: one.contestant.precision for one in self.run.participants}
        precision = precisions.get(run.label, "")
        return self.weights.floor_ms(precision, result.beams, self.limits) if precision else None

    def _times_floor(self, result: BeamRun, run: BackendRun) -> float | None:
        floor_ms = self._floor_ms(result, run)
        return None if floor_ms is None else self._ms_per_token(run) / floor_ms

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
        "precision": contestant.precision,
        "exact": contestant.exact,
        "settings_lacking": list(participant.lacking),
        "versions": participant.versions,
        "engine": participant.engine,
    }
