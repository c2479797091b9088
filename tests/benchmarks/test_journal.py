from __future__ import annotations

from pathlib import Path

from benchmarks.journal import Journal, code


def test_values_are_there_again_for_the_same_run(tmp_path: Path) -> None:
    path = tmp_path / "new" / "journal"
    first = Journal(path, {"rounds": 2})
    assert first.get("a") is None
    first.put("a", [1, 2.5])
    first.put("b", {"c": None})
    again = Journal(path, {"rounds": 2})
    assert (again.get("a"), again.get("b"), len(again)) == ([1, 2.5], {"c": None}, 2)
    assert len(Journal(path, {"rounds": 3})) == 0


def test_line_that_was_cut_off_is_forgotten(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    Journal(path, 1).put("a", 1)
    with path.open("a") as file:
        file.write('{"key": "b", "val')
    again = Journal(path, 1)
    assert (again.get("a"), again.get("b")) == (1, None)
    again.put("c", 3)
    assert Journal(path, 1).get("c") == 3


def test_finished_run_leaves_nothing(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal", 1)
    journal.put("a", 1)
    journal.finish()
    assert (journal.get("a"), list(tmp_path.iterdir())) == (None, [])


def test_without_a_file_values_last_as_long_as_the_object() -> None:
    journal = Journal()
    journal.put("a", 1)
    assert (journal.get("a"), Journal().get("a")) == (1, None)


def test_code_has_one_fingerprint() -> None:
    assert code() == code()
    assert len(code()) == 64
