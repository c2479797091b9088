"""What an export shows on the terminal: a line a stage, with its time, and a bar where bytes can be counted."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn

LOG_INTERVAL_S = 10.0
Advance = Callable[[int], None]


@dataclass
class ConsoleProgress:
    """Stages numbered as they come: a spinner or bar on a terminal, a line now and then in a log."""

    console: Console = field(default_factory=lambda: Console(highlight=False, soft_wrap=True))
    finished: int = 0

    @contextmanager
    def stage(self, title: str, size: int | None = 0) -> Iterator[Advance]:
        """Name a stage when it begins and its time when it has ended without an error.

        Args:
            title: what is done.
            size: bytes to get through; 0 when they are not counted, None when their number is not known.

        Yields:
            Called with a number of bytes each time some are done.
        """
        started = time.monotonic()
        self.finished += 1
        label = f"[{self.finished}] {title}"
        with self._terminal(label, size) if self.console.is_terminal else self._log(label, size) as advance:
            yield advance
        seconds = time.monotonic() - started
        self.console.print(f"{label}: {seconds:.1f} s", markup=False)

    def note(self, line: str) -> None:
        """Print a line under the stages."""
        self.console.print(f"    {line}", markup=False)

    @contextmanager
    def _terminal(self, label: str, size: int | None) -> Iterator[Advance]:
        columns = [] if size == 0 else [BarColumn(), DownloadColumn(), TimeRemainingColumn(compact=True)]
        text = TextColumn("{task.description}", markup=False)
        with Progress(SpinnerColumn(), text, *columns, console=self.console, transient=True) as live:
            task = live.add_task(label, total=size or None)
            yield lambda count: live.advance(task, count)

    @contextmanager
    def _log(self, label: str, size: int | None) -> Iterator[Advance]:
        self.console.print(label, markup=False)
        done, told = 0, time.monotonic()

        def advance(count: int) -> None:
            nonlocal done, told
            done += count
            if time.monotonic() - told >= LOG_INTERVAL_S:
                told = time.monotonic()
                share = f"{100 * done // size} % of {size / 1e6:.0f} MB" if size else f"{done / 1e6:.0f} MB"
                self.console.print(f"{label}: {share}", markup=False)

        yield advance


SILENT = ConsoleProgress(Console(quiet=True))
