"""The tables of the README, made from the committed results: `python -m benchmarks.readme` writes them."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.evidence.results import LATENCY, Results
from benchmarks.output import processor
from benchmarks.titles import SERVERS, TITLES

ROOT = Path(__file__).resolve().parent.parent
README = ROOT / "README.md"
RESULTS = ROOT / "benchmarks" / "results"
SECTION = re.compile(r"(<!-- (?P<name>\w+):begin -->\n).*?(<!-- (?P=name):end -->)", re.DOTALL)


def filled(text: str) -> str:
    """The README with every table as the committed results have it."""
    tables = {"latency": _latency, "load": _load}
    results = Results.read(RESULTS)
    return SECTION.sub(lambda found: f"{found[1]}{tables[found['name']](results)}{found[3]}", text)


def _latency(results: Results) -> str:
    report = results.parts["latency-400m"]
    settings = report["settings"]
    widths = {beams: results.latency(beams) for beams in (10, 1)}
    lines = ["| one reply | 10 beams | times torch | greedy | times torch | peak memory |", "| --- |" + " --- |" * 5]
    for name, title in ((name, title) for name, title in TITLES.items() if name in widths[10]):
        cells = []
        for beams in (10, 1):
            times = results.times(name, "torch-fp32", beams)
            shown = "1" if name == "torch-fp32" or times is None else f"{times.value:.1f}"
            cells += [f"{widths[beams][name]['best_s']:.2f} s", shown]
        lines.append(f"| {title} | {' | '.join(cells)} | {widths[10][name]['peak_bytes'] / 1e6:,.0f} MB |")
    lines += [
        "",
        f"{settings['source_tokens']} source tokens, {settings['new_tokens']} generated, "
        f"{settings['threads']} threads, {len(widths[10]['torch-fp32']['seconds'])} rounds,",
        f"{_processor(report['machine'])};",
        "the shape of `facebook/blenderbot-400M-distill` with random weights; the best of all rounds.",
        "(*) a BART of the same shape, without the ban on the user's 3-grams: it has no Blenderbot loader.",
        *_elsewhere(results),
        "",
    ]
    return "\n".join(lines)


def _elsewhere(results: Results) -> Iterator[str]:
    """Contestants that were only measured on another machine, beside what is ours there."""
    for own in results.by_machine()[1:]:
        rows, machine = own.latency(10), own.parts[next(name for name in LATENCY if name in own.parts)]["machine"]
        names = [name for name in TITLES if name in rows and name not in results.latency(10)]
        yield ""
        yield f"Times torch fp32 on {_processor(machine)}, with 10 beams and greedy:"
        told = []
        for name in ("ours-int8", *names):
            ratios = [own.times(name, "torch-fp32", beams) for beams in (10, 1)]
            told.append(f"{TITLES[name]} " + " and ".join(f"{ratio.value:.1f}" for ratio in ratios if ratio))
        yield from textwrap.wrap("; ".join(told) + ".", 120)


def _load(results: Results) -> str:
    wide, greedy = (results.parts[name]["settings"] for name in ("load-400m", "load-greedy-400m"))
    lines = ["| replies of 60 tokens a second | 1 client | many clients | times one client |", "| --- |" + " --- |" * 3]
    for beams, part in (("10 beams", "load-400m"), ("greedy", "load-greedy-400m")):
        most = max(results.loads(part))
        for name in (name for name in SERVERS if name in results.served(part, most)):
            one, many = (
                max(run["replies_per_s"] for run in results.served(part, clients)[name]["runs"])
                for clients in (1, most)
            )
            lines.append(f"| {SERVERS[name]}, {beams} | {one:.2f} | {many:.2f} with {most} | {many / one:.1f} |")
    lines += [
        "",
        f"Closed loop over HTTP, the best of {wide['rounds']} rounds of {wide['seconds']:g} s a server (greedy: "
        f"{greedy['rounds']} of {greedy['seconds']:g} s),",
        f"{_processor(results.parts['load-400m']['machine'])}; random weights, replies of fixed length.",
        "",
    ]
    return "\n".join(lines)


def _processor(machine: dict[str, Any]) -> str:
    vnni = ", AVX-512 VNNI" if "avx512_vnni" in machine["cpu_flags"] else ""
    return f"{machine['cores']} cores of an {processor(machine)}{vnni}"


def main() -> None:
    README.write_text(filled(README.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
