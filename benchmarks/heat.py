"""A heat of `latency`: contestants take turns, round by round, each in a process of its own, and are watched."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, TypeVar

from benchmarks import fairness
from benchmarks.contestants import REFERENCE, Contestant
from benchmarks.environment import versions
from benchmarks.errors import ContestantError
from benchmarks.figures import MAX_NOISE, pair_noise, pair_of
from benchmarks.output import progress
from benchmarks.process import WorkerProcess, peak_bytes
from benchmarks.schema import Agreement, Pair, Participant, Race, Sizes, Timing
from benchmarks.session import Session

# How often the rounds are run again when the A/A pair is too noisy.
REPEATS = 2

T = TypeVar("T")
Reply = tuple[float, float, list[int]]
"""Seconds of a reply, processor seconds of the contestant's process, and the ids."""


@dataclass
class Entrant:
    """A contestant whose process has loaded its model, and what it said of itself then."""

    contestant: Contestant
    process: WorkerProcess
    description: dict[str, Any]

    @property
    def label(self) -> str:
        return self.contestant.label


class Heat:
    """Contestants that write replies of one size, in processes that end with the heat.

    In each round every contestant answers the same source, and who goes first changes from round to round. The first
    contestant that runs the checkpoint's model is the reference: the others must have its vocabulary and its decoding
    settings. Before the rounds each contestant is watched while it writes one reply, and each reply is checked. The
    rounds are run again, `REPEATS` times at most, while the A/A pair is too noisy; the quietest are kept.
    """

    def __init__(self, contestants: Sequence[Contestant], sizes: Sizes, rounds: int, session: Session) -> None:
        """`contestants` have different labels, and one of them runs the checkpoint's model."""
        self._contestants = contestants
        self._sizes = sizes
        self._number_of_rounds = rounds
        self._session = session
        self._entrants: list[Entrant] = []

    def run(self) -> tuple[Race, list[Participant]]:
        """The race, and who took part.

        A `BenchmarkError` says that a contestant failed or did something else than was asked; a rival that does is
        missing from then on.
        """
        with ExitStack() as stack:
            self._load_all(stack)
            return self._race(), [self._participant(entrant) for entrant in self._entrants]

    @property
    def _reference(self) -> Entrant:
        return next(entrant for entrant in self._entrants if not entrant.contestant.other_model)

    @property
    def _decoding(self) -> dict[str, Any]:
        """The settings that the checkpoint came with."""
        return dict(self._reference.description["decoding"])

    def _participant(self, entrant: Entrant) -> Participant:
        own, ours = entrant.description["versions"], versions()
        return Participant.of(
            entrant.contestant,
            settings_lacking=[name for name in entrant.contestant.lacks if name in self._decoding],
            versions={name: version for name, version in own.items() if ours.get(name) != version},
            engine=entrant.description["engine"],
        )

    def _load_all(self, stack: ExitStack) -> None:
        for contestant in self._contestants:
            if contestant.name not in self._session.missing:
                progress(f"{self._sizes}: loading {contestant.label}")
                try:
                    self._entrants.append(self._loaded(contestant, stack))
                except ContestantError as error:
                    self._session.leave_out(contestant.name, error, rival=contestant.rival)
        reference = self._reference
        for entrant in list(self._entrants):
            described = (entrant.contestant, entrant.description, reference.contestant, reference.description)
            self._try(entrant, fairness.check_description, *described)
        for entrant in list(self._entrants):
            progress(f"{self._sizes}: warm-up: {entrant.label}")
            self._try(entrant, entrant.process.request, "generate", **self._request(-1))

    def _loaded(self, contestant: Contestant, stack: ExitStack) -> Entrant:
        process = stack.enter_context(WorkerProcess(contestant.label, contestant.command))
        process.request("load", path=str(contestant.folder), threads=self._sizes.threads)
        return Entrant(contestant, process, process.request("describe"))

    def _try(self, entrant: Entrant, work: Callable[..., T], *arguments: Any, **settings: Any) -> T | None:
        """What `work` gives; None when it fails for a rival, which then takes no further part."""
        try:
            return work(*arguments, **settings)
        except ContestantError as error:
            self._session.leave_out(entrant.contestant.name, error, rival=entrant.contestant.rival)
            entrant.process.kill()
            self._entrants.remove(entrant)
            return None

    def _request(self, round_number: int) -> dict[str, Any]:
        ids = fairness.source(self._reference.description, self._sizes.source_tokens, round_number)
        return {"ids": ids, "beams": self._sizes.beams, "new_tokens": self._sizes.new_tokens}

    def _race(self) -> Race:
        for entrant in list(self._entrants):
            self._try(entrant, self._watch, entrant)
        attempts: list[tuple[float, list[dict[str, Reply]]]] = []
        for again in (*["running the rounds again"] * REPEATS, "the quietest rounds are kept"):
            rounds = [self._round(number) for number in range(self._number_of_rounds)]
            pair = pair_of([entrant.label for entrant in self._entrants])
            noise = pair_noise(*([replies[label][0] for replies in rounds] for label in pair)) if pair else None
            attempts.append((noise or 0.0, rounds))
            if attempts[-1][0] <= MAX_NOISE:
                break
            progress(f"{self._sizes}: too noisy: the A/A pair differs by {attempts[-1][0]:.0%}; {again}")
        attempts.sort(key=lambda attempt: attempt[0])
        rounds = attempts[0][1]
        reference = self._reference
        for entrant in list(self._entrants):
            if entrant.contestant.exact and reference.contestant.exact and entrant is not reference:
                self._try(entrant, self._compare, entrant, rounds)
        a_a = None
        if pair is not None:
            same = agreement(*([replies[label][2] for replies in rounds] for label in pair))
            a_a = Pair(labels=pair, noise=[noise for noise, _ in attempts], same=same)
        timings = [self._timing(entrant, rounds) for entrant in self._entrants]
        return Race(sizes=self._sizes, timings=timings, a_a=a_a)

    def _watch(self, entrant: Entrant) -> None:
        request = self._request(-1)
        observation = entrant.process.request("watch", **request)
        fairness.check_observation(entrant.contestant, observation, self._sizes)
        fairness.check_reply(entrant.contestant, request, observation["tokens"], self._decoding)

    def _round(self, number: int) -> dict[str, Reply]:
        """A reply of each entrant, by label."""
        replies: dict[str, Reply] = {}
        first = number % len(self._entrants)
        for entrant in (*self._entrants[first:], *self._entrants[:first]):
            reply = self._try(entrant, self._reply, entrant, number)
            if reply is not None:
                replies[entrant.label] = reply
        times = ", ".join(f"{entrant.label} {replies[entrant.label][0]:.2f} s" for entrant in self._entrants)
        progress(f"{self._sizes}: round {number + 1} of {self._number_of_rounds}: {times}")
        return replies

    def _reply(self, entrant: Entrant, number: int) -> Reply:
        request = self._request(number)
        before = entrant.process.cpu_s
        reply = entrant.process.request("generate", **request)
        cpu_s = entrant.process.cpu_s - before
        fairness.check_reply(entrant.contestant, request, reply["tokens"], self._decoding)
        fairness.check_cpu(entrant.contestant, reply["seconds"], cpu_s, self._sizes.threads)
        return reply["seconds"], cpu_s, reply["tokens"]

    def _compare(self, entrant: Entrant, rounds: Sequence[Mapping[str, Reply]]) -> None:
        """Judge the replies of one that computes in fp32 by how likely the reference finds them."""
        gaps: list[float | None] = []
        for number, replies in enumerate(rounds):
            pair = [replies[self._reference.label][2], replies[entrant.label][2]]
            if pair[0] == pair[1]:
                gaps.append(None)
                continue
            ids = self._request(number)["ids"]
            first, second = self._reference.process.request("score", ids=ids, replies=pair)["scores"]
            gaps.append(first - second)
        fairness.check_exact(entrant.contestant, gaps)

    def _timing(self, entrant: Entrant, rounds: Sequence[Mapping[str, Reply]]) -> Timing:
        seconds, cpu_s, tokens = zip(*(replies[entrant.label] for replies in rounds), strict=True)
        compared = REFERENCE in rounds[0] and not entrant.contestant.other_model
        return Timing(
            label=entrant.label,
            peak_bytes=peak_bytes(entrant.process.pid),
            seconds=list(seconds),
            cpu_s=list(cpu_s),
            same_as_torch=agreement([replies[REFERENCE][2] for replies in rounds], tokens) if compared else None,
        )


def agreement(first: Sequence[list[int]], second: Sequence[list[int]]) -> Agreement:
    """Compare two contestants' replies, round by round."""
    return Agreement(equal=sum(a == b for a, b in zip(first, second, strict=True)), replies=len(first))
