"""The tables of the README, made from the committed results: `python -m benchmarks.readme` writes them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from benchmarks.evidence.results import Results
from benchmarks.titles import SERVERS, TITLES

ROOT = Path(__file__).resolve().parent.parent
README = ROOT / "README.md"
RESULTS = ROOT / "benchmarks" / "results"
SECTION = re.compile(r"(<!-- (?P<name>\w+):begin -->\n).*?(<!-- (?P=name):end -->)", re.DOTALL)


def filled(text: str) -> str:
    """The README with every table as the committed results have it."""
    tables = {"latency": _latency, "load": _load}
    return SECTION.sub(lambda found: f"{found[1]}{tables[found['name']]()}{found[3]}", text)


def _latency() -> str:
    report = _result("latency-400m")
    settings = report["settings"]
    widths = {beams: Results.read(RESULTS).latency(beams) for beams in (10, 1)}
    lines = ["| one reply | 10 beams | times torch | greedy | times torch | peak memory |", "| --- |" + " --- |" * 5]
    for name, title in ((name, title) for name, title in TITLES.items() if name in widths[10]):
        wide, greedy = widths[10][name], widths[1][name]
        cells = [f"{wide['median_s']:.2f} s", _times(wide), f"{greedy['median_s']:.2f} s", _times(greedy)]
        lines.append(f"| {title} | {' | '.join(cells)} | {wide['peak_bytes'] / 1e6:,.0f} MB |")
    lines += [
        "",
        f"{settings['source_tokens']} source tokens, {settings['new_tokens']} generated, "
        f"{settings['threads']} threads, {settings['rounds']} rounds,",
        f"{_processor(report['machine'])};",
        "the shape of `facebook/blenderbot-400M-distill` with random weights. Times torch: median of the ratios within",
        "each round. (*) a BART of the same shape, without the ban on the user's 3-grams: it has no Blenderbot loader.",
        "",
    ]
    return "\n".join(lines)


def _load() -> str:
    wide, greedy = _result("load-400m"), _result("load-greedy-400m")
    lines = ["| replies of 60 tokens a second | 1 client | many clients | times one client |", "| --- |" + " --- |" * 3]
    for beams, report in (("10 beams", wide), ("greedy", greedy)):
        loads = {
            result["load"]["clients"]: {server["label"]: server for server in result["servers"]}
            for result in report["results"]
        }
        most = max(loads)
        for name in (name for name in SERVERS if name in loads[most]):
            many = loads[most][name]
            rates = [servers[name]["replies_per_s"]["median"] for servers in (loads[1], loads[most])]
            gain = many["versus_one_client"]["replies_per_s"]["median"]
            lines.append(f"| {SERVERS[name]}, {beams} | {rates[0]:.2f} | {rates[1]:.2f} with {most} | {gain:.1f} |")
    lines += [
        "",
        f"Closed loop over HTTP, {wide['settings']['rounds']} rounds of {wide['settings']['seconds']:g} s a server,",
        f"{_processor(wide['machine'])}; random weights, replies of fixed length.",
        "",
    ]
    return "\n".join(lines)


def _result(name: str) -> dict[str, Any]:
    report: dict[str, Any] = json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))
    return report


def _processor(machine: dict[str, Any]) -> str:
    kind = f"{machine['cpu']} (family {machine['cpu_family']}, model {machine['cpu_model']})"
    vnni = ", AVX-512 VNNI" if "avx512_vnni" in machine["cpu_flags"] else ""
    return f"{machine['cores']} cores of an {kind}{vnni}"


def _times(row: dict[str, Any]) -> str:
    return "1" if row["label"] == "torch-fp32" else f"{row['versus_torch']['median']:.1f}"


def main() -> None:
    README.write_text(filled(README.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
