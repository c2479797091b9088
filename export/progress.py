"""What an export shows: a line a stage, with its time, and how far it is with bytes that can be counted."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn

LOG_INTERVAL_S = 10.0
Advance = Callable[[int], None]


class ConsoleProgress:
    """Stages numbered as they come: a spinner or bar on a terminal, a line now and then in a log."""

    def __init__(self, *, quiet: bool = False) -> None:
        self._console = Console(highlight=False, soft_wrap=True, quiet=quiet)
        self._begun = 0

    @contextmanager
    def stage(self, title: str, size: int | None = 0) -> Iterator[Advance]:
        """Name a stage when it begins and its time when it has ended without an error.

        `size` is in bytes, of which what is yielded is told; 0 when they are not counted, None when it is not known.
        """
        self._begun += 1
        label, told = f"[{self._begun}] {title}", time.monotonic()
        columns = [SpinnerColumn(), TextColumn("{task.description}", markup=False)]
        if size != 0:
            columns += [BarColumn(), DownloadColumn(), TimeRemainingColumn(compact=True)]
        terminal = self._console.is_terminal
        with Progress(*columns, console=self._console, transient=True, disable=not terminal) as live:
            live.add_task(label, total=size or None)
            (task,) = live.tasks
            if not terminal:
                self._console.print(label, markup=False)

            def advance(count: int) -> None:
                nonlocal told
                live.advance(task.id, count)
                if not terminal and time.monotonic() - told >= LOG_INTERVAL_S:
                    told = time.monotonic()
                    total = f" of {size / 1e6:.0f} MB" if size else ""
                    left = f", {task.time_remaining:.0f} s left" if task.time_remaining else ""
                    self._console.print(f"{label}: {task.completed / 1e6:.0f} MB{total}{left}", markup=False)

            yield advance
        self._console.print(f"{label}: {task.elapsed or 0.0:.1f} s", markup=False)

    def note(self, line: str) -> None:
        """Print a line under the stages."""
        self._console.print(f"    {line}", markup=False)


SILENT = ConsoleProgress(quiet=True)
