"""What is promised, once: the terminal, the report, the README and `make accept` judge by this list and no other.

A figure of speed is the ratio of the best rounds of both sides, as `benchmarks.figures` has it; memory counts at its
largest.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from benchmarks.contestants import title
from benchmarks.figures import Ratio, largest, smallest
from benchmarks.results import Results
from benchmarks.schema import ExportCost, Fidelity, Start


@dataclass(frozen=True)
class Promise:
    """One promise: a figure of some results (None where they do not have it), and its limit.

    The figure must not be larger than the limit with `at_most`, and not smaller otherwise.
    """

    text: str
    limit: float
    measured: Callable[[Results], Ratio | None]
    unit: str = "x"
    at_most: bool = False

    @property
    def bound(self) -> str:
        """The limit in words."""
        return f"{'at most' if self.at_most else 'at least'} {self.limit:g} {self.unit}"


@dataclass(frozen=True)
class Verdict:
    """A promise beside what was measured; None where nothing was."""

    promise: Promise
    figure: Ratio | None

    @property
    def met(self) -> bool | None:
        """Whether it is met; None when nothing was measured."""
        if self.figure is None:
            return None
        best, limit = self.figure.best, self.promise.limit
        return best <= limit if self.promise.at_most else best >= limit

    @property
    def word(self) -> str:
        return {None: "not measured", True: "met", False: "**missed**"}[self.met]

    def __str__(self) -> str:
        """The figure with the smallest and largest beside it."""
        number, space, span = str(self.figure).partition(" ")
        return "-" if self.figure is None else f"{number} {self.promise.unit}{space}{span}"

    @property
    def summary(self) -> str:
        """The figure and what it means for the promise."""
        return "-" if self.figure is None else f"{self.figure.best:.4g} {self.promise.unit}, {self.word}"


def verdicts(results: Results) -> list[Verdict]:
    """All promises beside some results, in the order of the report."""
    return [Verdict(promise, promise.measured(results)) for promise in PROMISES]


def _speed(text: str, name: str, rival: str, beams: int, limit: float) -> Promise:
    decoding = "greedy" if beams == 1 else f"{beams} beams"
    text = f"{text}, {decoding}, beside {title(rival).partition(' (')[0]}"
    return Promise(text, limit, lambda results: results.times(name, rival, beams))


def _rate(text: str, limit: float, part: str, clients: int, other: str, counts: Sequence[int]) -> Promise:
    return Promise(text, limit, lambda results: results.rate(part, "ours", clients, other, counts))


def _start(text: str, limit: float, unit: str, value: Callable[[Start], float], best: Callable[..., Ratio]) -> Promise:
    def measured(results: Results) -> Ratio | None:
        starts = results.starts().get("ours")
        return best([value(start) for start in starts]) if starts else None

    return Promise(text, limit, measured, unit, at_most=True)


def _export(text: str, limit: float, unit: str, name: str, value: Callable[[ExportCost], float]) -> Promise:
    def measured(results: Results) -> Ratio | None:
        row = results.exports().get(name)
        return smallest([value(row)]) if row else None

    return Promise(text, limit, measured, unit, at_most=True)


def _quality(text: str, limit: float, unit: str, value: Callable[[Fidelity], float]) -> Promise:
    def measured(results: Results) -> Ratio | None:
        row = results.quality().get(text.partition(":")[0])
        return smallest([value(row)]) if row else None

    return Promise(text, limit, measured, unit, at_most=unit == "x")


STOCK_CLASS = "this export in the stock class, int8"
WIDE, GREEDY = "load-400m", "load-greedy-400m"
# In the order of the report.
PROMISES = (
    _speed("int8", "ours-int8", "torch-fp32", 10, 7),
    _speed("int8", "ours-int8", "stock-dynamic-int8", 10, 1.9),
    _speed("int8", "ours-int8", "ctranslate2-int8", 10, 1.8),
    _speed("int8", "ours-int8", "openvino-int8", 10, 1.15),
    _speed("int4", "ours-int4", "torch-fp32", 10, 10),
    _speed("int4", "ours-int4", "torch-fp32", 1, 12),
    _speed("int4", "ours-int4", "openvino-int4", 1, 1.6),
    _speed(STOCK_CLASS, "stock-int8", "torch-fp32", 10, 3.5),
    _speed(STOCK_CLASS, "stock-int8", "torch-fp32", 1, 5),
    _rate("4 clients at 10 beams beside one", 1.3, WIDE, 4, "ours", [1]),
    # Those that answer one after the other are not made slower by more clients: their best with one or four counts.
    _rate("4 clients beside stock Optimum dynamic int8", 2.5, WIDE, 4, "stock-dynamic-int8", [1, 4]),
    _rate("4 clients beside the tutorial's app", 7, WIDE, 4, "tutorial", [1, 4]),
    _rate("8 greedy clients beside one", 3, GREEDY, 8, "ours", [1]),
    _start("serving int8 at 10 beams: memory", 800, "MB", lambda start: start.peak_bytes / 1e6, largest),
    _start("serving int8: ready with warm files", 2.5, "s", lambda start: start.ready_s, smallest),
    _export("export to int8: time", 40, "s", "ours-int8", lambda row: row.seconds),
    _export("export to int8: memory", 1.5, "GB", "ours-int8", lambda row: row.peak_bytes / 1e9),
    _export("int8 folder", 450, "MB", "ours-int8", lambda row: row.size_bytes / 1e6),
    _export("int4 folder", 300, "MB", "ours-int4", lambda row: row.size_bytes / 1e6),
    _quality("int8: perplexity beside fp32", 1.005, "x", lambda row: row.perplexity_ratio),
    _quality("int8: same first choice as fp32", 99, "%", lambda row: 100 * row.top1_agreement),
    _quality("int4: perplexity beside fp32", 1.04, "x", lambda row: row.perplexity_ratio),
    _quality("int4: same first choice as fp32", 95, "%", lambda row: 100 * row.top1_agreement),
)
# How many times as fast as ONNX Runtime's kernels ours are in one process, by instruction set, precision, and beams of
# so many requests together; measured by `make accept CHECK=kernel_speed`.
KERNEL_SPEED: Mapping[str, Mapping[str, Mapping[tuple[int, int], float]]] = {
    "avx512_vnni": {
        "int8": {(10, 1): 1.35, (10, 4): 1.4, (1, 1): 1.0},
        "int4": {(10, 1): 1.7, (10, 4): 1.6, (1, 1): 1.2},
    },
    "amx": {"int8": {(10, 1): 1.8, (10, 4): 3.0}},
}
