"""Who takes part in a latency run, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Contestant:
    """One backend of a run.

    Attributes:
        label: its name in reports, different for each.
        command: starts a process that speaks the protocol of `benchmarks.worker`.
        path: model folder it loads.
        name: what it is; the same for two that are run against each other to see the noise (an A/A pair).
        title: what it is, in words.
        packages: those whose versions matter to it.
        precision: of the weights that it reads, of `benchmarks.floor.WEIGHT_BITS`; "" when it has no floor.
        exact: its replies must be the reference's, ties aside.
        rival: the run goes on without it when it cannot be loaded, fails, or does something else than was asked.
        other_model: what it runs in place of the checkpoint; "" for the checkpoint.
        lacks: settings of the checkpoint that it cannot apply.
    """

    label: str
    command: tuple[str, ...]
    path: Path
    name: str = ""
    title: str = ""
    packages: tuple[str, ...] = ()
    precision: str = ""
    exact: bool = False
    rival: bool = False
    other_model: str = ""
    lacks: tuple[str, ...] = ()


@dataclass(frozen=True)
class Missing:
    """A rival whose figures are not there, and why."""

    name: str
    reason: str


@dataclass
class BackendRun:
    """Raw values of one backend at one beam width.

    Attributes:
        label: name of the backend.
        import_s: seconds that importing its libraries took.
        load_s: seconds from the files to a model in memory.
        loaded_bytes: peak resident memory after loading.
        peak_bytes: peak resident memory at the end.
        seconds: one value per round; what `generate` took, from token ids to token ids.
        cpu_s: likewise, processor seconds of its whole process, as the operating system counts them.
        replies: ids of each round's reply.
    """

    label: str
    import_s: float
    load_s: float
    loaded_bytes: int
    peak_bytes: int = 0
    seconds: list[float] = field(default_factory=list)
    cpu_s: list[float] = field(default_factory=list)
    replies: list[list[int]] = field(default_factory=list)


@dataclass(frozen=True)
class BeamRun:
    """All backends at one beam width, in the order of the contestants.

    Attributes:
        beams: beam width.
        backends: those that did what was asked, from the first round to the last.
        noise: of the A/A pair, in the run that is kept and in those before it that were too noisy; empty without one.
    """

    beams: int
    backends: tuple[BackendRun, ...]
    noise: tuple[float, ...] = ()


@dataclass(frozen=True)
class Participant:
    """A contestant that took part, and what it said of itself.

    Attributes:
        contestant: as it was asked to take part.
        lacking: settings of the checkpoint that it did not apply.
        versions: of its packages.
        engine: what else its figures depend on.
    """

    contestant: Contestant
    lacking: tuple[str, ...] = ()
    versions: dict[str, str] = field(default_factory=dict)
    engine: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class LatencyRun:
    """A whole run.

    Attributes:
        decoding: the checkpoint's generation settings, before beam width and length are set.
        results: one per beam width.
        participants: in the order of the contestants.
        missing: rivals that could not be loaded, failed, or did something else than was asked.
    """

    decoding: dict[str, Any]
    results: tuple[BeamRun, ...]
    participants: tuple[Participant, ...]
    missing: tuple[Missing, ...]
