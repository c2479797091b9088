"""How long one reply takes: contestants take turns, round by round, each in a process of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from typing import Any, TypeVar

from benchmarks import fairness
from benchmarks.errors import ArgumentError, BackendError, InputError, WorkloadError
from benchmarks.journal import Journal
from benchmarks.process import BackendProcess
from benchmarks.runs import BackendRun, BeamRun, Contestant, LatencyRun, Missing, Participant
from benchmarks.summary import MOST_NOISE, pair_noise
from benchmarks.workload import WARM_UP_ROUNDS, Vocabulary, Workload, source

# How often the rounds of a beam width are run again when its A/A pair is too noisy.
REPEATS = 2

Progress = Callable[[str], None]
T = TypeVar("T")


@dataclass
class _Seat:
    """A contestant whose process has loaded its model."""

    contestant: Contestant
    process: BackendProcess
    run: BackendRun
    description: dict[str, Any]


def measure(
    contestants: Sequence[Contestant], workload: Workload, progress: Progress, journal: Journal | None = None
) -> LatencyRun:
    """Run the workload on all contestants.

    Each beam width starts fresh processes. In each round every contestant answers the same source, and who goes first
    changes from round to round. The first `WARM_UP_ROUNDS` rounds are not kept. The first contestant that runs the
    checkpoint's model is the reference: the others must have its vocabulary and its decoding settings. Before the
    rounds each contestant is watched while it writes one reply, and each reply is checked. The rounds are run again,
    `REPEATS` times at the most, while the A/A pair is too noisy; the quietest are kept.

    Args:
        contestants: with different labels.
        workload: what they are asked.
        progress: told about each stage.
        journal: of an earlier run that was interrupted; what it holds is not measured again.

    Raises:
        ArgumentError: no contestant runs the checkpoint's model.
        BackendError: a process failed or ended.
        InputError: the contestants do not hold the same model or the same decoding settings.
        WorkloadError: a contestant does something else than was asked. None of the three is raised for a rival, which
            is missing from then on.
    """
    if all(contestant.other_model for contestant in contestants):
        raise ArgumentError("At least one contestant must run the checkpoint itself.")
    journal = Journal() if journal is None else journal
    results: list[BeamRun] = []
    missing: dict[str, str] = {}
    said: dict[str, dict[str, Any]] = {}
    for beams in workload.beams:
        kept = journal.get(f"beam {beams}")
        if kept is None:
            field = [one for one in contestants if one.name not in missing]
            contest = _Contest(field, workload, beams, missing, progress, journal)
            kept = contest.measured()
            journal.put(f"beam {beams}", kept)
        else:
            progress(f"beam {beams}: kept from the run that was interrupted")
        missing.update(kept["missing"])
        said.update(kept["descriptions"])
        results.append(BeamRun(beams, tuple(BackendRun(**run) for run in kept["backends"]), tuple(kept["noise"])))
    reference = next(one for one in contestants if not one.other_model)
    decoding = said[reference.label]["decoding"]
    return LatencyRun(
        decoding,
        tuple(results),
        tuple(_participant(one, said[one.label], decoding) for one in contestants if one.label in said),
        tuple(Missing(name, reason) for name, reason in missing.items()),
    )


class _Contest:
    """The rounds of one beam width, and the contestants that are still in them."""

    def __init__(
        self,
        contestants: Sequence[Contestant],
        workload: Workload,
        beams: int,
        missing: dict[str, str],
        progress: Progress,
        journal: Journal,
    ) -> None:
        self._contestants = contestants
        self._workload = workload
        self._beams = beams
        self._missing = dict(missing)
        self._progress = progress
        self._journal = journal
        self._seats: list[_Seat] = []

    def measured(self) -> dict[str, Any]:
        """Everything about this beam width, as JSON values."""
        with ExitStack() as stack:
            self._take_seats(stack)
            reference = self._reference
            for seat in list(self._seats):
                self._try(
                    seat,
                    fairness.check_description,
                    seat.contestant,
                    seat.description,
                    reference.contestant,
                    reference.description,
                )
            self._warm_up()
            attempts = []
            for attempt in range(1 + REPEATS):
                self._rounds(attempt)
                runs = [replace(seat.run) for seat in self._seats]
                noise = pair_noise(runs, self._names)
                attempts.append((noise, runs))
                if noise is None or noise <= MOST_NOISE:
                    break
                again = "running the rounds again" if attempt < REPEATS else "the quietest rounds are kept"
                self._progress(
                    f"beam {self._beams}: too noisy: the A/A pair differs by {noise:.0%}, more than {MOST_NOISE:.0%}; "
                    + again
                )
            _, runs = min(attempts, key=lambda attempt: attempt[0] or 0.0)
            left = [seat.run.label for seat in self._seats]
            runs = [run for run in runs if run.label in left]
            self._check_exact(runs)
            for seat, run in zip(self._seats, runs, strict=True):
                run.peak_bytes = seat.process.request("memory")["peak_bytes"]
        return {
            "backends": [asdict(run) for run in runs],
            "noise": sorted(noise for noise, _ in attempts if noise is not None),
            "missing": self._missing,
            "descriptions": {seat.contestant.label: seat.description for seat in self._seats},
        }

    @property
    def _reference(self) -> _Seat:
        return next(seat for seat in self._seats if not seat.contestant.other_model)

    @property
    def _names(self) -> dict[str, str]:
        return {seat.contestant.label: seat.contestant.name for seat in self._seats}

    def _take_seats(self, stack: ExitStack) -> None:
        for contestant in self._contestants:
            if contestant.name in self._missing:
                continue
            self._progress(f"beam {self._beams}: loading {contestant.label}")
            try:
                self._seats.append(self._seated(contestant, stack))
            except BackendError as error:
                if not contestant.rival:
                    raise
                self._leave_out(contestant, error)

    def _seated(self, contestant: Contestant, stack: ExitStack) -> _Seat:
        process = stack.enter_context(BackendProcess(contestant.label, contestant.command))
        load = process.request("load", path=str(contestant.path), threads=self._workload.threads)
        memory = process.request("memory")
        run = BackendRun(contestant.label, load["import_s"], load["load_s"], memory["peak_bytes"])
        return _Seat(contestant, process, run, process.request("describe"))

    def _try(self, seat: _Seat, work: Callable[..., T], *arguments: Any, **settings: Any) -> T | None:
        """What `work` gives; None when it fails for a rival, which then takes no further part."""
        try:
            return work(*arguments, **settings)
        except (BackendError, InputError, WorkloadError) as error:
            if not seat.contestant.rival:
                raise
            seat.process.kill()
            self._seats.remove(seat)
            self._leave_out(seat.contestant, error)
            return None

    def _leave_out(self, contestant: Contestant, error: Exception) -> None:
        self._progress(f"{contestant.label} is missing: {error}")
        self._missing[contestant.name] = str(error).rstrip(".")

    def _request(self, round_number: int) -> dict[str, Any]:
        description = self._reference.description
        vocabulary = Vocabulary(description["vocab_size"], frozenset(description["special_ids"]), description["eos_id"])
        ids = source(self._workload, vocabulary, round_number)
        return {"ids": ids, "beams": self._beams, "new_tokens": self._workload.new_tokens}

    def _warm_up(self) -> None:
        """Uncounted replies, the last of them watched."""
        for number in range(-WARM_UP_ROUNDS, 0):
            for seat in list(self._seats):
                self._progress(f"beam {self._beams}: warm-up: {seat.contestant.label}")
                self._try(seat, seat.process.request, "warm_up", **self._request(number))
        for seat in list(self._seats):
            self._try(seat, self._watch, seat)

    def _watch(self, seat: _Seat) -> None:
        request = self._request(-1)
        seen = seat.process.request("witness", **request)
        fairness.check_witness(seat.contestant, seen, self._beams, self._workload)
        decoding = self._reference.description["decoding"]
        fairness.check_reply(seat.contestant, request["ids"], seen["tokens"], decoding, self._workload.new_tokens)

    def _rounds(self, attempt: int) -> None:
        for seat in self._seats:
            seat.run = replace(seat.run, seconds=[], cpu_s=[], replies=[])
        for number in range(self._workload.rounds):
            key = f"beam {self._beams}, attempt {attempt}, round {number}"
            kept = self._journal.get(key)
            if kept is None or not kept.keys() >= {seat.run.label for seat in self._seats}:
                kept = self._round(number)
                self._journal.put(key, kept)
            for seat in self._seats:
                seconds, cpu_s, tokens = kept[seat.run.label]
                seat.run.seconds.append(seconds)
                seat.run.cpu_s.append(cpu_s)
                seat.run.replies.append(tokens)
            times = ", ".join(f"{seat.run.label} {seat.run.seconds[-1]:.2f} s" for seat in self._seats)
            self._progress(f"beam {self._beams}: round {number + 1} of {self._workload.rounds}: {times}")

    def _round(self, number: int) -> dict[str, tuple[float, float, list[int]]]:
        seats = list(self._seats)
        first = number % len(seats)
        found = {}
        for seat in (*seats[first:], *seats[:first]):
            reply = self._try(seat, self._reply, seat, number)
            if reply is not None:
                found[seat.run.label] = reply
        return found

    def _reply(self, seat: _Seat, number: int) -> tuple[float, float, list[int]]:
        request = self._request(number)
        before = seat.process.cpu_s
        reply = seat.process.request("generate", **request)
        cpu_s = seat.process.cpu_s - before
        decoding = self._reference.description["decoding"]
        fairness.check_reply(seat.contestant, request["ids"], reply["tokens"], decoding, self._workload.new_tokens)
        fairness.check_cpu(seat.contestant, reply["seconds"], cpu_s, self._workload.threads)
        return reply["seconds"], cpu_s, reply["tokens"]

    def _check_exact(self, runs: list[BackendRun]) -> None:
        """Compare the replies of those that compute in fp32 with the reference's; others are left out of `runs`."""
        by_label = {run.label: run for run in runs}
        reference = by_label[self._reference.contestant.label]
        for seat in list(self._seats):
            if seat.contestant.exact and seat is not self._reference:
                self._try(seat, self._compare, seat, reference, by_label[seat.run.label])
        left = {seat.run.label for seat in self._seats}
        runs[:] = [run for run in runs if run.label in left]

    def _compare(self, seat: _Seat, reference: BackendRun, run: BackendRun) -> None:
        gaps: list[float | None] = []
        for number, (wanted, found) in enumerate(zip(reference.replies, run.replies, strict=True)):
            if wanted == found:
                gaps.append(None)
                continue
            ids = self._request(number)["ids"]
            first, second = self._reference.process.request("score", ids=ids, replies=[wanted, found])["scores"]
            gaps.append(first - second)
        fairness.check_exact(seat.contestant, gaps)


def _participant(contestant: Contestant, description: dict[str, Any], decoding: dict[str, Any]) -> Participant:
    versions = description.get("versions", {})
    return Participant(
        contestant,
        tuple(name for name in contestant.lacks if name in decoding),
        {name: versions[name] for name in contestant.packages if name in versions},
        description.get("engine", {}),
    )
