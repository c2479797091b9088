"""`latency`: how long one reply takes: contestants take turns, round by round, each in a process of its own."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any, TypeVar

from benchmarks import fairness, machine, session
from benchmarks.checkpoints import named_export
from benchmarks.contestants import CONTESTANTS, REFERENCE, Contestant, default_names, prepare, title
from benchmarks.errors import ArgumentError, ContestantError
from benchmarks.figures import AGAIN, MAX_NOISE, noise, pair_of, smallest
from benchmarks.journal import Journal
from benchmarks.machine import Limits, StepWeights
from benchmarks.process import WorkerProcess
from benchmarks.results import GROWING, LATENCY, Results
from benchmarks.schema import Agreement, Latency, Missing, Pair, Participant, Race, Sizes, Timing
from benchmarks.session import Session, progress
from benchmarks.tables import Block, Heading, Picture, Prose, Table

# How often the rounds are run again when the A/A pair is too noisy.
REPEATS = 2
GROWTH = {"beams": (1, 2, 4, 6, 8, 10), "source_tokens": (8, 16, 32, 64, 128), "new_tokens": (8, 15, 30, 45, 60)}
AXES = {"beams": "beams", "source_tokens": "source tokens", "new_tokens": "generated tokens", "threads": "threads"}
EXCLUDED = (
    "loading, warm-up (compiling included), tokenising, and everything between processes: a reply is timed within its "
    "process, from token ids to token ids"
)
DESCRIPTION = f"""
Torch fp32 (BlenderbotForConditionalGeneration.generate), an export of ours in the stock ORTModelForSeq2SeqLM, and the
same export in our own engine, twice, to show how far the figures of one and the same thing differ. Each runs in a
process of its own and they take turns, round by round, on the same token ids with the same decoding settings. What
they load is made in a cache folder when it is not there, which takes minutes, 9 GB of memory and some GB of disk. A
rival that cannot be installed or converted is reported as missing. Contestants: {", ".join(CONTESTANTS)}.
"""

T = TypeVar("T")
Point = tuple[str, Sizes]
"""What grows ("" for nothing), and the sizes of a reply."""
Reply = tuple[float, float, list[int]]
"""Seconds of a reply, processor seconds of the contestant's process, and the ids."""


@dataclass
class Entrant:
    """A contestant whose process has loaded its model, and what it said of itself then."""

    contestant: Contestant
    process: WorkerProcess
    loaded: dict[str, Any]
    description: dict[str, Any]

    @property
    def label(self) -> str:
        return self.contestant.label


