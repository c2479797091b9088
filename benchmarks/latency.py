"""How long one reply takes: backends take turns, round by round, each in a process of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.errors import InputError, WorkloadError
from benchmarks.process import BackendProcess
from benchmarks.workload import WARM_UP_ROUNDS, Vocabulary, Workload, source

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Contestant:
    """One backend of a run.

    Attributes:
        label: its name in reports.
        command: starts a process that speaks the protocol of `benchmarks.worker`.
        path: model folder it loads.
    """

    label: str
    command: tuple[str, ...]
    path: Path


@dataclass
class BackendRun:
    """Raw values of one backend at one beam width.

    Attributes:
        label: name of the backend.
        import_s: seconds that importing its libraries took.
        load_s: seconds from the files to a model in memory.
        loaded_bytes: peak resident memory after loading.
        peak_bytes: peak resident memory at the end.
        seconds: one value per round; what `generate` took, from token ids to token ids.
        replies: ids of each round's reply.
    """

    label: str
    import_s: float
    load_s: float
    loaded_bytes: int
    peak_bytes: int = 0
    seconds: list[float] = field(default_factory=list)
    replies: list[list[int]] = field(default_factory=list)


@dataclass(frozen=True)
class BeamRun:
    """All backends at one beam width, in the order of the contestants."""

    beams: int
    backends: tuple[BackendRun, ...]


@dataclass(frozen=True)
class LatencyRun:
    """A whole run.

    Attributes:
        decoding: the checkpoint's generation settings, before beam width and length are set.
        results: one per beam width.
    """

    decoding: dict[str, Any]
    results: tuple[BeamRun, ...]


def measure(contestants: Sequence[Contestant], workload: Workload, progress: Progress) -> LatencyRun:
    """Run the workload on all contestants.

    Each beam width starts fresh processes. In each round every contestant answers the same source, and who goes first
    changes from round to round. The first `WARM_UP_ROUNDS` rounds are not kept.

    Raises:
        BackendError: a process failed or ended.
        InputError: the contestants do not hold the same model or the same decoding settings.
        WorkloadError: a reply has another number of tokens than asked.
    """
    results: list[BeamRun] = []
    decoding: dict[str, Any] = {}
    for beams in workload.beams:
        with ExitStack() as stack:
            processes: list[BackendProcess] = []
            runs: list[BackendRun] = []
            for contestant in contestants:
                progress(f"beam {beams}: loading {contestant.label}")
                process = stack.enter_context(BackendProcess(contestant.label, contestant.command))
                load = process.request("load", path=str(contestant.path), threads=workload.threads)
                memory = process.request("memory")
                processes.append(process)
                runs.append(BackendRun(contestant.label, load["import_s"], load["load_s"], memory["peak_bytes"]))
            decoding, vocabulary = _common_description(contestants, processes)
            _rounds(processes, runs, workload, beams, vocabulary, progress)
            for process, run in zip(processes, runs, strict=True):
                run.peak_bytes = process.request("memory")["peak_bytes"]
        results.append(BeamRun(beams, tuple(runs)))
    return LatencyRun(decoding, tuple(results))


def _rounds(
    processes: Sequence[BackendProcess],
    runs: Sequence[BackendRun],
    workload: Workload,
    beams: int,
    vocabulary: Vocabulary,
    progress: Progress,
) -> None:
    for round_number in range(-WARM_UP_ROUNDS, workload.rounds):
        ids = source(workload, vocabulary, round_number)
        request = {"ids": ids, "beams": beams, "new_tokens": workload.new_tokens}
        for turn in range(len(processes)):
            index = (round_number + turn) % len(processes)
            if round_number < 0:
                processes[index].request("warm_up", **request)
                continue
            reply = processes[index].request("generate", **request)
            generated = len(reply["tokens"])
            if generated != workload.new_tokens:
                raise WorkloadError(
                    f"{runs[index].label} generated {generated} tokens where {workload.new_tokens} were asked for."
                )
            runs[index].seconds.append(reply["seconds"])
            runs[index].replies.append(reply["tokens"])
        if round_number < 0:
            progress(f"beam {beams}: warm-up")
        else:
            times = ", ".join(f"{run.label} {run.seconds[-1]:.2f} s" for run in runs)
            progress(f"beam {beams}: round {round_number + 1} of {workload.rounds}: {times}")


def _common_description(
    contestants: Sequence[Contestant], processes: Sequence[BackendProcess]
) -> tuple[dict[str, Any], Vocabulary]:
    """Decoding settings and vocabulary of the first contestant, after a check that all others have the same."""
    descriptions = [process.request("describe") for process in processes]
    first = descriptions[0]
    for contestant, description in zip(contestants, descriptions, strict=True):
        for key in ("vocab_size", "special_ids", "eos_id", "decoding"):
            if description[key] != first[key]:
                what = _difference(key, first, description)
                raise InputError(f"{contestant.path} is not an export of {contestants[0].path}: {what}.")
    return first["decoding"], Vocabulary(first["vocab_size"], frozenset(first["special_ids"]), first["eos_id"])


def _difference(key: str, first: dict[str, Any], other: dict[str, Any]) -> str:
    if key != "decoding":
        return f"{key} is {other[key]} where the checkpoint has {first[key]}"
    ours, theirs = first[key], other[key]
    name = next(name for name in sorted(ours.keys() | theirs.keys()) if ours.get(name) != theirs.get(name))
    return f"{name} is {theirs.get(name)} where the checkpoint has {ours.get(name)}"
