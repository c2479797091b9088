"""How long one reply takes: contestants take turns, round by round, each in a process of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.errors import ArgumentError, BackendError, InputError, WorkloadError
from benchmarks.process import BackendProcess
from benchmarks.workload import WARM_UP_ROUNDS, Vocabulary, Workload, broken_ban, source

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Contestant:
    """One backend of a run.

    Attributes:
        label: its name in reports, different for each.
        command: starts a process that speaks the protocol of `benchmarks.worker`.
        path: model folder it loads.
        name: what it is; the same for two that are run against each other to see the noise (an A/A pair).
        title: what it is, in words.
        packages: those whose versions matter to it.
        rival: the run goes on without it when it cannot be loaded.
        other_model: what it runs in place of the checkpoint; "" for the checkpoint.
        lacks: settings of the checkpoint that it cannot apply.
    """

    label: str
    command: tuple[str, ...]
    path: Path
    name: str = ""
    title: str = ""
    packages: tuple[str, ...] = ()
    rival: bool = False
    other_model: str = ""
    lacks: tuple[str, ...] = ()


@dataclass(frozen=True)
class Missing:
    """A rival that takes no part, and why."""

    name: str
    reason: str


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
class Participant:
    """A contestant that took part, and what it said of itself.

    Attributes:
        contestant: as it was asked to take part.
        lacking: settings of the checkpoint that it did not apply.
        versions: of its packages.
        engine: what else its figures depend on.
    """

    contestant: Contestant
    lacking: tuple[str, ...] = ()
    versions: dict[str, str] = field(default_factory=dict)
    engine: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class LatencyRun:
    """A whole run.

    Attributes:
        decoding: the checkpoint's generation settings, before beam width and length are set.
        results: one per beam width.
        participants: in the order of the contestants.
        missing: rivals that could not be loaded.
    """

    decoding: dict[str, Any]
    results: tuple[BeamRun, ...]
    participants: tuple[Participant, ...]
    missing: tuple[Missing, ...]


@dataclass
class _Seat:
    """A contestant whose process has loaded its model."""

    contestant: Contestant
    process: BackendProcess
    run: BackendRun
    description: dict[str, Any]


def measure(contestants: Sequence[Contestant], workload: Workload, progress: Progress) -> LatencyRun:
    """Run the workload on all contestants.

    Each beam width starts fresh processes. In each round every contestant answers the same source, and who goes first
    changes from round to round. The first `WARM_UP_ROUNDS` rounds are not kept. The first contestant that runs the
    checkpoint's model is the reference: the others must have its vocabulary and its decoding settings.

    Raises:
        ArgumentError: no contestant runs the checkpoint's model.
        BackendError: a process failed or ended.
        InputError: the contestants do not hold the same model or the same decoding settings.
        WorkloadError: a reply has another number of tokens than asked, or repeats what the settings ban.
    """
    if all(contestant.other_model for contestant in contestants):
        raise ArgumentError("At least one contestant must run the checkpoint itself.")
    results: list[BeamRun] = []
    missing: dict[str, str] = {}
    for beams in workload.beams:
        with ExitStack() as stack:
            seats: list[_Seat] = []
            for contestant in contestants:
                if contestant.name in missing:
                    continue
                progress(f"beam {beams}: loading {contestant.label}")
                try:
                    seats.append(_seated(contestant, workload, stack))
                except BackendError as error:
                    if not contestant.rival:
                        raise
                    progress(f"{contestant.label} is missing: {error}")
                    missing[contestant.name] = str(error).rstrip(".")
            reference = next(seat for seat in seats if not seat.contestant.other_model)
            _check_descriptions(reference, seats)
            _rounds(seats, reference.description, workload, beams, progress)
            for seat in seats:
                seat.run.peak_bytes = seat.process.request("memory")["peak_bytes"]
        results.append(BeamRun(beams, tuple(seat.run for seat in seats)))
    decoding = reference.description["decoding"]
    return LatencyRun(
        decoding,
        tuple(results),
        tuple(_participant(seat, decoding) for seat in seats),
        tuple(Missing(name, reason) for name, reason in missing.items()),
    )


def _seated(contestant: Contestant, workload: Workload, stack: ExitStack) -> _Seat:
    process = stack.enter_context(BackendProcess(contestant.label, contestant.command))
    load = process.request("load", path=str(contestant.path), threads=workload.threads)
    memory = process.request("memory")
    run = BackendRun(contestant.label, load["import_s"], load["load_s"], memory["peak_bytes"])
    return _Seat(contestant, process, run, process.request("describe"))


def _rounds(
    seats: Sequence[_Seat], description: dict[str, Any], workload: Workload, beams: int, progress: Progress
) -> None:
    vocabulary = Vocabulary(description["vocab_size"], frozenset(description["special_ids"]), description["eos_id"])
    for round_number in range(-WARM_UP_ROUNDS, workload.rounds):
        ids = source(workload, vocabulary, round_number)
        request = {"ids": ids, "beams": beams, "new_tokens": workload.new_tokens}
        for turn in range(len(seats)):
            seat = seats[(round_number + turn) % len(seats)]
            if round_number < 0:
                seat.process.request("warm_up", **request)
                continue
            reply = seat.process.request("generate", **request)
            _check_reply(seat, ids, reply["tokens"], description["decoding"], workload.new_tokens)
            seat.run.seconds.append(reply["seconds"])
            seat.run.replies.append(reply["tokens"])
        if round_number < 0:
            progress(f"beam {beams}: warm-up")
        else:
            times = ", ".join(f"{seat.run.label} {seat.run.seconds[-1]:.2f} s" for seat in seats)
            progress(f"beam {beams}: round {round_number + 1} of {workload.rounds}: {times}")


def _check_reply(seat: _Seat, ids: list[int], tokens: list[int], decoding: dict[str, Any], new_tokens: int) -> None:
    if len(tokens) != new_tokens:
        raise WorkloadError(
            f"{seat.contestant.label} generated {len(tokens)} tokens where {new_tokens} were asked for."
        )
    applied = {name: value for name, value in decoding.items() if name not in seat.contestant.lacks}
    broken = broken_ban(ids, tokens, applied)
    if broken is not None:
        raise WorkloadError(f"{seat.contestant.label} does not apply {broken}, which is {decoding[broken]}.")


def _check_descriptions(reference: _Seat, seats: Sequence[_Seat]) -> None:
    """Compare what the contestants say of themselves with what the reference says."""
    first = reference.description
    for seat in seats:
        for key in ("vocab_size", "special_ids", "eos_id"):
            if seat.description[key] != first[key]:
                _refuse(seat, reference, key, seat.description[key], first[key])
        ours, theirs = first["decoding"], seat.description["decoding"]
        for name in sorted((ours.keys() | theirs.keys()).difference(seat.contestant.lacks)):
            if ours.get(name) != theirs.get(name):
                _refuse(seat, reference, name, theirs.get(name), ours.get(name))


def _refuse(seat: _Seat, reference: _Seat, name: str, theirs: Any, ours: Any) -> None:
    raise InputError(
        f"{seat.contestant.label} ({seat.contestant.path}) does not do what {reference.contestant.label} "
        f"({reference.contestant.path}) does: {name} is {theirs} where the reference has {ours}."
    )


def _participant(seat: _Seat, decoding: dict[str, Any]) -> Participant:
    versions = seat.description.get("versions", {})
    return Participant(
        seat.contestant,
        tuple(name for name in seat.contestant.lacks if name in decoding),
        {name: versions[name] for name in seat.contestant.packages if name in versions},
        seat.description.get("engine", {}),
    )
