"""`report`: the page of each machine's results, and the tables of README and docs that compare machines."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks import export_cost, latency, load, output, plots, quality, start
from benchmarks.contestants import CONTESTANTS, REFERENCE
from benchmarks.errors import InputError
from benchmarks.output import progress
from benchmarks.process import PROJECT
from benchmarks.promises import verdicts
from benchmarks.results import FOLDER, LATENCY, LOADS, PARTS, Results, all_machines
from benchmarks.schema import Archive, ExportCosts, Load
from benchmarks.servers import TITLES

PAGES = tuple(PROJECT / name for name in ("README.md", "docs/benchmarks.md", "docs/export.md"))
PICTURE = FOLDER / "machines.svg"
BLOCK = re.compile(r"(<!-- (?P<name>\w+):begin -->\n).*?(<!-- (?P=name):end -->)", re.DOTALL)
FILE_NAME = "REPORT.md"
MARK = "(†)"
DESCRIPTION = f"""
Write {FILE_NAME} from the JSON files of a results folder; parts that are not there are named as not measured. Without a
folder, do so for every machine in benchmarks/results, and write the tables and the picture of README.md and docs.
"""


def page(results: Results) -> str:
    """The report of a results folder."""
    dates = ", ".join(f"{name} ({part.date[:10]})" for name, part in results.parts.items())
    versions = next(iter(results.parts.values())).versions.items()
    judged = [
        (verdict.promise.text, verdict.promise.bound, str(verdict), verdict.word) for verdict in verdicts(results)
    ]
    return output.page(
        [
            output.heading("Measurements", 1),
            output.paragraph(
                "Made by `make bench` or `make bench-all`; the JSON files beside this page hold raw values. Speed and "
                "memory are of random weights in the shape of `facebook/blenderbot-400M-distill`, quality is of the "
                "demo model on held-out dialogues."
            ),
            output.bullets(
                [f"{results.machine}: {dates}", ", ".join(f"{name} {version}" for name, version in versions)]
            ),
            output.heading("Promises"),
            output.table(("promise", "limit", "measured", "verdict"), judged),
            output.paragraph(
                "x is how many times as fast, or as many replies a second, at the best of all rounds of both; in "
                f"brackets the smallest and the largest within one round. {MARK} was measured before this project had "
                "kernels of its own: its rows there are of ONNX Runtime's. How the figures are kept honest: "
                "[docs/benchmarks.md](../../../docs/benchmarks.md)."
            ),
            *latency.section(results),
            *load.section(results),
            *start.section(results),
            *export_cost.section(results),
            *quality.section(results),
            *_archives(results),
            output.heading("What is missing"),
            _missing(results),
        ]
    )


def _archives(results: Results) -> Iterator[str]:
    """What was measured by code that is gone, each table as it was kept."""
    for part in results.of_kind(Archive).values():
        yield output.heading(part.about)
        for name, rows in part.tables.items():
            columns = [key for key in rows[0] if not isinstance(rows[0][key], list)]
            cells = [
                [f"{row[key]:,.4g}" if isinstance(row[key], float) else str(row[key]) for key in columns]
                for row in rows
            ]
            yield output.table((name, *columns[1:]), cells)
        settings = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in part.settings.items())
        yield output.paragraph(f"Measured once, {part.date[:10]}: {settings}.")


def _missing(results: Results) -> str:
    lines = [f"{row.name} ({name}): {row.reason}." for name, part in results.parts.items() for row in part.missing]
    lines += [f"{part}: not measured; `make bench-all` does." for part in PARTS if part not in results.parts]
    return output.bullets(lines) if lines else "Nothing: every rival ran to the end and did what was asked."


def filled(text: str, machines: Sequence[Results]) -> str:
    """A page with every table as the results of these machines have it."""
    blocks = {
        "machines": output.bullets(map(_machine, machines)),
        "promises": promises_table(machines),
        "summary": summary_table(machines),
        "latency": speed_table(machines, 10),
        "greedy": speed_table(machines, 1),
        "load": load_table(machines),
        "shapes": shapes_table(machines),
    }
    return BLOCK.sub(lambda match: f"{match[1]}\n{blocks[match['name']]}\n\n{match[3]}", text)


def _machine(results: Results) -> str:
    days = " and ".join(sorted({part.date[:10] for part in results.parts.values()}))
    link = f"../benchmarks/results/{results.folder.name}/{FILE_NAME}"
    return f"{results.machine}: [{days}]({link})"


def promises_table(machines: Sequence[Results]) -> str:
    """Every promise beside what was measured on each machine."""
    rows = [
        (same[0].promise.text, same[0].promise.bound, *(verdict.summary for verdict in same))
        for same in zip(*map(verdicts, machines), strict=True)
    ]
    return output.table(("promise", "limit", *(_column(results, (*LATENCY, *LOADS)) for results in machines)), rows)


def speed_table(machines: Sequence[Results], beams: int) -> str:
    """Best seconds of one reply, and times torch fp32, of each contestant on each machine."""
    measured = [(results, rows) for results in machines if (rows := results.latency(beams))]
    lines = []
    for name, contestant in CONTESTANTS.items():
        memory = [rows[name].peak_bytes for _, rows in measured if name in rows]
        if memory:
            speeds = (_speed(results, name, beams) for results, _ in measured)
            lines.append((contestant.title, *speeds, f"{max(memory) / 1e6:,.0f} MB"))
    columns = (_column(results, LATENCY) for results, _ in measured)
    return output.table((latency.decoding_name(beams), *columns, "most memory"), lines)


def summary_table(machines: Sequence[Results]) -> str:
    """The same, at 10 beams, of torch, of the fastest rival, and of this project."""
    measured = [results for results in machines if results.latency(10)]
    rows = [
        (CONTESTANTS[name].title, *(_speed(results, name, 10) for results in measured))
        for name in (REFERENCE, "ours-int8", "ours-int4")
    ]
    rows.insert(1, ("the fastest of all other ways", *map(_fastest_rival, measured)))
    return output.table((latency.decoding_name(10), *(_column(results, LATENCY) for results in measured)), rows)


def _speed(results: Results, name: str, beams: int) -> str:
    replies, times = results.latency(beams).get(name), results.times(name, REFERENCE, beams)
    if replies is None:
        return "-"
    return f"{min(replies.seconds):.2f} s" + ("" if times is None else f", {times.best:.1f} x")


def _fastest_rival(results: Results) -> str:
    rows = results.latency(10)
    rivals = [name for name in rows if name in CONTESTANTS and not CONTESTANTS[name].export and name != REFERENCE]
    if not rivals:
        return "-"
    name = min(rivals, key=lambda rival: min(rows[rival].seconds))
    return f"{_speed(results, name, 10)} ({CONTESTANTS[name].title.removesuffix(' (*)')})"


def load_table(machines: Sequence[Results]) -> str:
    """Replies a second of each server on each machine with one and with many clients, at the best of the rounds."""
    measured = [results for results in machines if results.of_kind(Load, LOADS)]
    rows = []
    for decoding, part in zip(("10 beams", "greedy"), LOADS, strict=True):
        for name, title in TITLES.items():
            most = max((max(results.served(part, name), default=1) for results in measured), default=1)
            cells = [_rates(results, part, name, most) for results in measured]
            if set(cells) - {"-"}:
                rows.append((f"{title}, {decoding}, 1 and {most} clients", *cells))
    return output.table(("replies of 60 tokens a second", *(_column(results, LOADS) for results in measured)), rows)


def _rates(results: Results, part: str, name: str, most: int) -> str:
    runs, ratio = results.served(part, name), results.rate(part, name, most, name, [1])
    if ratio is None:
        return "-"
    return f"{max(runs[1].rates):.2f} and {max(runs[most].rates):.2f}, {ratio.best:.1f} x"


def shapes_table(machines: Sequence[Results]) -> str:
    """Exports of ours and their replies, on the machine where most checkpoints were measured."""
    results = max(machines, key=lambda results: len(results.of_kind(ExportCosts)))
    columns = (results.machine.short_name, *export_cost.COLUMNS[1:])
    return output.table(columns, export_cost.costs(results, ("ours-int8", "ours-int4")))


def _column(results: Results, parts: Sequence[str]) -> str:
    """What a machine's column is called, with a mark where parts were measured before we had kernels of our own."""
    return results.machine.short_name + ("" if results.with_kernels(parts) else f" {MARK}")


def write(folder: Path) -> None:
    """Write the report of a results folder; an `InputError` says why that cannot be."""
    results = Results.read(folder)
    if not results.parts:
        raise InputError(f"{folder} holds no results; `make bench` measures some.")
    _write(folder / FILE_NAME, page(results))


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise InputError(f"{path} cannot be written ({error.strerror}).") from error
    progress(f"written: {path}")


def add(commands: Any) -> None:
    """Add the command to a parser's sub-commands."""
    parser = commands.add_parser("report", help="pages of what was measured", description=DESCRIPTION)
    help_text = "folder (default: those in benchmarks/results)"
    parser.add_argument("--results", type=Path, metavar="DIR", help=help_text)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    if options.results is not None:
        write(options.results.expanduser())
        return
    machines = all_machines()
    for results in machines:
        write(results.folder)
    _write(PICTURE, plots.picture(machines))
    for path in PAGES:
        _write(path, filled(path.read_text(encoding="utf-8"), machines))
