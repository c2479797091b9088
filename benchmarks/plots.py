"""How many times as fast as torch each contestant is on each machine, as an SVG image for light and for dark pages."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.contestants import CONTESTANTS, REFERENCE, title
from benchmarks.results import Results

# Of machines, which differ in shape and in colour.
MARKS = "●■▲◆"
SHORTER = {
    " (the tutorial's way)": "",
    "this project on ONNX Runtime's kernels": "on ONNX Runtime's kernels",
    "`ORTModelForSeq2SeqLM`": "class",
    "**": "",
}
# Pixels.
WIDTH, LABELS, PANEL, ROW, TOP, BOTTOM = 800, 250, 540, 22, 40, 44
STYLE = """
text { font: 12px sans-serif; fill: #57606a; } line { stroke: #8c959f; stroke-opacity: 0.4; }
.end { text-anchor: end; } .middle { text-anchor: middle; }
.m0 { fill: #0969da; } .m1 { fill: #bc4c00; } .m2 { fill: #8250df; } .m3 { fill: #1a7f37; }
@media (prefers-color-scheme: dark) {
text { fill: #9198a1; } .m0 { fill: #58a6ff; } .m1 { fill: #f0883e; } .m2 { fill: #bc8cff; } .m3 { fill: #3fb950; }
}
"""


def picture(machines: Sequence[Results]) -> str:
    """The image, of replies with 10 beams: a row a contestant, a mark a machine; of four machines at most."""
    speeds = {name: [_speed(results, name) for results in machines] for name in CONTESTANTS}
    order = sorted((name for name in speeds if any(speeds[name])), key=lambda name: -max(speeds[name]))
    largest = max(speeds[order[0]])
    scale = PANEL / (1.05 * largest)
    step = next(step for step in (1, 2, 5, 10, 20, 50, 100) if largest <= 8 * step)
    bottom = TOP + ROW * len(order)
    legend = (
        f'<tspan class="m{n}">{MARKS[n]}</tspan> {results.machine.short_name}' for n, results in enumerate(machines)
    )
    parts = [
        _text(WIDTH - 10, 18, " &#160; ".join(legend), "end"),
        _text(LABELS + PANEL / 2, bottom + 36, "times as fast as torch fp32, 10 beams", "middle"),
    ]
    for tick in range(0, int(largest) + 1, step):
        x = LABELS + tick * scale
        parts.append(f'<line x1="{x:.1f}" y1="{TOP}" x2="{x:.1f}" y2="{bottom}"/>')
        parts.append(_text(x, bottom + 16, str(tick), "middle"))
    for row, name in enumerate(order):
        y = TOP + ROW * (row + 0.7)
        parts.append(_text(LABELS - 12, y, _plain(name), "end"))
        marks = ((n, speed) for n, speed in enumerate(speeds[name]) if speed)
        parts += [_text(LABELS + speed * scale, y, MARKS[n], f"middle m{n}") for n, speed in marks]
    size = f'viewBox="0 0 {WIDTH} {bottom + BOTTOM}"'
    return "\n".join(
        [f'<svg xmlns="http://www.w3.org/2000/svg" {size}>', f"<style>{STYLE}</style>", *parts, "</svg>\n"]
    )


def _text(x: float, y: float, content: str, css: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" class="{css}">{content}</text>'


def _speed(results: Results, name: str) -> float:
    times = results.times(name, REFERENCE, 10)
    return 0.0 if times is None else times.best


def _plain(name: str) -> str:
    """A title without Markdown, short enough for an image."""
    text = title(name)
    for long, short in SHORTER.items():
        text = text.replace(long, short)
    return text
