from __future__ import annotations

import sys
from pathlib import Path

from benchmarks.journal import Journal
from benchmarks.runs import Contestant
from benchmarks.scaling import Point, points, reply_points

BASE = Point(beams=10, source_tokens=28, new_tokens=60, threads=1)


def contestant(mode: str) -> Contestant:
    command = (sys.executable, "-m", "tests.benchmarks.fake_worker", mode)
    return Contestant(mode, command, Path(mode), name=mode, rival=mode != "honest")


def test_one_setting_grows_at_a_time() -> None:
    found = points(BASE, longest=64)
    assert {axis for axis, _ in found} == {"beams", "source_tokens", "new_tokens", "threads"}
    assert max(point.source_tokens for _, point in found) == 64
    for axis, point in found:
        others = [name for name in ("beams", "source_tokens", "new_tokens", "threads") if name != axis]
        assert all(getattr(point, name) == getattr(BASE, name) for name in others)


def test_every_point_is_timed_in_every_round_and_kept() -> None:
    wanted = [("beams", Point(1, 6, 4, 1)), ("beams", Point(2, 6, 4, 1)), ("new_tokens", Point(2, 6, 8, 1))]
    journal = Journal()
    rows, missing = reply_points([contestant("honest"), contestant("wide")], wanted, 2, lambda _: None, journal)
    assert [(row["axis"], row["label"], row["beams"], row["new_tokens"]) for row in rows] == [
        ("beams", "honest", 1, 4),
        ("beams", "honest", 2, 4),
        ("new_tokens", "honest", 2, 8),
    ]
    assert all(len(row["seconds"]) == 2 for row in rows)
    assert "2 beams where 1 were asked for" in missing[0].reason
    again, _ = reply_points([contestant("unloadable")], wanted, 2, lambda _: None, journal)
    assert again == rows
