"""Races of fake contestants: real worker processes around engines that do no work."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from benchmarks.contestants import Contestant
from benchmarks.journal import Journal
from benchmarks.latency import Grid, Point
from benchmarks.schema import Sizes

POINT: Point = ("", Sizes(beams=3, source_tokens=6, new_tokens=4, threads=1))


def contestant(mode: str, *, rival: bool = False, exact: bool = False) -> Contestant:
    """A fake worker in one of its modes; one that is `exact` has a name that says so."""
    command = (sys.executable, "-m", "tests.benchmarks.fake_worker", mode)
    name = f"{mode}-fp32" if exact else mode
    folder = Path("models") / mode
    return Contestant(name, mode, mode, packages=("numpy",), rival=rival, label=mode, command=command, folder=folder)


def raced(
    *contestants: Contestant,
    points: tuple[Point, ...] = (POINT,),
    progress: Callable[[str], None] = lambda _: None,
    journal: Journal | None = None,
) -> Grid:
    """A grid after two rounds at each point, each in processes of its own."""
    grid = Grid(contestants, 2, progress, Journal() if journal is None else journal)
    for point in points:
        grid.run([point])
    return grid
