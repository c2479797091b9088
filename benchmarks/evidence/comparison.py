"""The same figures of several machines side by side."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.environment import slug
from benchmarks.evidence.markdown import picture, prose, table
from benchmarks.evidence.page import BEST, FILE_NAME, WEIGHTS, decoding
from benchmarks.evidence.results import Results
from benchmarks.evidence.targets import Target, targets
from benchmarks.output import kind_line, short_processor
from benchmarks.titles import SERVERS, TITLES

LATENCIES = ("latency-400m", "latency-variants-400m")
LOADS = ("load-400m", "load-greedy-400m")
RIVALS = (
    "torch-bf16",
    "torch-dynamic-int8",
    "torch-compile",
    "optimum-fp32",
    "stock-dynamic-int8",
    "openvino-int8",
    "openvino-int4",
    "ctranslate2-int8",
)
BEFORE_KERNELS = "(†)"
BEFORE = (
    f"{BEFORE_KERNELS} was measured before this project had kernels of its own: its rows there are of ONNX Runtime's."
)
ALTERNATIVE = "how many times as fast as torch each way to run the model is, on each machine"


def read_machines(folder: Path) -> list[Results]:
    """The results of each machine in the folder named after it, by name."""
    found = [Results.read(one) for one in sorted(folder.glob("*-cores"))]
    return [results for results in found if results.parts and results.folder.name == slug(results.machine)]


def comparison(machines: Sequence[Results], picture_name: str | None) -> str:
    """The page.

    Args:
        machines: one at least.
        picture_name: of the plot beside the page; None for none.
    """
    sections = [
        _head(machines),
        _targets(machines),
        _speeds(machines, picture_name),
        _loads(machines),
    ]
    return "\n".join(line for section in sections for line in section)


def speed_table(machines: Sequence[Results], beams: int) -> Iterator[str]:
    """Best seconds of one reply, and times torch fp32, of each contestant on each machine."""
    measured = [(results, results.latency(beams)) for results in machines]
    measured = [(results, rows) for results, rows in measured if rows]
    yield from table(
        (decoding(beams), *(_dated(results, LATENCIES) for results, _ in measured), "most memory"),
        [
            (
                title,
                *(_speed(results, name, beams) for results, _ in measured),
                f"{max(rows[name]['peak_bytes'] for _, rows in measured if name in rows) / 1e6:,.0f} MB",
            )
            for name, title in TITLES.items()
            if any(name in rows for _, rows in measured)
        ],
    )


def summary_table(machines: Sequence[Results], beams: int) -> Iterator[str]:
    """Best seconds of one reply of torch, of the fastest rival, and of this project, on each machine."""
    measured = [(results, rows) for results in machines if (rows := results.latency(beams))]
    lines = [
        (TITLES["torch-fp32"], *(_speed(results, "torch-fp32", beams) for results, _ in measured)),
        ("the fastest of all other ways", *(_fastest_rival(results, rows, beams) for results, rows in measured)),
        *(
            (TITLES[name], *(_speed(results, name, beams) for results, _ in measured))
            for name in ("ours-int8", "ours-int4")
        ),
    ]
    yield from table((decoding(beams), *(_dated(results, LATENCIES) for results, _ in measured)), lines)


def _fastest_rival(results: Results, rows: Mapping[str, Any], beams: int) -> str:
    rivals = {name: row["best_s"] for name, row in rows.items() if name in RIVALS}
    if not rivals:
        return "-"
    name = min(rivals, key=lambda rival: rivals[rival])
    return f"{_speed(results, name, beams)} ({TITLES[name].removesuffix(' (*)')})"


def load_table(machines: Sequence[Results]) -> Iterator[str]:
    """Replies a second at the best of the rounds, with one and with many clients, of each server on each machine."""
    measured = [results for results in machines if any(results.loads(part) for part in LOADS)]
    rows = []
    for beams, part in zip(("10 beams", "greedy"), LOADS, strict=True):
        most = max((max(results.loads(part), default=1) for results in measured), default=1)
        for name, title in SERVERS.items():
            cells = [_rates(results, part, name, most) for results in measured]
            if set(cells) != {"-"}:
                rows.append((f"{title}, {beams}, 1 and {most} clients", *cells))
    if rows:
        heads = (_dated(results, LOADS) for results in measured)
        yield from table(("replies of 60 tokens a second", *heads), rows)


def _dated(results: Results, parts: Sequence[str]) -> str:
    """What a machine's column is called, with a mark where parts were measured before we had kernels of our own."""
    processor = short_processor(results.machine)
    held = [results.parts[part] for part in parts if part in results.parts]
    with_kernels = [
        part
        for part in held
        if any(one.get("engine", {}).get("kernels") for one in (*part.get("contestants", ()), *part.get("servers", ())))
    ]
    return processor if len(with_kernels) == len(held) else f"{processor} {BEFORE_KERNELS}"


def _head(machines: Sequence[Results]) -> Iterator[str]:
    yield "# Measurements"
    yield ""
    yield from prose(
        "Made by `make bench-all`, on each machine in a folder of its own, where the whole report is with its raw "
        f"values. {WEIGHTS} `-` was not measured there."
    )
    for results in machines:
        days = sorted({part["date"][:10] for part in results.parts.values()})
        yield (
            f"- [{short_processor(results.machine)}]({results.folder.name}/{FILE_NAME}), {' and '.join(days)}: "
            f"{kind_line(results.machine)}"
        )
    yield ""


def _targets(machines: Sequence[Results]) -> Iterator[str]:
    yield "## Targets"
    yield ""
    found = [targets(results) for results in machines]
    yield from table(
        ("promise", "target", *(short_processor(results.machine) for results in machines)),
        [(same[0].promise, same[0].asked, *(_verdict(target) for target in same)) for same in zip(*found, strict=True)],
    )
    yield from prose(BEST)


def _verdict(target: Target) -> str:
    return "-" if target.found is None else f"{target.found.value:.4g} {target.unit}, {target.verdict}"


def _speeds(machines: Sequence[Results], picture_name: str | None) -> Iterator[str]:
    yield "## One reply at a time"
    yield ""
    if picture_name is not None:
        yield from picture(picture_name, ALTERNATIVE)
    for beams in (10, 1):
        yield from speed_table(machines, beams)
    yield from prose(
        "The best of all rounds, and how many times as fast as torch fp32 in the runs that both took part in; "
        "memory is the most on any of the machines. (*) runs a BART of the same shape, without the ban on the user's "
        f"3-grams: it has no Blenderbot loader. {BEFORE}"
    )


def _speed(results: Results, name: str, beams: int) -> str:
    row, times = results.latency(beams).get(name), results.times(name, "torch-fp32", beams)
    if row is None:
        return "-"
    return f"{row['best_s']:.2f} s" + ("" if times is None else f", {times.value:.1f} x")


def _loads(machines: Sequence[Results]) -> Iterator[str]:
    lines = list(load_table(machines))
    if lines:
        yield "## Many clients"
        yield ""
        yield from lines
        yield from prose(
            "Closed loop over HTTP on the loopback address; replies of fixed length, computed and checked."
        )


def _rates(results: Results, part: str, name: str, most: int) -> str:
    one, many = (results.best_rate(part, name, clients) for clients in (1, most))
    if one is None or many is None:
        return "-"
    return f"{one:.2f} and {many:.2f}, {many / one:.1f} x"