class Grid:
    """Races at several points.

    In each round every contestant answers the same source, and who goes first changes from round to round. The first
    contestant that runs the checkpoint's model is the reference: the others must have its vocabulary and its decoding
    settings. Before the rounds each contestant is watched while it writes one reply, and each reply is checked. The
    rounds are run again, `REPEATS` times at most, while the A/A pair is too noisy; the quietest are kept.

    Attributes:
        races: one a point.
        missing: rivals that could not be loaded, failed, or did something else than was asked, and why.
        descriptions: what each contestant said of itself, by label.
    """

    def __init__(
        self, contestants: Sequence[Contestant], rounds: int, progress: Callable[[str], None], journal: Journal
    ) -> None:
        """
        Args:
            contestants: with different labels.
            rounds: replies of each contestant at each point; each has a source of its own, the same for all.
            progress: told about each stage.
            journal: of an earlier run that was interrupted; what it holds is not measured again.
        """
        if all(contestant.other_model for contestant in contestants):
            raise ArgumentError("At least one contestant must run the checkpoint itself.")
        self.races: list[Race] = []
        self.missing: dict[str, str] = {}
        self.descriptions: dict[str, dict[str, Any]] = {}
        self._contestants = contestants
        self._number_of_rounds = rounds
        self._progress = progress
        self._journal = journal
        self._entrants: list[Entrant] = []

    def run(self, points: Sequence[Point]) -> None:
        """Race at points that share the processes of the contestants, all with as many threads.

        A `BenchmarkError` says that a contestant failed or did something else than was asked; a rival that does is
        missing from then on.
        """
        with ExitStack() as stack:
            self._entrants = []
            for axis, sizes in points:
                key = f"{axis} {sizes}".strip()
                stored = self._journal.get(key)
                if stored is None:
                    if not self._entrants:
                        self._load_all(key, sizes, stack)
                    race = self._race(key, axis, sizes)
                    descriptions = {entrant.label: entrant.description for entrant in self._entrants}
                    stored = {"race": race.model_dump(), "missing": self.missing, "descriptions": descriptions}
                    self._journal.put(key, stored)
                else:
                    self._progress(f"{key}: kept from the run that was interrupted")
                self.missing.update(stored["missing"])
                self.descriptions.update(stored["descriptions"])
                self.races.append(Race.model_validate(stored["race"]))

    def decoding(self) -> dict[str, Any]:
        """The checkpoint's generation settings, as the reference has them."""
        reference = next(contestant for contestant in self._contestants if not contestant.other_model)
        settings: dict[str, Any] = self.descriptions[reference.label]["decoding"]
        return settings

    def participants(self) -> list[Participant]:
        """Those that took part, in the order of the line-up."""
        decoding = self.decoding()
        return [
            Participant(
                label=contestant.label,
                name=contestant.name,
                title=contestant.details,
                folder=contestant.folder.name,
                other_model=contestant.other_model,
                precision=contestant.precision,
                exact=contestant.exact,
                settings_lacking=[name for name in contestant.lacks if name in decoding],
                versions={name: told["versions"][name] for name in contestant.packages if name in told["versions"]},
                engine=told["engine"],
            )
            for contestant in self._contestants
            if (told := self.descriptions.get(contestant.label)) is not None
        ]

    @property
    def _reference(self) -> Entrant:
        return next(entrant for entrant in self._entrants if not entrant.contestant.other_model)

    def _load_all(self, key: str, sizes: Sizes, stack: ExitStack) -> None:
        for contestant in self._contestants:
            if contestant.name not in self.missing:
                self._progress(f"{key}: loading {contestant.label}")
                try:
                    self._entrants.append(self._loaded(contestant, sizes.threads, stack))
                except ContestantError as error:
                    self._leave_out(contestant, error)
        reference = self._reference
        for entrant in list(self._entrants):
            told = (entrant.contestant, entrant.description, reference.contestant, reference.description)
            self._try(entrant, fairness.check_description, *told)
        for entrant in list(self._entrants):
            self._progress(f"{key}: warm-up: {entrant.label}")
            self._try(entrant, entrant.process.request, "warm_up", **self._request(sizes, -1))

    def _loaded(self, contestant: Contestant, threads: int, stack: ExitStack) -> Entrant:
        process = stack.enter_context(WorkerProcess(contestant.label, contestant.command))
        loaded = process.request("load", path=str(contestant.folder), threads=threads)
        loaded["loaded_bytes"] = process.request("memory")["peak_bytes"]
        return Entrant(contestant, process, loaded, process.request("describe"))

    def _try(self, entrant: Entrant, work: Callable[..., T], *arguments: Any, **settings: Any) -> T | None:
        """What `work` gives; None when it fails for a rival, which then takes no further part."""
        try:
            return work(*arguments, **settings)
        except ContestantError as error:
            self._leave_out(entrant.contestant, error)
            entrant.process.kill()
            self._entrants.remove(entrant)
            return None

    def _leave_out(self, contestant: Contestant, error: Exception) -> None:
        if not contestant.rival:
            raise error
        self._progress(f"{contestant.label} is missing: {error}")
        self.missing[contestant.name] = str(error).rstrip(".")

    def _request(self, sizes: Sizes, round_number: int) -> dict[str, Any]:
        ids = fairness.source(self._reference.description, sizes.source_tokens, round_number)
        return {"ids": ids, "beams": sizes.beams, "new_tokens": sizes.new_tokens}

    def _race(self, key: str, axis: str, sizes: Sizes) -> Race:
        for entrant in list(self._entrants):
            self._try(entrant, self._watch, entrant, sizes)
        attempts: list[tuple[float, list[dict[str, Reply]]]] = []
        for attempt in range(1 + REPEATS):
            rounds = [self._round(key, attempt, number, sizes) for number in range(self._number_of_rounds)]
            pair = pair_of([entrant.label for entrant in self._entrants])
            attempts.append((pair_noise(rounds, pair) if pair else 0.0, rounds))
            if attempts[-1][0] <= MAX_NOISE:
                break
            again = "running the rounds again" if attempt < REPEATS else "the quietest rounds are kept"
            self._progress(f"{key}: too noisy: the A/A pair differs by {attempts[-1][0]:.0%}; {again}")
        _, rounds = min(attempts, key=lambda attempt: attempt[0])
        for entrant in list(self._entrants):
            reference = self._reference
            if entrant.contestant.exact and reference.contestant.exact and entrant is not reference:
                self._try(entrant, self._compare, entrant, rounds, sizes)
        timings = [self._timing(entrant, rounds) for entrant in self._entrants]
        if pair is None:
            return Race(axis=axis, sizes=sizes, timings=timings)
        same = agreement(*([replies[label][2] for replies in rounds] for label in pair))
        noises = sorted(value for value, _ in attempts)
        return Race(axis=axis, sizes=sizes, timings=timings, a_a=Pair(labels=pair, noise=noises, same=same))

    def _watch(self, entrant: Entrant, sizes: Sizes) -> None:
        request = self._request(sizes, -1)
        observation = entrant.process.request("watch", **request)
        fairness.check_observation(entrant.contestant, observation, sizes)
        self._check_reply(entrant, request, observation["tokens"])

    def _check_reply(self, entrant: Entrant, request: dict[str, Any], tokens: list[int]) -> None:
        decoding = self._reference.description["decoding"]
        fairness.check_reply(entrant.contestant, request["ids"], tokens, decoding, request["new_tokens"])

    def _round(self, key: str, attempt: int, number: int, sizes: Sizes) -> dict[str, Reply]:
        """A reply of each entrant, by label."""
        round_key = f"{key}, attempt {attempt}, round {number}"
        replies: dict[str, Reply] | None = self._journal.get(round_key)
        if replies is None or not replies.keys() >= {entrant.label for entrant in self._entrants}:
            replies = {}
            first = number % len(self._entrants)
            for entrant in (*self._entrants[first:], *self._entrants[:first]):
                reply = self._try(entrant, self._reply, entrant, sizes, number)
                if reply is not None:
                    replies[entrant.label] = reply
            self._journal.put(round_key, replies)
        times = ", ".join(f"{entrant.label} {replies[entrant.label][0]:.2f} s" for entrant in self._entrants)
        self._progress(f"{key}: round {number + 1} of {self._number_of_rounds}: {times}")
        return replies

    def _reply(self, entrant: Entrant, sizes: Sizes, number: int) -> Reply:
        request = self._request(sizes, number)
        before = entrant.process.cpu_s
        reply = entrant.process.request("generate", **request)
        cpu_s = entrant.process.cpu_s - before
        self._check_reply(entrant, request, reply["tokens"])
        fairness.check_cpu(entrant.contestant, reply["seconds"], cpu_s, sizes.threads)
        return reply["seconds"], cpu_s, reply["tokens"]

    def _compare(self, entrant: Entrant, rounds: Sequence[Mapping[str, Reply]], sizes: Sizes) -> None:
        """Judge the replies of one that computes in fp32 by how likely the reference finds them."""
        gaps: list[float | None] = []
        for number, replies in enumerate(rounds):
            pair = [replies[self._reference.label][2], replies[entrant.label][2]]
            if pair[0] == pair[1]:
                gaps.append(None)
                continue
            ids = self._request(sizes, number)["ids"]
            first, second = self._reference.process.request("score", ids=ids, replies=pair)["scores"]
            gaps.append(first - second)
        fairness.check_exact(entrant.contestant, gaps)

    def _timing(self, entrant: Entrant, rounds: Sequence[Mapping[str, Reply]]) -> Timing:
        seconds, cpu_s, tokens = zip(*(replies[entrant.label] for replies in rounds), strict=True)
        compared = REFERENCE in rounds[0] and not entrant.contestant.other_model
        return Timing(
            label=entrant.label,
            **entrant.loaded,
            **entrant.process.request("memory"),
            seconds=list(seconds),
            cpu_s=list(cpu_s),
            same_as_torch=agreement([replies[REFERENCE][2] for replies in rounds], tokens) if compared else None,
        )


