"""A small results folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks import schema
from benchmarks.environment import Machine
from benchmarks.machine import Limits, StepWeights
from benchmarks.schema import (
    Agreement,
    Archive,
    Exchange,
    ExportCost,
    ExportCosts,
    Fidelity,
    Latency,
    Load,
    LoadResult,
    Measurement,
    Missing,
    Pair,
    Participant,
    Quality,
    Race,
    Run,
    ServerRuns,
    Sizes,
    Start,
    Starts,
    Timing,
)

MISSING = [Missing(name="openvino-int8", reason="openvino.txt cannot be installed: pip ended with exit code 1")]
SIZES = Sizes(beams=10, source_tokens=28, new_tokens=60, threads=2)
NAMES = {
    "latency": "latency-400m",
    "wide": "load-400m",
    "greedy": "load-greedy-400m",
    "clients": "clients-400m",
    "start": "start-400m",
    "export": "export-400m",
    "larger": "export-3b",
    "quality": "quality-demo",
    "archive": "tuning",
}


def head(model: str = "2", cores: int = 2) -> dict[str, Any]:
    machine = Machine("A processor", "1", model, ("avx2",), "x86_64", cores, cores, 2**34, "Linux 6.1", (0.0,))
    return {"date": "2020-01-02T03:04:05+00:00", "machine": machine, "versions": {"python": "3.11"}}


def write(folder: Path, model: str = "2") -> Path:
    """Every part, with figures that are easy to follow."""
    for name, part in parts(head(model)).items():
        schema.write(part, folder / f"{NAMES[name]}.json")
    return folder


def parts(fields: dict[str, Any]) -> dict[str, Measurement]:
    settings: dict[str, Any] = {"settings": {"new_tokens": 60, "source_tokens": 28}}
    return {
        "latency": latency(fields),
        "wide": load(fields, 10, 1, 4),
        "greedy": load(fields, 1, 1, 8),
        "clients": load(fields, 10, 1, 16),
        "start": Starts(**fields, **settings, results={"ours": starts(3.0, 930), "tutorial": starts(5.0, 2600)}),
        "export": ExportCosts(
            **fields, settings={"checkpoint": "synthetic"}, results=[export("ours-int8", 35), export("ours-int4", 50)]
        ),
        "larger": ExportCosts(**fields, settings={"checkpoint": "3b"}, results=[export("ours-int8", 350)]),
        "quality": Quality(
            **fields,
            settings={"checkpoint": "demo", "random_weights": False, "samples": 60},
            results=[fidelity("int8", 0.9915), fidelity("int4", 0.94)],
        ),
        "archive": Archive(
            **fields,
            settings={"new_tokens": 60},
            about="How it was tuned",
            tables={"options": [{"name": "spinning", "best_s": 0.25, "seconds": [0.5, 0.25]}]},
        ),
    }


def latency(fields: dict[str, Any]) -> Latency:
    labels = {"torch-fp32": 8.0, "ours-int8": 1.0, "ours-int8 (again)": 1.0, "stock-dynamic-int8": 1.5}
    timings = [timing(label, [seconds, 2 * seconds]) for label, seconds in (labels | {"ctranslate2-int8": 2.0}).items()]
    same = Agreement(equal=2, replies=2)
    pair = Pair(labels=("ours-int8", "ours-int8 (again)"), noise=[0.12, 0.2, 0.3], same=same)
    lacking = {"settings_lacking": ["encoder_no_repeat_ngram_size"], "other_model": "a BART"}
    return Latency(
        **fields,
        settings={"checkpoint": "synthetic", "random_weights": True, "rounds": 2, "excluded": "loading"},
        limits=Limits(2, 30e9, {"int8": 9e11, "fp32": 2e11, "bf16": 4e11}),
        step_weights=StepWeights(200_000_000, 40_000_000),
        contestants=[participant("ours-int8", precision="int8"), participant("ctranslate2-int8", **lacking)],
        missing=MISSING,
        results=[Race(sizes=SIZES.model_copy(update={"beams": beams}), a_a=pair, timings=timings) for beams in (10, 1)],
    )


def timing(label: str, seconds: list[float]) -> Timing:
    same = None if label.startswith("ctranslate2") else Agreement(equal=1, replies=2)
    return Timing(label=label, seconds=seconds, peak_bytes=10**9, same_as_torch=same)


def participant(label: str, **fields: Any) -> Participant:
    return Participant(label=label, name=label, title=label, **fields)


def load(fields: dict[str, Any], beams: int, *clients: int) -> Load:
    rates = {"ours": 1.0, "ours (again)": 1.0, "stock-dynamic-int8": 0.4, "tutorial": 0.1}
    settings = {**SIZES.model_dump(), "beams": beams, "rounds": 2, "seconds": 20}
    results = [
        LoadResult(
            clients=number,
            noise=[0.01],
            servers=[server(label, rate * (1 + 0.1 * number)) for label, rate in rates.items()],
        )
        for number in clients
    ]
    servers = [participant(label, peak_bytes=930_000_000) for label in rates]
    return Load(**fields, settings=settings, servers=servers, results=results)


def server(label: str, rate: float) -> ServerRuns:
    """Two rounds of one reply and one failure, the second half as fast."""
    runs = []
    for number, seconds in enumerate((1 / rate, 2 / rate)):
        reply = Exchange(start_s=0.0, seconds=seconds)
        runs.append(
            Run(round=number, requests=[reply, Exchange(start_s=0.0, seconds=0.1, error="timeout", detail="late")])
        )
    return ServerRuns(label=label, runs=runs)


def starts(ready_s: float, megabytes: int) -> list[Start]:
    size = megabytes * 10**6
    times: dict[str, Any] = {"first_reply_s": 1.2, "later_reply_s": 1.0, "ready_bytes": size // 2, "peak_bytes": size}
    return [Start(ready_s=ready_s, **times), Start(ready_s=ready_s - 1, **times | {"peak_bytes": size - 10**7})]


def export(name: str, seconds: float) -> ExportCost:
    return ExportCost(name=name, title=name, seconds=seconds, peak_bytes=1_400_000_000, size_bytes=416_000_000)


def fidelity(precision: str, top1: float) -> Fidelity:
    return Fidelity(
        exported=f"demo-{precision}",
        tokens=1000,
        reference_perplexity=700.0,
        perplexity=700.14,
        mean_divergence=2e-4,
        worst_divergence=4e-3,
        top1_agreement=top1,
        replies=50,
        exact_match=0.9,
    )
