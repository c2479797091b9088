"""Where the time of one decoder step goes, operator by operator."""

from __future__ import annotations

import json
import tempfile
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from service.engine.batch import Batch

PAST = 30
SOURCE_TOKENS = 28
STEPS = 20


@dataclass(frozen=True)
class StepProfile:
    """Medians over the steps measured, in milliseconds.

    Attributes:
        rows: hypotheses in the step.
        step_ms: one step, the choice of tokens included.
        graph_ms: the graph of that step.
        operators: time and number of nodes of each operator.
    """

    rows: int
    step_ms: float
    graph_ms: float
    operators: dict[str, tuple[float, int]]


def profile(folder: Path, *, beams: int, requests: int, threads: int) -> StepProfile:
    """Measure steps around `PAST` tokens into replies that all began together.

    Args:
        folder: written by `python -m export`.
        beams: of each request.
        requests: in the batch.
        threads: processor threads.
    """
    from service.engine.batch import Batch
    from service.engine.network import Network, session_options

    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    with tempfile.TemporaryDirectory() as scratch:
        batch = Batch(Network(folder, config, session_options(threads)), longest=config["max_position_embeddings"])
        step_ms = _timed(_filled(batch, config["vocab_size"], beams, requests))
        options = session_options(threads)
        options.enable_profiling = True
        options.profile_file_prefix = str(Path(scratch) / "profile")
        network = Network(folder, config, options)
        _timed(
            _filled(Batch(network, longest=config["max_position_embeddings"]), config["vocab_size"], beams, requests)
        )
        graph_ms, operators = _summary(json.loads(Path(network.end_profiling()).read_text(encoding="utf-8")))
    return StepProfile(beams * requests, step_ms, graph_ms, operators)


def _filled(batch: Batch, vocabulary: int, beams: int, requests: int) -> Batch:
    import numpy as np

    from service.engine.sequence import Sequence
    from service.engine.settings import DecodingSettings

    random = np.random.default_rng(0)
    length = PAST + STEPS + 2
    settings = DecodingSettings(
        num_beams=beams,
        min_length=length,
        max_length=length,
        no_repeat_ngram_size=3,
        encoder_no_repeat_ngram_size=3,
    )
    for _ in range(requests):
        batch.add(Sequence(random.integers(4, vocabulary, SOURCE_TOKENS), settings))
    return batch


def _timed(batch: Batch) -> float:
    seconds = []
    for number in range(PAST + STEPS):
        started = time.perf_counter()
        batch.step()
        if number >= PAST:
            seconds.append(time.perf_counter() - started)
    return median(seconds) * 1e3


def _summary(events: list[dict[str, Any]]) -> tuple[float, dict[str, tuple[float, int]]]:
    """Milliseconds of the graph and of each operator in one step, from ONNX Runtime's trace of the last steps."""
    runs = [event for event in events if event["name"] == "model_run"][-STEPS:]
    begin = runs[0]["ts"]
    spent: defaultdict[str, float] = defaultdict(float)
    count: defaultdict[str, int] = defaultdict(int)
    for event in events:
        if event["cat"] == "Node" and event["name"].endswith("_kernel_time") and event["ts"] >= begin:
            spent[event["args"]["op_name"]] += event["dur"]
            count[event["args"]["op_name"]] += 1
    operators = {
        name: (spent[name] / STEPS / 1e3, count[name] // STEPS) for name in sorted(spent, key=spent.__getitem__)
    }
    return median(run["dur"] for run in runs) / 1e3, dict(reversed(operators.items()))
