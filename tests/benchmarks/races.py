"""Heats of fake contestants: real worker processes around engines that do no work."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from benchmarks.contestants import Contestant
from benchmarks.heat import Heat
from benchmarks.schema import Participant, Race, Sizes
from benchmarks.session import Session

SIZES = Sizes(beams=3, source_tokens=6, new_tokens=4, threads=1)
ROUNDS = 2


@dataclass(frozen=True)
class Raced:
    """What came of a heat: the race, who took part, and who did not and why."""

    race: Race
    participants: list[Participant]
    missing: dict[str, str]

    @property
    def labels(self) -> list[str]:
        return [timing.label for timing in self.race.timings]


def contestant(mode: str, *, rival: bool = False, exact: bool = False) -> Contestant:
    """A fake worker in one of its modes; one that is `exact` has a name that says so."""
    command = (sys.executable, "-m", "tests.benchmarks.fake_worker", mode)
    name = f"{mode}-fp32" if exact else mode
    return Contestant(name, mode, rival=rival, label=mode, command=command, folder=Path("models") / mode)


def raced(*contestants: Contestant, sizes: Sizes = SIZES, rounds: int = ROUNDS) -> Raced:
    """A heat of these contestants."""
    session = Session()
    race, participants = Heat(contestants, sizes, rounds, session).run()
    return Raced(race, participants, session.missing)
