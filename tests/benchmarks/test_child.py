from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from benchmarks import child


def python(program: str) -> child.Ended:
    return child.run([sys.executable, "-c", program])


def test_ending_tells_code_and_last_words() -> None:
    assert python("print('one'); print('two')") == child.Ended(0, "two")
    assert str(python("import sys; print('out of wool.', file=sys.stderr); sys.exit(3)")) == (
        "ended with exit code 3; its last words: out of wool"
    )
    assert str(python("import os; os.kill(os.getpid(), 9)")) == "was killed (signal 9: often a lack of memory)"
    assert str(python("import os; os.kill(os.getpid(), 15)")) == "was ended by signal 15"


def test_child_imports_the_project_and_leaves_the_hub_alone() -> None:
    program = "import os, benchmarks; print(os.environ['HF_HUB_OFFLINE'], os.path.dirname(benchmarks.__file__))"
    assert python(program).last_words == f"1 {child.PROJECT / 'benchmarks'}"


def test_shown_output_goes_to_stderr(capfd: pytest.CaptureFixture[str]) -> None:
    assert child.run([sys.executable, "-c", "print('hello')"], shown=True) == child.Ended(0, "")
    assert capfd.readouterr() == ("", "hello\n")


def test_time_and_memory_of_a_program_are_measured() -> None:
    # From a small program: what is measured is at least the size of the one that starts it.
    program = "import time; taken = b'x' * 200_000_000; time.sleep(0.2)"
    measured = (
        "import sys; from benchmarks import child;"
        f"ended = child.run([sys.executable, '-c', {program!r}]); print(ended.seconds, ended.peak_bytes)"
    )
    seconds, peak_bytes = python(measured).last_words.split()
    assert float(seconds) >= 0.2
    assert 200_000_000 <= int(peak_bytes) < 400_000_000


def test_interrupt_ends_the_child(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[int] = []

    def interrupted(pid: int, options: int) -> None:
        started.append(pid)
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "wait4", interrupted)
    with pytest.raises(KeyboardInterrupt):
        python("import time; time.sleep(60)")
    assert not Path(f"/proc/{started[0]}").exists()
