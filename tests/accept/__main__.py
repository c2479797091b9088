"""`python -m tests.accept [CHECK ...]`: run acceptance checks and print a table of lines met and missed.

A check that has finished at this commit is not run again unless `--fresh` is given, so an interrupted run goes on
where it stopped. Each check runs in a process of its own.
"""

from __future__ import annotations

import argparse
import importlib
import subprocess
import sys
import textwrap
import time

from tests.accept import outcome
from tests.accept.outcome import Line

CHECKS = (
    "serve",
    "parity",
    "engine",
    "fidelity",
    "quality",
    "dialogues",
    "export",
    "latency",
    "kernel_speed",
    "memory",
    "streams",
    "completions",
    "clients",
    "replies",
    "overload",
    "load",
    "conversations",
    "replicas",
    "cluster",
    "bad_input",
    "attacks",
    "packages",
    "kernels",
)
WIDTH = 110


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.accept", description=__doc__)
    parser.add_argument("checks", nargs="*", default=["all"], metavar="CHECK", help=f"all, or: {', '.join(CHECKS)}")
    parser.add_argument("--fresh", action="store_true", help="run again what has finished at this commit")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    names = list(CHECKS) if options.checks == ["all"] else options.checks
    unknown = [name for name in names if name not in CHECKS]
    if unknown:
        parser.error(f"there is no check {unknown[0]}; choose from all, {', '.join(CHECKS)}")
    commit = _commit()
    if options.inside:
        _run(names[0], commit)
        return 0
    met = True
    for name in names:
        lines = None if options.fresh else outcome.load(name, commit)
        if lines is None:
            print(f"== {name}: running", flush=True)
            ended = subprocess.run([sys.executable, "-m", "tests.accept", "--inside", name], check=False)
            lines = outcome.load(name, commit)
            if ended.returncode or lines is None:
                lines = [Line("the check runs to its end", f"exit code {ended.returncode}", False)]
        met &= all(line.met for line in lines)
        _show(name, lines)
    return 0 if met else 1


def _run(name: str, commit: str) -> None:
    started = time.monotonic()
    check = importlib.import_module(f"tests.accept.{name}").check
    outcome.save(name, check(), commit, time.monotonic() - started)


def _show(name: str, lines: list[Line]) -> None:
    print(f"== {name}")
    for line in lines:
        verdict = "skipped" if line.skipped else "met   " if line.met else "MISSED"
        text = f"{verdict} {line.promise}: {line.figure}"
        print(textwrap.fill(text, WIDTH, initial_indent="  ", subsequent_indent=" " * 9), flush=True)


def _commit() -> str:
    """The commit, and whether files differ from it."""
    head = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    changed = subprocess.run(["git", "status", "--porcelain"], capture_output=True, text=True, check=False)
    return head.stdout.strip() + ("+changes" if changed.stdout.strip() else "")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
