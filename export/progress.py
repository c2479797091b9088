"""What an export shows on the terminal: a line a stage, with its time."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from rich.console import Console


@dataclass
class ConsoleProgress:
    """Stages numbered as they come, a spinner while one runs where the output is a terminal."""

    console: Console = field(default_factory=lambda: Console(highlight=False, soft_wrap=True))
    finished: int = 0

    @contextmanager
    def stage(self, title: str) -> Iterator[None]:
        """Name a stage when it begins and its time when it has ended without an error."""
        started = time.monotonic()
        self.finished += 1
        label = f"[{self.finished}] {title}"
        if not self.console.is_terminal:
            self.console.print(label, markup=False)
        with self.console.status(label.replace("[", "\\["), spinner="dots"):
            yield
        seconds = time.monotonic() - started
        self.console.print(f"{label}: {seconds:.1f} s", markup=False)

    def note(self, line: str) -> None:
        """Print a line under the stages."""
        self.console.print(f"    {line}", markup=False)
