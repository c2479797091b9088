"""`latency`: how long one reply takes, from token ids to token ids."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks import arguments, machine, output
from benchmarks.checkpoints import decoding, named_export
from benchmarks.contestants import CONTESTANTS, REFERENCE, prepare, title
from benchmarks.errors import ArgumentError
from benchmarks.figures import AGAIN, smallest
from benchmarks.heat import Heat
from benchmarks.machine import StepWeights
from benchmarks.results import LATENCY, Results
from benchmarks.schema import Latency, Participant, Race, Sizes
from benchmarks.session import Session

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


def add(commands: Any) -> None:
    """Add the command to a parser's sub-commands."""
    help_text = "time one reply at a time, against torch fp32"
    parser = commands.add_parser("latency", help=help_text, description=DESCRIPTION)
    arguments.add_workload(parser, 10, "replies per contestant and beam width")
    help_text = "folders that `python -m export` made of it, one a precision (default: exported into the cache)"
    parser.add_argument("--exported", type=Path, nargs="+", default=[], metavar="DIR", help=help_text)
    text = "who takes part instead of the usual ones; one named twice runs twice"
    arguments.names(parser, "--contestants", CONTESTANTS, None, text)
    arguments.number(parser, "--beams", [10, 1], "beam widths; 1 is greedy")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    session = Session(options.output)
    exports = {named_export(folder): folder for folder in map(Path.expanduser, options.exported)}
    if len(exports) < len(options.exported):
        raise ArgumentError("--exported names two folders of one precision.")
    precision = next(iter(exports), "int8")
    names = options.contestants or (REFERENCE, f"stock-{precision}", *[f"ours-{precision}"] * 2)
    if all(CONTESTANTS[name].other_model for name in names):
        raise ArgumentError("At least one contestant must run the checkpoint itself.")
    checkpoint = session.checkpoint(options)
    contestants = prepare(names, checkpoint, session, exports)
    settings = {"decoding": decoding(checkpoint.folder), "excluded": EXCLUDED}
    lengths = {name: getattr(options, name) for name in ("source_tokens", "new_tokens", "threads")}
    session.begin(checkpoint, beams=options.beams, rounds=options.rounds, **lengths, **settings)
    limits = machine.measure(options.threads)
    races: list[Race] = []
    participants: dict[str, Participant] = {}
    for beams in dict.fromkeys(options.beams):
        race, entrants = Heat(contestants, Sizes(beams=beams, **lengths), options.rounds, session).run()
        races.append(race)
        participants.update({entrant.label: entrant for entrant in entrants})
    session.finish(
        Latency,
        LATENCY[0],
        section,
        limits=limits,
        step_weights=StepWeights.of(checkpoint.folder),
        contestants=list(participants.values()),
        results=races,
    )


def decoding_name(beams: int) -> str:
    """Replies of a beam width, at the head of a table."""
    return "**greedy**" if beams == 1 else f"**{beams} beams**"


def section(results: Results) -> Iterator[str]:
    """Replies one at a time, with everything that the figures rest on."""
    runs = list(results.of_kind(Latency, LATENCY).values())
    if not runs:
        return
    yield output.heading("One reply at a time")
    missing = {missing.name for run in runs for missing in run.missing}
    columns = ("s a reply", "ms a token", "times the floor", "times torch", "ours beside it", "peak MB", "same")
    for beams in dict.fromkeys(race.sizes.beams for run in runs for race in run.results):
        rows = results.latency(beams)
        names = [name for name in CONTESTANTS if name in rows or name in missing]
        names += [name for name in rows if name not in CONTESTANTS and not name.endswith(AGAIN)]
        absent = ("missing", *["-"] * (len(columns) - 1))
        cells = [(title(name), *(_cells(results, name, beams) if name in rows else absent)) for name in names]
        yield output.table((decoding_name(beams), *columns), cells)
        for number, (_, race) in enumerate(results.races(beams), 1):
            which = f", run {number}" if len(runs) > 1 else ""
            yield output.paragraph(f"A/A pair, ours beside itself{which}: {race.a_a or 'not measured.'}")
    yield output.paragraph(_rests_on(runs))
    for info in {info.label: info for run in runs for info in run.contestants}.values():
        if info.settings_lacking or info.other_model:
            without = f" without {', '.join(info.settings_lacking)}" if info.settings_lacking else ""
            model = f" It runs another model: {info.other_model}." if info.other_model else ""
            yield output.paragraph(f"(*) {title(info.name).replace(' (*)', '')} runs{without}.{model}")
    yield output.paragraph(
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
    limits = "; ".join(str(run.limits) for run in runs)
    several = f", in {len(runs)} runs; ratios are of runs that both took part in" if len(runs) > 1 else ""
    weights = "; random weights: numeric fidelity only, nothing about quality" * settings["random_weights"]
    return (
        f"Checkpoint: {settings['checkpoint']}{weights}. {sizes.source_tokens} source tokens, {sizes.new_tokens} "
        f"generated (checked), {sizes.threads} threads, {rounds} rounds{several}. Measured for the floor: {limits}."
    )
