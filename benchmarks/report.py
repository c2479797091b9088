"""`report`: the page of each machine's results, the one that compares machines, and the tables of README and docs."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks import export_cost, latency, load, plots, profile, quality, start, tables
from benchmarks.contestants import CONTESTANTS, REFERENCE
from benchmarks.errors import InputError
from benchmarks.process import PROJECT
from benchmarks.promises import verdicts
from benchmarks.results import FOLDER, LATENCY, LOADS, Results, machines
from benchmarks.schema import Archive, Load
from benchmarks.servers import TITLES
from benchmarks.session import progress
from benchmarks.tables import Block, Heading, Items, Picture, Prose, Table

PAGES = (PROJECT / "README.md", PROJECT / "docs" / "benchmarks.md")
BLOCK = re.compile(r"(<!-- (?P<name>\w+):begin -->\n).*?(<!-- (?P=name):end -->)", re.DOTALL)
FILE_NAME = "REPORT.md"
COMMANDS = {
    "latency-400m": "latency --rivals",
    "latency-variants-400m": "latency --rivals",
    "load-400m": "load",
    "load-greedy-400m": "load --beams 1",
    "start-400m": "start",
    "export-400m": "export-cost",
    "quality-demo": "quality",
    "scaling-400m": "latency --growing",
    "clients-400m": "load --clients 1 2 4 8 16",
}
WEIGHTS = (
    "The weights are random ones in the shape of `facebook/blenderbot-400M-distill` wherever speed and memory are "
    "measured; quality is measured on the demo model's held-out dialogues."
)
BEST = (
    "x is how many times as fast, or as many replies a second, at the best of all rounds of both: what else a machine "
    "does can only make either worse. `make accept` judges by the same list and the same figure. How the figures are "
    "kept honest is told in [docs/benchmarks.md]({}docs/benchmarks.md)."
)
MARK = "(†)"
BEFORE = f"{MARK} was measured before this project had kernels of its own: its rows there are of ONNX Runtime's."
DESCRIPTION = f"""
Write {FILE_NAME} and its plots from the JSON files of a results folder: {", ".join(COMMANDS)}. Parts that are not there
are named as not measured. Without a folder, do so for every machine in benchmarks/results, compare them in
benchmarks/results/{FILE_NAME}, and fill in the tables of README.md and docs/benchmarks.md.
"""


def page(results: Results) -> str:
    """The report of a results folder."""
    dates = ", ".join(f"{name} ({part.date[:10]})" for name, part in results.parts.items())
    versions = next(iter(results.parts.values())).versions.items()
    judged = [(one.promise.text, one.promise.asked, str(one), one.word) for one in verdicts(results)]
    blocks: list[Block] = [
        Heading("Measurements", 1),
        Prose(f"Made by `make bench` or `make bench-all`; the JSON files beside this page hold raw values. {WEIGHTS}"),
        Items([f"{results.machine}: {dates}", ", ".join(f"{name} {version}" for name, version in versions)]),
        Heading("Promises"),
        Table(("promise", "limit", "measured", "verdict"), judged),
        Prose(f"{BEST.format('../../../')} In brackets the smallest and the largest within one round. {BEFORE}"),
        *latency.section(results),
        *load.section(results),
        *start.section(results),
        *export_cost.section(results),
        *export_cost.shapes_section(results),
        *quality.section(results),
        *latency.growing_section(results),
        *profile.section(results),
        *_archives(results),
        Heading("What is missing"),
        *_missing(results),
    ]
    drawn = plots.possible(results)
    return tables.markdown(block for block in blocks if not isinstance(block, Picture) or block.name in drawn)


def _archives(results: Results) -> Iterator[Block]:
    """What was measured by code that is gone, each table as it was kept."""
    for part in results.of_kind(Archive).values():
        yield Heading(part.about)
        for name, rows in part.tables.items():
            columns = [key for key in rows[0] if not isinstance(rows[0][key], list)]
            cells = [
                [f"{row[key]:,.4g}" if isinstance(row[key], float) else str(row[key]) for key in columns]
                for row in rows
            ]
            yield Table((name, *columns[1:]), cells)
        yield Prose(f"Measured once, {part.date[:10]}.")


def _missing(results: Results) -> Iterator[Block]:
    lines = [f"{one.name} ({name}): {one.reason}." for name, part in results.parts.items() for one in part.missing]
    absent = [part for part in COMMANDS if part not in results.parts]
    lines += [f"{part}: not measured; `python -m benchmarks {COMMANDS[part]}`." for part in absent]
    yield Items(lines) if lines else Prose("Nothing: every rival ran to the end and did what was asked.")


def comparison(every: Sequence[Results]) -> str:
    """The page of several machines, one at least."""
    lines = []
    for results in every:
        days = " and ".join(sorted({part.date[:10] for part in results.parts.values()}))
        link = f"[{results.machine.short_name}]({results.folder.name}/{FILE_NAME})"
        lines.append(f"{link}, {days}: {results.machine}")
    judged = [
        (
            same[0].promise.text,
            same[0].promise.asked,
            *("-" if one.figure is None else f"{one.figure.best:.4g} {one.promise.unit}, {one.word}" for one in same),
        )
        for same in zip(*map(verdicts, every), strict=True)
    ]
    blocks: list[Block] = [
        Heading("Measurements", 1),
        Prose(
            "Made by `make bench-all`, on each machine in a folder of its own, where the whole report is with its raw "
            f"values. {WEIGHTS} `-` was not measured there."
        ),
        Items(lines),
        Heading("Promises"),
        Table(("promise", "limit", *(_column(results, (*LATENCY, *LOADS)) for results in every)), judged),
        Prose(BEST.format("../../")),
        Heading("One reply at a time"),
        Picture(plots.MACHINES, "how many times as fast as torch each way to run the model is, on each machine"),
        speed_table(every, 10),
        speed_table(every, 1),
        Prose(
            "The best of all rounds, and how many times as fast as torch fp32 in the runs that both took part in; "
            "memory is the most on any of the machines. (*) runs a BART of the same shape, without the ban on the "
            f"user's 3-grams: it has no Blenderbot loader. {BEFORE}"
        ),
        Heading("Many clients"),
        load_table(every),
        Prose("Over HTTP on the loopback address, the best round; replies of fixed length, computed and checked."),
    ]
    drawn = plots.possible_machines(every)
    return tables.markdown(block for block in blocks if drawn or not isinstance(block, Picture))


def speed_table(every: Sequence[Results], beams: int) -> Table:
    """Best seconds of one reply, and times torch fp32, of each contestant on each machine."""
    measured = [(results, rows) for results in every if (rows := results.latency(beams))]
    columns = (_column(results, LATENCY) for results, _ in measured)
    lines = []
    for name, contestant in CONTESTANTS.items():
        memory = [rows[name].peak_bytes for _, rows in measured if name in rows]
        if memory:
            speeds = (_speed(results, name, beams) for results, _ in measured)
            lines.append((contestant.title, *speeds, f"{max(memory) / 1e6:,.0f} MB"))
    return Table((latency.heading(beams), *columns, "most memory"), lines)


def summary_table(every: Sequence[Results], beams: int) -> Table:
    """The same of torch, of the fastest rival, and of this project."""
    measured = [results for results in every if results.latency(beams)]
    rows = [
        (CONTESTANTS[name].title, *(_speed(results, name, beams) for results in measured))
        for name in (REFERENCE, "ours-int8", "ours-int4")
    ]
    rows.insert(1, ("the fastest of all other ways", *(_fastest_rival(results, beams) for results in measured)))
    return Table((latency.heading(beams), *(_column(results, LATENCY) for results in measured)), rows)


def _speed(results: Results, name: str, beams: int) -> str:
    replies, times = results.latency(beams).get(name), results.times(name, REFERENCE, beams)
    if replies is None:
        return "-"
    return f"{min(replies.seconds):.2f} s" + ("" if times is None else f", {times.best:.1f} x")


def _fastest_rival(results: Results, beams: int) -> str:
    rows = results.latency(beams)
    rivals = [name for name in rows if name in CONTESTANTS and not CONTESTANTS[name].export and name != REFERENCE]
    if not rivals:
        return "-"
    name = min(rivals, key=lambda rival: min(rows[rival].seconds))
    return f"{_speed(results, name, beams)} ({CONTESTANTS[name].title.removesuffix(' (*)')})"


def load_table(every: Sequence[Results]) -> Table:
    """Replies a second of each server on each machine with one and with many clients, at the best of the rounds."""
    measured = [results for results in every if results.of_kind(Load, LOADS)]
    rows = []
    for decoding, part in zip(("10 beams", "greedy"), LOADS, strict=True):
        for name, title in TITLES.items():
            most = max((max(results.served(part, name), default=1) for results in measured), default=1)
            cells = [_rates(results, part, name, most) for results in measured]
            if set(cells) - {"-"}:
                rows.append((f"{title}, {decoding}, 1 and {most} clients", *cells))
    return Table(("replies of 60 tokens a second", *(_column(results, LOADS) for results in measured)), rows)


def _rates(results: Results, part: str, name: str, most: int) -> str:
    runs, ratio = results.served(part, name), results.rate(part, name, most, name, [1])
    if ratio is None:
        return "-"
    return f"{max(runs[1].rates):.2f} and {max(runs[most].rates):.2f}, {ratio.best:.1f} x"


def _column(results: Results, parts: Sequence[str]) -> str:
    """What a machine's column is called, with a mark where parts were measured before we had kernels of our own."""
    return results.machine.short_name + ("" if results.with_kernels(parts) else f" {MARK}")