def pair_noise(rounds: Sequence[Mapping[str, Reply]], pair: tuple[str, str]) -> float:
    """How far the times of two runs of one contestant differ."""
    return noise([replies[pair[0]][0] / replies[pair[1]][0] for replies in rounds])


def agreement(first: Sequence[list[int]], second: Sequence[list[int]]) -> Agreement:
    """Compare two contestants' replies, round by round."""
    pairs = list(zip(first, second, strict=True))
    shared = [
        next((place for place, (a, b) in enumerate(zip(*pair, strict=False)) if a != b), min(map(len, pair)))
        for pair in pairs
    ]
    return Agreement(equal=sum(a == b for a, b in pairs), replies=len(pairs), shared_tokens=median(shared))


def growing(base: Sizes, positions: int) -> list[Point]:
    """One setting changed at a time, by its name, as far as the model has positions."""
    values = {"threads": range(1, base.threads + 1), **GROWTH}
    return [
        (axis, base.model_copy(update={axis: value}))
        for axis in values
        for value in values[axis]
        if value <= positions or not axis.endswith("tokens")
    ]


def add(commands: Any) -> None:
    """Add the command to a parser's sub-commands."""
    help_text = "time one reply at a time, against torch fp32"
    parser = commands.add_parser("latency", help=help_text, description=DESCRIPTION)
    session.add_workload(parser, 10, "replies per contestant and beam width")
    help_text = "folders that `python -m export` made of it, one a precision (default: exported into the cache)"
    parser.add_argument("--exported", type=Path, nargs="+", default=[], metavar="DIR", help=help_text)
    line_up = parser.add_mutually_exclusive_group()
    line_up.add_argument("--rivals", action="store_true", help="add ours-int4 and the engines of others")
    help_text = "who takes part instead of the usual ones; one named twice runs twice"
    names = session.names_of(CONTESTANTS, "contestant")
    line_up.add_argument("--contestants", type=names, metavar="A,B,...", help=help_text)
    session.number(parser, "--beams", [10, 1], "beam widths; 1 is greedy")
    help_text = "let beams (to 10), source (to 128), reply (to 60) and threads grow, each alone, from the first --beams"
    parser.add_argument("--growing", action="store_true", help=help_text)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    current = Session(options)
    exports = _exports(options.exported)
    names = options.contestants or default_names(next(iter(exports), "int8"), rivals=options.rivals)
    if all(CONTESTANTS[name].other_model for name in names):
        raise ArgumentError("At least one contestant must run the checkpoint itself.")
    checkpoint = current.checkpoint()
    contestants, missing = prepare(names, checkpoint, exports, current.cache, progress)
    lengths = {"source_tokens": options.source_tokens, "new_tokens": options.new_tokens, "threads": options.threads}
    points = [("", Sizes(beams=beams, **lengths)) for beams in dict.fromkeys(options.beams)]
    # Each beam width has processes of its own, since the largest memory of a process is that of all its points.
    groups = [[point] for point in points]
    if options.growing:
        points = growing(points[0][1], checkpoint.positions)
        groups = [[point for point in points if point[1].threads == n] for n in range(1, options.threads + 1)]
    head = current.begin(points, options.rounds, [(contestant.label, contestant.folder) for contestant in contestants])
    progress("measuring the machine: reading and multiplying")
    limits = Limits(**current.journal.get_or("limits", lambda: asdict(machine.measure(options.threads))))
    grid = Grid(contestants, options.rounds, progress, current.journal)
    for group in groups:
        grid.run(group)
    settings = {
        "checkpoint": checkpoint.source,
        "random_weights": checkpoint.random_weights,
        "rounds": options.rounds,
        "beams": options.beams[0],
        **lengths,
        "decoding": grid.decoding(),
        "excluded": EXCLUDED,
    }
    measurement = Latency(
        **head,
        settings=settings,
        limits=limits,
        step_weights=StepWeights.of(checkpoint.folder),
        contestants=grid.participants(),
        missing=[*missing, *(Missing(name=name, reason=reason) for name, reason in grid.missing.items())],
        results=grid.races,
    )
    show, part = (growing_section, GROWING) if options.growing else (section, LATENCY[0])
    current.finish(measurement, show(Results(Path(), {part: measurement})))


