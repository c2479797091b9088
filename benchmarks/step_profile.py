"""Where the time of one decoder step of our engine goes."""

from __future__ import annotations

import json
import tempfile
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from benchmarks.output import machine_line, wrapped

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from service.engine.batch import Batch
    from service.engine.kv_cache import KVCache
    from service.engine.network import CrossStates, Network, StepBinding

FORMAT = 1
PAST = 30
SOURCE_TOKENS = 28
STEPS = 20
BEAMS = 10


@dataclass(frozen=True)
class StepTime:
    """Steps of one kind, each on one more token of the past; lists have one value a step, in milliseconds.

    Attributes:
        beams: of each request; 1 is greedy.
        requests: in the batch, all of one age.
        step_ms: whole steps, the choice of tokens included.
        graph_ms: the graph within them.
    """

    beams: int
    requests: int
    step_ms: list[float]
    graph_ms: list[float]

    @property
    def rows(self) -> int:
        return self.beams * self.requests

    @property
    def outside_ms(self) -> float:
        """Median of what a step takes beside its graph."""
        return median(step - graph for step, graph in zip(self.step_ms, self.graph_ms, strict=True))


@dataclass(frozen=True)
class Operator:
    """One kind of node of the graph: its name, milliseconds in one step (mean), number of nodes."""

    name: str
    ms: float
    nodes: int


@dataclass(frozen=True)
class StepProfile:
    """Everything a reader needs to judge the figures.

    Attributes:
        date: when the run began, ISO 8601.
        machine: of `benchmarks.environment.machine`.
        versions: of `benchmarks.environment.versions`.
        exported: name of the folder.
        precision: of its weights.
        threads: processor threads.
        operators: of one step of `BEAMS` beams of one request, the slowest first; measured in a run of its own.
        steps: times by number of rows.
    """

    date: str
    machine: dict[str, Any]
    versions: dict[str, str]
    exported: str
    precision: str
    threads: int
    operators: Sequence[Operator]
    steps: Sequence[StepTime]

    def as_json(self) -> dict[str, Any]:
        """Raw values and medians, in milliseconds."""
        return {
            "benchmark": "profile",
            "format": FORMAT,
            "date": self.date,
            "machine": self.machine,
            "versions": self.versions,
            "settings": {
                "exported": self.exported,
                "precision": self.precision,
                "threads": self.threads,
                "past_tokens": PAST,
                "source_tokens": SOURCE_TOKENS,
                "steps": STEPS,
            },
            "operators": {"beams": BEAMS, "requests": 1, "table": [asdict(operator) for operator in self.operators]},
            "steps": [
                {
                    **asdict(step),
                    "rows": step.rows,
                    "step_median_ms": median(step.step_ms),
                    "graph_median_ms": median(step.graph_ms),
                    "outside_median_ms": step.outside_ms,
                }
                for step in self.steps
            ],
        }

    def as_text(self) -> str:
        """Two tables: steps by number of rows, and the operators of one step."""
        head = [
            f"One decoder step: {PAST}-{PAST + STEPS} tokens into replies to sources of {SOURCE_TOKENS} tokens, "
            f"{self.threads} threads, medians of {STEPS} steps",
            machine_line(self.machine),
            f"model: {self.exported}, {self.precision} weights, onnxruntime {self.versions['onnxruntime']}",
            "",
        ]
        steps = [f"{'rows':>5}  {'':22}  {'step ms':>8}  {'graph ms':>8}  {'outside ms':>10}"]
        for step in self.steps:
            kind = f"{step.requests} x " + (f"beam {step.beams}" if step.beams > 1 else "greedy")
            steps.append(
                f"{step.rows:5}  {kind:22}  {median(step.step_ms):8.2f}  {median(step.graph_ms):8.2f}  "
                f"{step.outside_ms:10.2f}"
            )
        total = sum(operator.ms for operator in self.operators)
        width = max(len(operator.name) for operator in self.operators)
        table = ["", f"{f'operators, 1 x beam {BEAMS}':{width}}  {'ms':>8}  {'share':>6}  {'nodes':>5}"]
        table += [
            f"{operator.name:{width}}  {operator.ms:8.3f}  {operator.ms / total:6.1%}  {operator.nodes:5}"
            for operator in self.operators
        ]
        return "\n".join([*wrapped(head), *steps, *table])


def step_time(network: Network, config: Mapping[str, Any], *, beams: int, requests: int) -> StepTime:
    """Measure `STEPS` steps, `PAST` tokens into replies that all began together.

    Args:
        network: sessions of the model.
        config: content of the exported folder's `config.json`.
        beams: of each request.
        requests: in the batch.
    """
    timed = _TimedNetwork(network)
    batch = _filled(timed, config, beams, requests)
    steps = []
    for _ in range(PAST + STEPS):
        started = time.perf_counter()
        batch.step()
        steps.append((time.perf_counter() - started) * 1e3)
    return StepTime(beams, requests, steps[PAST:], [seconds * 1e3 for seconds in timed.seconds[PAST:]])


def operators(folder: Path, config: Mapping[str, Any], *, threads: int) -> list[Operator]:
    """The operators of one step of `BEAMS` beams, from ONNX Runtime's own trace of `STEPS` steps.

    Args:
        folder: written by `python -m export`.
        config: content of its `config.json`.
        threads: processor threads.
    """
    from service.engine.kernels import library
    from service.engine.network import Network, session_options

    with tempfile.TemporaryDirectory() as scratch:
        options = session_options(threads)
        options.enable_profiling = True
        options.profile_file_prefix = str(Path(scratch) / "profile")
        network = Network(folder, config, options, library.choose())
        step_time(network, config, beams=BEAMS, requests=1)
        return _summary(json.loads(Path(network.end_profiling()).read_text(encoding="utf-8")))


class _TimedNetwork:
    """A network that notes how long the graph of each step takes."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self.seconds: list[float] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._network, name)

    def bind(self, cache: KVCache, cross: CrossStates, rows: int) -> _TimedBinding:
        return _TimedBinding(self._network.bind(cache, cross, rows), self.seconds)


class _TimedBinding:
    def __init__(self, binding: StepBinding, seconds: list[float]) -> None:
        self._binding = binding
        self._seconds = seconds

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> Mapping[str, NDArray[Any]]:
        started = time.perf_counter()
        outputs = self._binding.run(inputs)
        self._seconds.append(time.perf_counter() - started)
        return outputs


def _filled(network: Any, config: Mapping[str, Any], beams: int, requests: int) -> Batch:
    import numpy as np

    from service.engine.batch import Batch
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
    batch = Batch(network)
    for _ in range(requests):
        batch.add(Sequence(random.integers(4, config["vocab_size"], SOURCE_TOKENS), settings))
    return batch


def _summary(events: Sequence[Mapping[str, Any]]) -> list[Operator]:
    """The operators of the last steps of a trace, the slowest first."""
    begin = [event["ts"] for event in events if event["name"] == "model_run"][-STEPS:][0]
    spent: defaultdict[str, float] = defaultdict(float)
    count: defaultdict[str, int] = defaultdict(int)
    for event in events:
        if event["cat"] == "Node" and event["name"].endswith("_kernel_time") and event["ts"] >= begin:
            spent[event["args"]["op_name"]] += event["dur"]
            count[event["args"]["op_name"]] += 1
    slowest = sorted(spent, key=spent.__getitem__, reverse=True)
    return [Operator(name, spent[name] / STEPS / 1e3, count[name] // STEPS) for name in slowest]
