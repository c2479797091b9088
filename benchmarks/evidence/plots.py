"""The figures as pictures: SVG, each for light and for dark pages."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.evidence.results import Results
from benchmarks.output import short_processor
from benchmarks.titles import TITLES, plain

WIDTH_IN = 8.0
MACHINES = "machines"
MARKS = "osD^vP"
AXES = {
    "beams": "beams",
    "source_tokens": "source tokens",
    "new_tokens": "generated tokens",
    "threads": "threads",
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


THEMES = (
    Theme("light", "#ffffff", "#1f2328", "#d1d9e0", "#0969da", ("#8c959f", "#bc4c00", "#8250df", "#1a7f37"), "#cf222e"),
    Theme("dark", "#0d1117", "#e6edf3", "#30363d", "#58a6ff", ("#848d97", "#f0883e", "#bc8cff", "#3fb950"), "#ff7b72"),
)
Drawing = Callable[[Results, Theme], Any]


def draw(results: Results) -> list[str]:
    """Write every picture that the results hold enough for, into their folder; the names of these."""
    found = [name for name, (_, enough) in PICTURES.items() if enough(results)]
    for name in found:
        drawing = PICTURES[name][0]
        _write(results.folder, name, partial(drawing, results))
    return found


def draw_machines(folder: Path, machines: Sequence[Results]) -> str | None:
    """Write the picture of several machines; its name, or None where none of them timed replies one at a time."""
    if not any(results.latency(beams) for results in machines for beams in (10, 1)):
        return None
    _write(folder, MACHINES, partial(_machines, machines))
    return MACHINES


def _write(folder: Path, name: str, drawing: Callable[[Theme], Any]) -> None:
    for theme in THEMES:
        with _style(theme):
            figure = drawing(theme)
            figure.savefig(folder / f"{name}-{theme.name}.svg", metadata={"Date": None, "Creator": None})
        _close(figure)


@contextmanager
def _style(theme: Theme) -> Iterator[None]:
    import matplotlib

    matplotlib.use("svg")
    settings = {
        "svg.hashsalt": "benchmarks",
        "svg.fonttype": "path",
        "font.size": 10,
        "axes.titlesize": 11,
        "axes.titleweight": "bold",
        "axes.titlelocation": "left",
        "figure.facecolor": theme.page,
        "savefig.facecolor": theme.page,
        "axes.facecolor": theme.page,
        "axes.edgecolor": theme.grid,
        "axes.labelcolor": theme.ink,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "axes.axisbelow": True,
        "grid.color": theme.grid,
        "grid.linewidth": 0.6,
        "text.color": theme.ink,
        "xtick.color": theme.ink,
        "ytick.color": theme.ink,
        "legend.frameon": False,
        "figure.constrained_layout.use": True,
    }
    with matplotlib.rc_context(settings):
        yield


def _close(figure: Any) -> None:
    import matplotlib.pyplot as plt

    plt.close(figure)


def _panels(rows: int, columns: int, height_in: float) -> tuple[Any, Any]:
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(rows, columns, figsize=(WIDTH_IN, height_in), squeeze=False)
    return figure, axes


def _colour(label: str, theme: Theme) -> str:
    families = (("torch", "tutorial"), ("stock", "optimum"), ("openvino",), ("ctranslate2",))
    return next(
        (colour for colour, family in zip(theme.others, families, strict=True) if label.startswith(family)), theme.ours
    )


def _legend(figure: Any, axis: Any) -> None:
    """What the lines and marks of an axis are, above all panels."""
    handles, labels = axis.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper right", ncols=len(labels))


def _latency(results: Results, theme: Theme) -> Any:
    widths = [beams for beams in (10, 1) if results.latency(beams)]
    order = [name for name in TITLES if name in results.latency(widths[0])]
    order.sort(key=lambda name: results.latency(widths[0])[name]["ms_per_token"])
    figure, axes = _panels(1, len(widths), 1.2 + 0.34 * len(order))
    for axis, beams in zip(axes[0], widths, strict=True):
        rows = results.latency(beams)
        shown = [(place, name) for place, name in enumerate(order) if name in rows]
        values = [rows[name]["ms_per_token"] for _, name in shown]
        colours = [_colour(name, theme) for _, name in shown]
        places = [place for place, _ in shown]
        axis.barh(places, values, color=colours, height=0.7)
        for (place, name), value in zip(shown, values, strict=True):
            end = max(value, rows[name].get("floor_ms") or 0)
            axis.annotate(f"{value:.1f}", (end, place), (3, 0), textcoords="offset points", va="center")
        floors = [(place, rows[name].get("floor_ms")) for place, name in shown]
        for number, (place, floor) in enumerate((place, floor) for place, floor in floors if floor):
            label = "floor: weights read once, or multiplied with every row" if not number else None
            axis.plot([floor, floor], [place - 0.42, place + 0.42], color=theme.floor, linewidth=2, label=label)
        axis.set_title("10 beams" if beams == 10 else "greedy")
        axis.set_xlabel("ms a token (shorter is faster)")
        axis.set_xlim(0, max(values) * 1.15)
        axis.set_yticks(range(len(order)), [plain(name) for name in order] if axis is axes[0][0] else [])
        axis.invert_yaxis()
        axis.grid(axis="y", visible=False)
    _legend(figure, axes[0][0])
    return figure


def _machines(machines: Sequence[Results], theme: Theme) -> Any:
    widths = [beams for beams in (10, 1) if any(results.latency(beams) for results in machines)]
    order = [name for name in TITLES if any(results.speed(name, beams) for results in machines for beams in widths)]
    order.sort(key=lambda name: -max(results.speed(name, widths[0]) or 0 for results in machines))
    colours = (theme.ours, *theme.others[1:])
    figure, axes = _panels(1, len(widths), 1.4 + 0.3 * len(order))
    for axis, beams in zip(axes[0], widths, strict=True):
        for number, results in enumerate(machines):
            speeds = [(results.speed(name, beams), place) for place, name in enumerate(order)]
            axis.scatter(
                [speed for speed, _ in speeds if speed],
                [place for speed, place in speeds if speed],
                marker=MARKS[number % len(MARKS)],
                s=45,
                facecolors="none",
                linewidths=1.6,
                edgecolors=colours[number % len(colours)],
                label=short_processor(results.machine),
            )
        axis.set_title("10 beams" if beams == 10 else "greedy")
        axis.set_xlabel("times as fast as torch fp32")
        axis.set_xlim(left=0)
        axis.set_yticks(range(len(order)), [plain(name) for name in order] if axis is axes[0][0] else [])
        axis.invert_yaxis()
    _legend(figure, axes[0][0])
    return figure


def _throughput(results: Results, theme: Theme) -> Any:
    rows = results.parts["scaling-400m"]["clients"]
    figure, ((left, right),) = _panels(1, 2, 3.4)
    labels = list(dict.fromkeys(row["label"] for row in rows))
    clients = sorted({row["clients"] for row in rows})
    for label in labels:
        mine = [row for row in rows if row["label"] == label]
        style = {"color": _colour(label, theme), "marker": "o", "label": plain(label)}
        left.plot([row["clients"] for row in mine], [row["replies_per_s"] for row in mine], **style)
        timed = [row for row in mine if row["p50_s"] is not None]
        right.plot([row["clients"] for row in timed], [row["p50_s"] for row in timed], **style)
    for axis, name in ((left, "replies a second"), (right, "median latency, s")):
        axis.set_xscale("log", base=2)
        axis.set_xticks(clients, map(str, clients))
        axis.set_xlabel("clients at once (10 beams)")
        axis.set_ylabel(name)
        axis.set_ylim(bottom=0)
    _legend(figure, left)
    return figure


def _distribution(results: Results, theme: Theme) -> Any:
    loads = sorted(results.loads("load-400m"))
    figure, axes = _panels(1, len(loads), 3.5)
    names = [label for label in results.served("load-400m", loads[0]) if "again" not in label]
    for axis, clients in zip(axes[0], loads, strict=True):
        for label in names:
            seconds = results.replies_s("load-400m", clients, label)
            shares = [100 * (place + 1) / len(seconds) for place in range(len(seconds))]
            if seconds:
                axis.step(
                    [seconds[0], *seconds],
                    [0, *shares],
                    where="post",
                    color=_colour(label, theme),
                    label=plain(label),
                )
        axis.set_title(f"{clients} client" + "s" * (clients > 1))
        axis.set_xscale("log")
        axis.set_xlabel("seconds until the last byte of a reply")
        axis.set_ylim(0, 101)
        axis.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axis.xaxis.set_minor_formatter(lambda value, _: f"{value:g}" if f"{value:e}"[0] in "25" else "")
    axes[0][0].set_ylabel("replies that had come, %")
    _legend(figure, axes[0][0])
    return figure


def _quality(results: Results, theme: Theme) -> Any:
    figure, ((axis,),) = _panels(1, 1, 3.6)
    points = _quality_points(results)
    for name, speed, agreement in points:
        axis.plot([speed], [agreement], "o", markersize=8, color=_colour(name, theme))
        place = (8, -3) if name.startswith("ours") else (-4, -16)
        axis.annotate(plain(name), (speed, agreement), place, textcoords="offset points")
    axis.set_xlabel("times as fast as torch fp32 (10 beams, 400M shape)")
    axis.set_ylabel("same first choice as fp32, %\n(demo model, held-out replies)")
    axis.set_xlim(0, max(speed for _, speed, _ in points) * 1.35)
    least = min(agreement for *_, agreement in points)
    axis.set_ylim(least - (100.5 - least) * 0.25, 100.5)
    return figure


def _quality_points(results: Results) -> list[tuple[str, float, float]]:
    """Name, times torch, and agreement on the first choice, of what both were measured for."""
    quality = results.quality()
    found = [("torch-fp32", 1.0, 100.0)]
    for name, row in (*((f"ours-{precision}", quality.get(precision)) for precision in ("fp32", "int8", "int4")),):
        found += _point(results, name, row)
    found += _point(results, "stock-dynamic-int8", quality.get("stock-dynamic-int8"))
    return found


def _point(results: Results, name: str, row: dict[str, Any] | None) -> list[tuple[str, float, float]]:
    speed = results.speed(name, 10)
    return [] if row is None or speed is None else [(name, speed, 100 * row["top1_agreement"])]


def _scaling(results: Results, theme: Theme) -> Any:
    rows = results.parts["scaling-400m"]["replies"]
    settings = results.parts["scaling-400m"]["settings"]
    figure, axes = _panels(2, 2, 5.6)
    labels = list(dict.fromkeys(row["label"] for row in rows))
    for axis, (name, title) in zip(axes.flat, AXES.items(), strict=True):
        for label in labels:
            mine = [row for row in rows if row["axis"] == name and row["label"] == label]
            values = [row["median_s"] for row in mine]
            axis.plot([row[name] for row in mine], values, color=_colour(label, theme), marker="o", label=plain(label))
        rest = ", ".join(f"{settings[other]} {AXES[other]}" for other in AXES if other != name)
        axis.set_xlabel(f"{title}\n({rest})", fontsize=9)
        axis.set_ylabel("seconds a reply")
        axis.set_ylim(bottom=0)
        axis.set_xticks(sorted({row[name] for row in rows if row["axis"] == name}))
    _legend(figure, axes[0][0])
    return figure


PICTURES: dict[str, tuple[Drawing, Callable[[Results], bool]]] = {
    "latency": (_latency, lambda results: bool(results.latency(10) or results.latency(1))),
    "throughput": (_throughput, lambda results: bool(results.parts.get("scaling-400m", {}).get("clients"))),
    "distribution": (_distribution, lambda results: bool(results.loads("load-400m"))),
    "quality": (_quality, lambda results: len(_quality_points(results)) > 1),
    "scaling": (_scaling, lambda results: bool(results.parts.get("scaling-400m", {}).get("replies"))),
}