def _exports(folders: Sequence[Path]) -> dict[str, Path]:
    exports: dict[str, Path] = {}
    for folder in map(Path.expanduser, folders):
        precision = named_export(folder)
        if precision in exports:
            raise ArgumentError(f"--exported names two folders with {precision} weights; one a precision is enough.")
        exports[precision] = folder
    return exports


def heading(beams: int) -> str:
    """The head of a table of replies of a beam width."""
    return "**greedy**" if beams == 1 else f"**{beams} beams**"


def section(results: Results) -> Iterator[Block]:
    """Replies one at a time, with everything that the figures rest on."""
    runs = list(results.of_kind(Latency, LATENCY).values())
    if not runs:
        return
    yield Heading("One reply at a time")
    yield Picture("latency", "milliseconds a token of each way to run the model, with the floor of the machine")
    missing = {missing.name for run in runs for missing in run.missing}
    columns = ("s a reply", "ms a token", "times the floor", "times torch", "ours beside it", "peak MB", "same")
    for beams in dict.fromkeys(race.sizes.beams for run in runs for race in run.results):
        rows = results.latency(beams)
        names = [name for name in CONTESTANTS if name in rows or name in missing]
        names += [name for name in rows if name not in CONTESTANTS and not name.endswith(AGAIN)]
        absent = ("missing", *["-"] * (len(columns) - 1))
        cells = [(title(name), *(_cells(results, name, beams) if name in rows else absent)) for name in names]
        yield Table((heading(beams), *columns), cells)
        for number, (_, race) in enumerate(results.races(beams), 1):
            which = f", run {number}" if len(runs) > 1 else ""
            yield Prose(f"A/A pair, ours beside itself{which}: {race.a_a or 'not measured.'}")
    yield Prose(_rests_on(runs))
    for info in {info.label: info for run in runs for info in run.contestants}.values():
        if info.settings_lacking or info.other_model:
            without = f" without {', '.join(info.settings_lacking)}" if info.settings_lacking else ""
            model = f" It runs another model: {info.other_model}." if info.other_model else ""
            yield Prose(f"(*) {title(info.name).replace(' (*)', '')} runs{without}.{model}")
    yield Prose(
        "*same*: replies equal to torch's, token for token. With random weights a rounding error soon leads elsewhere, "
        "so only those that compute in fp32 must agree, ties aside. *s a reply* and ratios: of the best rounds, in "
        f"brackets the smallest and largest. Not in the times: {runs[0].settings['excluded']}."
    )


