"""Running another program to its end; it ends with this process when that is interrupted."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
DEADLINE_S = 15.0


@dataclass(frozen=True)
class Ended:
    """How a program ended.

    Attributes:
        code: exit code, or minus the number of the signal that ended it.
        last_words: last line of what it printed; "" when that went to the terminal.
    """

    code: int
    last_words: str

    def __str__(self) -> str:
        """The ending as a part of a sentence."""
        said = f"; its last words: {self.last_words[:200].rstrip('.')}" if self.last_words else ""
        if self.code == -signal.SIGKILL:
            return f"was killed (signal 9: often a lack of memory){said}"
        return (f"was ended by signal {-self.code}" if self.code < 0 else f"ended with exit code {self.code}") + said


def run(command: Iterable[str | Path], *, shown: bool = False) -> Ended:
    """Run `command` from the root of the project, with what `environment` adds.

    Args:
        command: program and arguments.
        shown: whether its output goes to the terminal (as stderr) or only its last line is kept.
    """
    with tempfile.TemporaryFile() as output:
        target = sys.stderr if shown else output
        # A session of its own: Ctrl-C reaches this process only, which then ends its child.
        child = subprocess.Popen(
            list(map(str, command)),
            cwd=PROJECT,
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=target,
            stderr=target,
            start_new_session=True,
        )
        try:
            code = child.wait()
        except BaseException:
            child.send_signal(signal.SIGTERM)
            try:
                child.wait(DEADLINE_S)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
            raise
        output.seek(0)
        return Ended(code, last_line(output.read()))


def last_line(output: bytes) -> str:
    """The last line that says something; "" for none."""
    lines = output.decode(errors="replace").strip().splitlines()
    return lines[-1].strip() if lines else ""


def environment() -> dict[str, str]:
    """This process's environment, and what a child needs to import this package and to leave the Hub alone."""
    paths = [str(PROJECT), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "HF_HUB_OFFLINE": "1"}
