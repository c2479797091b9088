"""Checks that run the benchmarks, judged by the promises of `benchmarks.promises` and nothing else."""

from __future__ import annotations

import shutil
import subprocess
import sys

from benchmarks.figures import smallest
from benchmarks.promises import PROMISES, Verdict, verdicts
from benchmarks.results import Results
from tests.accept import folders
from tests.accept.outcome import RESULTS, Line


def judged(check: str, parts: dict[str, list[str]], precisions: tuple[str, ...] = ("int8",)) -> list[Line]:
    """Measure the 400M shape with commands of the benchmarks, by name of their result file; the promises about it."""
    folder = RESULTS / "figures" / check
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    models = ["--checkpoint", str(folders.synthetic_checkpoint()), "--exported"]
    models += [str(folders.synthetic(precision)) for precision in precisions]
    for name, arguments in parts.items():
        command = [sys.executable, "-m", "benchmarks", *arguments, *models, "--output", str(folder / f"{name}.json")]
        subprocess.run(command, check=True)
    return [line(verdict) for verdict in verdicts(Results.read(folder)) if verdict.figure is not None]


def line(verdict: Verdict) -> Line:
    """A verdict as this table has it."""
    return Line(f"{verdict.promise.text}: {verdict.promise.bound}", str(verdict), bool(verdict.met))


def line_of(text: str, value: float) -> Line:
    """The promise of these words beside one measured value."""
    promise = next(promise for promise in PROMISES if promise.text == text)
    return line(Verdict(promise, smallest([value])))
