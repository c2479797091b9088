"""What was promised, and whether the figures keep it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.evidence.results import Ratio, Results

NOT_MEASURED = "not measured"


@dataclass(frozen=True)
class Target:
    """One promise.

    Attributes:
        promise: in words.
        limit: the figure that keeps it.
        found: what was measured; None for nothing.
        at_most: the figure must not be larger, where others must not be smaller.
        unit: of both figures.
        aim: a better figure that was hoped for; None for none.
    """

    promise: str
    limit: float
    found: Ratio | None
    at_most: bool = False
    unit: str = "x"
    aim: float | None = None

    @property
    def met(self) -> bool | None:
        """Whether the figure keeps the promise; None when nothing was measured."""
        if self.found is None:
            return None
        return self.found.value <= self.limit if self.at_most else self.found.value >= self.limit

    @property
    def verdict(self) -> str:
        return {None: NOT_MEASURED, True: "met", False: "**missed**"}[self.met]

    @property
    def asked(self) -> str:
        aim = f" (aim {self.aim:g})" if self.aim else ""
        return f"{'at most' if self.at_most else 'at least'} {self.limit:g} {self.unit}{aim}"

    @property
    def figure(self) -> str:
        if self.found is None:
            return "-"
        middle, least, greatest = (
            f"{value:.4g}" for value in (self.found.value, self.found.least, self.found.greatest)
        )
        return f"{middle} {self.unit}" if least == greatest else f"{middle} {self.unit} ({least} to {greatest})"


def targets(results: Results) -> list[Target]:
    """All promises, in the order of the report."""
    torch, optimum = "torch-fp32", "stock-dynamic-int8"
    found = [
        Target("int8, 10 beams, beside torch fp32", 7, results.times("ours-int8", torch, 10), aim=10),
        Target("int8, 10 beams, beside stock Optimum dynamic int8", 1.9, results.times("ours-int8", optimum, 10)),
        Target("int8, 10 beams, beside CTranslate2 int8", 1.8, results.times("ours-int8", "ctranslate2-int8", 10)),
        Target("int8, 10 beams, beside OpenVINO int8", 1.15, results.times("ours-int8", "openvino-int8", 10), aim=1.5),
        Target("int4, greedy, beside torch fp32", 11, results.times("ours-int4", torch, 1)),
        Target("int4, greedy, beside OpenVINO int4", 1.6, results.times("ours-int4", "openvino-int4", 1)),
    ]
    wide, greedy = "load-400m", "load-greedy-400m"
    found += [
        Target("4 clients at 10 beams beside one", 1.3, results.rate(wide, ("ours", 4), ("ours", [1])), aim=1.5),
        # Those that answer one after the other are not made slower by more clients: their best with one or four counts.
        Target("4 clients beside stock Optimum dynamic int8", 2.5, results.rate(wide, ("ours", 4), (optimum, [1, 4]))),
        Target("4 clients beside the tutorial's app", 7, results.rate(wide, ("ours", 4), ("tutorial", [1, 4])), aim=10),
        Target("8 greedy clients beside one", 3, results.rate(greedy, ("ours", 8), ("ours", [1])), aim=4),
    ]
    served = results.rows("start-400m").get("ours")
    exported = results.rows("export-400m", "name")
    found += [
        _most("serving int8 at 10 beams: memory", 900, "MB", served, lambda row: row["peak_bytes"] / 1e6),
        _most("serving int8: ready with warm files", 8, "s", served, lambda row: row["ready_s"]),
        _most("export to int8: time", 180, "s", exported.get("ours-int8"), lambda row: row["seconds"]),
        _most("export to int8: memory", 7, "GB", exported.get("ours-int8"), lambda row: row["peak_bytes"] / 1e9),
        _most("int8 folder", 450, "MB", exported.get("ours-int8"), lambda row: row["size_bytes"] / 1e6),
        _most("int4 folder", 300, "MB", exported.get("ours-int4"), lambda row: row["size_bytes"] / 1e6),
    ]
    quality = results.quality()
    for precision, ratio, share in (("int8", 1.005, 99.0), ("int4", 1.04, 95.0)):
        row = quality.get(precision)
        found.append(
            _most(f"{precision}: perplexity beside fp32", ratio, "x", row, lambda row: row["perplexity_ratio"])
        )
        value = None if row is None else 100 * row["top1_agreement"]
        agreement = None if value is None else Ratio(value, value, value)
        found.append(Target(f"{precision}: same first choice as fp32", share, agreement, unit="%"))
    return found


def _most(
    promise: str, limit: float, unit: str, row: dict[str, float] | None, value: Callable[[dict[str, float]], float]
) -> Target:
    figure = None if row is None else value(row)
    found = None if figure is None else Ratio(figure, figure, figure)
    return Target(promise, limit, found, at_most=True, unit=unit)
