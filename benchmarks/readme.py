"""The latency table of the README, made from the committed result: `python -m benchmarks.readme` writes it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
README = ROOT / "README.md"
RESULT = ROOT / "benchmarks" / "results" / "latency-400m.json"
SECTION = re.compile(r"(?<=<!-- latency:begin -->\n).*?(?=<!-- latency:end -->)", re.DOTALL)
TITLES = {
    "torch-fp32": "torch fp32",
    "stock-int8": "this export, int8, in the stock `ORTModelForSeq2SeqLM`",
    "ours-int8": "this export, int8, in the fused engine (what the service runs)",
    "ours-int4": "this export, int4, in the fused engine",
}


def table(report: dict[str, Any]) -> str:
    """Markdown for a report of `python -m benchmarks latency`."""
    settings, machine = report["settings"], report["machine"]
    widths = {beam["beams"]: {row["label"]: row for row in beam["backends"]} for beam in report["results"]}
    lines = ["| one reply | 10 beams | times torch | greedy | times torch | peak memory |", "| --- | " + "--- | " * 5]
    lines[1] = lines[1].rstrip()
    for name, title in TITLES.items():
        wide, greedy = widths[10][name], widths[1][name]
        cells = [f"{wide['median_s']:.2f} s", _times(wide), f"{greedy['median_s']:.2f} s", _times(greedy)]
        lines.append(f"| {title} | {' | '.join(cells)} | {wide['peak_bytes'] / 1e6:,.0f} MB |")
    lengths = f"{settings['source_tokens']} source tokens, {settings['new_tokens']} generated"
    runs = f"{settings['threads']} threads, {settings['rounds']} rounds"
    lines += [
        "",
        f"{lengths}, {runs}, {processor(machine)}; the shape of `facebook/blenderbot-400M-distill` with random",
        "weights. Times torch: median of the ratios within each round.",
        "",
    ]
    return "\n".join(lines)


def processor(machine: dict[str, Any]) -> str:
    """The processor and how many of its cores took part."""
    kind = f"{machine['cpu']} (family {machine['cpu_family']}, model {machine['cpu_model']})"
    vnni = ", AVX-512 VNNI" if "avx512_vnni" in machine["cpu_flags"] else ""
    return f"{machine['cores']} cores of an {kind}{vnni}"


def _times(row: dict[str, Any]) -> str:
    return "1" if row["label"] == "torch-fp32" else f"{row['versus_torch']['median']:.1f}"


def main() -> None:
    text = README.read_text(encoding="utf-8")
    report = json.loads(RESULT.read_text(encoding="utf-8"))
    README.write_text(SECTION.sub(lambda _: table(report), text), encoding="utf-8")


if __name__ == "__main__":
    main()