def filled(text: str) -> str:
    """A page with every table as the committed results have it."""
    every = machines()
    blocks = {
        "summary": summary_table(every, 10),
        "latency": speed_table(every, 10),
        "greedy": speed_table(every, 1),
        "load": load_table(every),
    }
    return BLOCK.sub(lambda match: f"{match[1]}\n{tables.markdown([blocks[match['name']]])}\n{match[3]}", text)


def write(folder: Path) -> Path:
    """Write the report of a results folder; an `InputError` says why that cannot be."""
    results = Results.read(folder)
    if not results.parts:
        raise InputError(f"{folder} holds no results; `make bench` measures some.")
    path = folder / FILE_NAME
    with _writing(path):
        plots.draw(results)
        path.write_text(page(results), encoding="utf-8")
    return path


def compare(folder: Path) -> Path:
    """Write the page of all machines whose folders are in `folder`; an `InputError` says why that cannot be."""
    every = machines(folder)
    if not every:
        raise InputError(f"{folder} holds no machine's results; `make bench-all` measures those of this one.")
    path = folder / FILE_NAME
    with _writing(path):
        plots.draw_machines(folder, every)
        path.write_text(comparison(every), encoding="utf-8")
    return path


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except ModuleNotFoundError as error:
        raise InputError(f"{error.name} is missing; install requirements/bench.txt, as `make bench` does.") from error
    except OSError as error:
        raise InputError(f"{path} cannot be written ({error.strerror}).") from error
    progress(f"the report is in {path}")


def add(commands: Any) -> None:
    """Add the command to a parser's sub-commands."""
    parser = commands.add_parser("report", help="pages and plots of what was measured", description=DESCRIPTION)
    help_text = "folder (default: those in benchmarks/results)"
    parser.add_argument("--results", type=Path, metavar="DIR", help=help_text)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    if options.results is not None:
        write(options.results.expanduser())
        return
    for results in machines():
        write(results.folder)
    compare(FOLDER)
    for path in PAGES:
        path.write_text(filled(path.read_text(encoding="utf-8")), encoding="utf-8")
