"""Whole replies of the 400M shape on our own kernels beside the same engine on those of ONNX Runtime."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Sequence as Ids
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from benchmarks.figures import times_as_fast
from benchmarks.promises import KERNEL_SPEED
from service.engine.batch import Batch
from service.engine.chat_model import load
from service.engine.kernels import library
from service.engine.kernels.library import STOCK
from service.engine.network import Network
from service.engine.sequence import Sequence
from service.engine.settings import DecodingSettings
from tests.accept import folders
from tests.accept.outcome import Line

SOURCE_TOKENS = 28
POSITIONS = 61
ROUNDS = 6
# Greedy, beam 10, and four requests at beam 10: products of 1, 10 and 40 rows. No promise without one above.
WORK = ((1, 1), (10, 1), (10, 4))


@dataclass
class Contestant:
    """One loaded model, with a batch whose memory is kept, and the seconds of its runs by kind of work."""

    network: Network
    settings: DecodingSettings
    batch: Batch
    seconds: dict[tuple[int, int], list[float]] = field(default_factory=lambda: defaultdict(list))

    def run(self, beams: int, sources: Ids[list[int]]) -> None:
        settings = replace(self.settings, num_beams=beams, min_length=POSITIONS, max_length=POSITIONS)
        sequences = [Sequence(source, settings) for source in sources]
        started = time.perf_counter()
        for sequence in sequences:
            self.batch.add(sequence)
        while len(self.batch):
            self.batch.step()
        self.seconds[beams, len(sources)].append(time.perf_counter() - started)


def check() -> list[Line]:
    names = list(library.instruction_sets())
    # AVX2 serves where nothing better does; beside what this processor has it is only shown.
    kernels = [STOCK, *dict.fromkeys((names[0], names[-1]))]
    lines = []
    for precision in ("int8", "int4"):
        contestants = _raced(folders.synthetic(precision), kernels)
        for name in kernels[1:]:
            for work in WORK:
                lines.append(_line(name, precision, work, contestants[STOCK], contestants[name]))
    return lines


def _raced(folder: Path, kernels: Ids[str]) -> dict[str, Contestant]:
    """All kinds of work by all kernels in turns, the first round for warmth."""
    contestants = {}
    for name in kernels:
        model = load(folder, kernels=name)
        contestants[name] = Contestant(model.network, model.settings, model.batch())
    rng = np.random.default_rng(1)
    for number in range(ROUNDS + 1):
        for beams, requests in WORK:
            sources = [[*rng.integers(4, 8000, SOURCE_TOKENS - 1).tolist(), 2] for _ in range(requests)]
            for contestant in contestants.values():
                contestant.run(beams, sources)
        if number == 0:
            for contestant in contestants.values():
                contestant.seconds.clear()
    return contestants


def _line(name: str, precision: str, work: tuple[int, int], stock: Contestant, own: Contestant) -> Line:
    beams, requests = work
    ratio = times_as_fast(stock.seconds[work], own.seconds[work])
    step_ms = [min(one.seconds[work]) * 1e3 / (POSITIONS - 1) for one in (own, stock)]
    figure = f"{ratio}, {step_ms[0]:.1f} ms a token, {step_ms[1]:.1f} on stock kernels"
    kind = f"{precision}, {requests} x {'greedy' if beams == 1 else f'beam {beams}'}, {own.network.kernels.title}"
    least = KERNEL_SPEED.get(name, {}).get(precision, {}).get(work)
    if least is None:
        return Line(f"{kind}: shown, nothing promised", figure, True)
    return Line(f"{kind}: at least {least:g} times stock", figure, ratio.best >= least)
