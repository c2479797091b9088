"""The figures as pictures: SVG, each for light and for dark pages."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.contestants import CONTESTANTS, REFERENCE, title
from benchmarks.latency import AXES
from benchmarks.results import GROWING, Results
from benchmarks.schema import Latency

WIDTH_IN = 8.0
MACHINES = "machines"
MARKS = "osD^vP"
BEAMS = (10, 1)
SHORT = {
    REFERENCE: "torch fp32",
    "stock-int8": "this export in the stock class",
    "stock-dynamic-int8": "stock Optimum, dynamic int8",
}


@dataclass(frozen=True)
class Theme:
    """Colours that can be read on a page of one kind, and told apart without seeing red or green."""

    name: str
    page: str
    ink: str
    grid: str
    ours: str
    others: tuple[str, ...]
    floor: str

    def colour(self, label: str) -> str:
        """Of a contestant or server."""
        families = (("torch",), ("stock", "optimum"), ("openvino",), ("ctranslate2",))
        pairs = zip(self.others, families, strict=True)
        return next((colour for colour, family in pairs if label.startswith(family)), self.ours)


THEMES = (
    Theme("light", "#ffffff", "#1f2328", "#d1d9e0", "#0969da", ("#8c959f", "#bc4c00", "#8250df", "#1a7f37"), "#cf222e"),
    Theme("dark", "#0d1117", "#e6edf3", "#30363d", "#58a6ff", ("#848d97", "#f0883e", "#bc8cff", "#3fb950"), "#ff7b72"),
)


def possible(results: Results) -> list[str]:
    """Names of the pictures that the results hold enough for."""
    return [name for name, (_, enough) in PICTURES.items() if enough(results)]


def possible_machines(machines: Sequence[Results]) -> bool:
    """Whether one of them timed replies one at a time."""
    return any(results.latency(beams) for results in machines for beams in BEAMS)


def draw(results: Results) -> None:
    """Write every possible picture into the folder of the results."""
    for name in possible(results):
        _write(results.folder, name, partial(PICTURES[name][0], results))


def draw_machines(folder: Path, machines: Sequence[Results]) -> None:
    """Write the picture of several machines, if it is possible."""
    if possible_machines(machines):
        _write(folder, MACHINES, partial(_machines, machines))


def _write(folder: Path, name: str, drawing: Callable[[Theme], Any]) -> None:
    import matplotlib.pyplot as plt

    for theme in THEMES:
        with _style(theme):
            figure = drawing(theme)
            figure.savefig(folder / f"{name}-{theme.name}.svg", metadata={"Date": None, "Creator": None})
        plt.close(figure)


@contextmanager
def _style(theme: Theme) -> Iterator[None]:
    import matplotlib

    matplotlib.use("svg")
    settings: dict[str, Any] = {
        "svg.hashsalt": "benchmarks",
        "svg.fonttype": "path",
        "font.size": 10,
        "axes.titlesize": 11,
        "axes.titleweight": "bold",
        "axes.titlelocation": "left",
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "axes.axisbelow": True,
        "grid.linewidth": 0.6,
        "legend.frameon": False,
        "figure.constrained_layout.use": True,
        **dict.fromkeys(("figure.facecolor", "savefig.facecolor", "axes.facecolor"), theme.page),
        **dict.fromkeys(("axes.labelcolor", "text.color", "xtick.color", "ytick.color"), theme.ink),
        **dict.fromkeys(("axes.edgecolor", "grid.color"), theme.grid),
    }
    with matplotlib.rc_context(settings):
        yield


def _panels(rows: int, columns: int, height_in: float) -> tuple[Any, Any]:
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(rows, columns, figsize=(WIDTH_IN, height_in), squeeze=False)
    return figure, axes


def _legend(figure: Any, axis: Any) -> None:
    """What the lines and marks of an axis are, above all panels."""
    handles, labels = axis.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper right", ncols=len(labels))


def _plain(name: str) -> str:
    """A title without Markdown, short enough for a plot."""
    return SHORT.get(name, title(name)).replace("**", "").replace("`", "")


def _name_rows(axis: Any, beams: int, order: Sequence[str], named: bool) -> None:
    axis.set_title("10 beams" if beams == 10 else "greedy")
    axis.set_yticks(range(len(order)), [_plain(name) for name in order] if named else [])
    axis.invert_yaxis()


def _latency(results: Results, theme: Theme) -> Any:
    widths = [beams for beams in BEAMS if results.latency(beams)]
    first = results.latency(widths[0])
    order = sorted((name for name in CONTESTANTS if name in first), key=lambda name: first[name].ms_per_token)
    figure, axes = _panels(1, len(widths), 1.2 + 0.34 * len(order))
    for axis, beams in zip(axes[0], widths, strict=True):
        rows = results.latency(beams)
        shown = [(place, name, rows[name]) for place, name in enumerate(order) if name in rows]
        values = [row.ms_per_token for _, _, row in shown]
        colours = [theme.colour(name) for _, name, _ in shown]
        axis.barh([place for place, *_ in shown], values, color=colours, height=0.7)
        label: str | None = "floor: weights read once, or multiplied with every row"
        for place, _, row in shown:
            end = max(row.ms_per_token, row.floor_ms or 0)
            axis.annotate(f"{row.ms_per_token:.1f}", (end, place), (3, 0), textcoords="offset points", va="center")
            if row.floor_ms:
                line = ([row.floor_ms] * 2, [place - 0.42, place + 0.42])
                axis.plot(*line, color=theme.floor, linewidth=2, label=label)
                label = None
        axis.set_xlabel("ms a token (shorter is faster)")
        axis.set_xlim(0, max(values) * 1.15)
        _name_rows(axis, beams, order, axis is axes[0][0])
        axis.grid(axis="y", visible=False)
    _legend(figure, axes[0][0])
    return figure


def _speed(results: Results, name: str, beams: int) -> float:
    times = results.times(name, REFERENCE, beams)
    return 0.0 if times is None else times.best


def _machines(machines: Sequence[Results], theme: Theme) -> Any:
    widths = [beams for beams in BEAMS if any(results.latency(beams) for results in machines)]
    order = [name for name in CONTESTANTS if any(_speed(results, name, n) for results in machines for n in widths)]
    order.sort(key=lambda name: -max(_speed(results, name, widths[0]) for results in machines))
    colours = (theme.ours, *theme.others[1:])
    figure, axes = _panels(1, len(widths), 1.4 + 0.3 * len(order))
    for axis, beams in zip(axes[0], widths, strict=True):
        for number, results in enumerate(machines):
            speeds = [(_speed(results, name, beams), place) for place, name in enumerate(order)]
            axis.scatter(
                [speed for speed, _ in speeds if speed],
                [place for speed, place in speeds if speed],
                marker=MARKS[number % len(MARKS)],
                s=45,
                facecolors="none",
                linewidths=1.6,
                edgecolors=colours[number % len(colours)],
                label=results.machine.short_name,
            )
        axis.set_xlabel("times as fast as torch fp32")
        axis.set_xlim(left=0)
        _name_rows(axis, beams, order, axis is axes[0][0])
    _legend(figure, axes[0][0])
    return figure


def _scaling(results: Results, theme: Theme) -> Any:
    (part,) = results.of_kind(Latency, [GROWING]).values()
    figure, axes = _panels(2, 2, 5.6)
    for axis, (name, axis_title) in zip(axes.flat, AXES.items(), strict=True):
        races = [race for race in part.results if race.axis == name]
        lines: dict[str, list[tuple[int, float]]] = {}
        for race in races:
            for timing in race.timings:
                lines.setdefault(timing.label, []).append((getattr(race.sizes, name), min(timing.seconds)))
        for label, points in lines.items():
            axis.plot(*zip(*points, strict=True), color=theme.colour(label), marker="o", label=_plain(label))
        rest = ", ".join(f"{part.settings[other]} {AXES[other]}" for other in AXES if other != name)
        axis.set_xlabel(f"{axis_title}\n({rest})", fontsize=9)
        axis.set_ylabel("seconds a reply")
        axis.set_ylim(bottom=0)
        axis.set_xticks(sorted({getattr(race.sizes, name) for race in races}))
    _legend(figure, axes[0][0])
    return figure


PICTURES: dict[str, tuple[Callable[[Results, Theme], Any], Callable[[Results], bool]]] = {
    "latency": (_latency, lambda results: possible_machines([results])),
    "scaling": (_scaling, lambda results: bool(results.of_kind(Latency, [GROWING]))),
}