def _cells(results: Results, name: str, beams: int) -> tuple[str, ...]:
    row = results.latency(beams)[name]
    ratios = (results.times(name, REFERENCE, beams), results.times("ours-int8", name, beams))
    return (
        str(smallest(row.seconds)),
        f"{row.ms_per_token:.1f}",
        "-" if row.floor_ms is None else f"{row.ms_per_token / row.floor_ms:.1f}",
        *("-" if ratio is None else str(ratio) for ratio in ratios),
        f"{row.peak_bytes / 1e6:,.0f}",
        "-" if row.same is None else f"{row.same.equal} of {row.same.replies}",
    )


def _rests_on(runs: Sequence[Latency]) -> str:
    settings, sizes = runs[0].settings, runs[0].results[0].sizes
    rounds = " and ".join(str(run.settings["rounds"]) for run in runs)
    limits = "; ".join(
        f"{run.limits.read_bytes_per_s / 1e9:.1f} GB/s and, in billion operations a second, "
        + ", ".join(f"{rate / 1e9:,.0f} ({kind})" for kind, rate in run.limits.operations_per_s.items())
        for run in runs
        if run.limits is not None
    )
    several = f", in {len(runs)} runs; ratios are of runs that both took part in" if len(runs) > 1 else ""
    weights = "; random weights: numeric fidelity only, nothing about quality" * settings["random_weights"]
    return (
        f"Checkpoint: {settings['checkpoint']}{weights}. {sizes.source_tokens} source tokens, {sizes.new_tokens} "
        f"generated (checked), {sizes.threads} threads, {rounds} rounds{several}. Measured for the floor: {limits}."
    )


def growing_section(results: Results) -> Iterator[Block]:
    """How a reply's cost grows with each setting."""
    for part in results.of_kind(Latency, [GROWING]).values():
        yield Heading("How cost grows")
        yield Picture("scaling", "seconds a reply by beams, lengths and threads")
        for axis, axis_title in AXES.items():
            races = {getattr(race.sizes, axis): race.timings for race in part.results if race.axis == axis}
            best = [{timing.label: min(timing.seconds) for timing in timings} for timings in races.values()]
            rows = [
                (title(label), *(f"{row[label]:.2f}" if label in row else "-" for row in best))
                for label in dict.fromkeys(label for row in best for label in row)
            ]
            yield Table((f"seconds a reply by {axis_title}", *map(str, races)), rows)
