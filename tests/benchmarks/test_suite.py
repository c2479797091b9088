"""The suite as a whole: what has been done is not done again, and what fails is told."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest

from benchmarks import process, results
from benchmarks.__main__ import parser
from benchmarks.suite import FULL, SHORT, run_parts

PARTS = {"first": "one", "second": "two", "third": "three"}


class Runs:
    """In place of processes: those that are named in `bad` fail, and `stop` is one at which the user interrupts."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self.bad: set[str] = set()
        self.stop = ""

    def run(self, command: Iterable[str | Path], *, show: bool = False) -> process.Ending:
        words = list(map(str, command))
        output = Path(words[words.index("--output") + 1])
        assert show
        if output.stem == self.stop:
            raise KeyboardInterrupt
        self.done.append(output.stem)
        if output.stem in self.bad:
            return process.Ending(1, "")
        output.write_text("{}")
        return process.Ending(0, "", seconds=2.0)


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> Runs:
    stand_in = Runs()
    monkeypatch.setattr(process, "run", stand_in.run)
    return stand_in


def test_interrupted_suite_goes_on_where_it_stopped(
    runs: Runs, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs.stop = "second"
    with pytest.raises(KeyboardInterrupt):
        run_parts(PARTS, tmp_path)
    runs.stop = ""
    capsys.readouterr()
    assert run_parts(PARTS, tmp_path) == {}
    lines = capsys.readouterr().err.splitlines()
    assert runs.done == ["first", "second", "third"]
    assert lines[0] == "== 1 of 3: first: finished before the interruption, in 2 s"
    assert lines[1].startswith("== 2 of 3: second: running, 0 minutes after the start; then third")
    run_parts(PARTS, tmp_path)
    assert runs.done[3:] == ["first", "second", "third"]


def test_part_that_fails_is_told_and_run_again(runs: Runs, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs.bad = {"second"}
    (tmp_path / "second.json").write_text("figures of another day")
    assert run_parts(PARTS, tmp_path) == {"second": "it ended with exit code 1"}
    assert "== 2 of 3: second: FAILED: it ended with exit code 1" in capsys.readouterr().err
    assert not (tmp_path / "second.json").exists()
    runs.bad.clear()
    assert run_parts(PARTS, tmp_path) == {}
    assert runs.done == ["first", "second", "third", "second"]


def test_suite_of_other_parts_starts_anew(runs: Runs, tmp_path: Path) -> None:
    runs.bad = {"third"}
    run_parts(PARTS, tmp_path)
    run_parts({"first": "one", "second": "other"}, tmp_path)
    assert runs.done == ["first", "second", "third", "first", "second"]


@pytest.mark.parametrize("arguments", [*SHORT.values(), *FULL.values()])
def test_parts_are_commands_with_an_output(arguments: str) -> None:
    options = parser().parse_args([*arguments.split(), "--output", "x.json"])
    assert options.output == Path("x.json")


def test_parts_of_the_full_suite_are_those_of_the_report() -> None:
    assert sorted(FULL) == sorted(results.PARTS)
    assert {*SHORT} <= {*results.PARTS, *results.LATENCY}
