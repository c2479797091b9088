"""A small results folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

HEAD: dict[str, Any] = {
    "date": "2020-01-02T03:04:05+00:00",
    "machine": {
        "cpu": "A processor",
        "cpu_family": "1",
        "cpu_model": "2",
        "cpu_flags": ["avx2"],
        "cores": 2,
        "memory_bytes": 2**34,
        "os": "Linux 6.1",
    },
    "versions": {"python": "3.11"},
    "missing": [],
}
MISSING = [{"name": "openvino-int8", "reason": "openvino.txt cannot be installed: pip ended with exit code 1"}]
STORE = {"commands_per_reply": 5.0, "bytes_per_reply": 4000.0, "appends_per_s": 2000.0, "conversation_bytes": 3000.0}


def write(folder: Path) -> Path:
    """Every part, with figures that are easy to follow."""
    parts = {
        "latency-400m": {"benchmark": "latency", **latency(), "missing": MISSING},
        "load-400m": load(10, (1, 4)),
        "load-greedy-400m": load(1, (1, 8)),
        "start-400m": {"benchmark": "start", "results": [start("ours", 3.5, 930e6), start("tutorial", 5.0, 2600e6)]},
        "export-400m": {"benchmark": "export-cost", "results": [export("ours-int8", 55), export("ours-int4", 50)]},
        "quality-demo": {"benchmark": "quality", "results": [quality("int8", 0.9915), quality("int4", 0.94)]},
        "scaling-400m": {"benchmark": "scaling", **scaling()},
        "store-redis": {"benchmark": "store", "results": [STORE]},
    }
    for name, part in parts.items():
        (folder / f"{name}.json").write_text(json.dumps({**HEAD, **part}))
    return folder


def latency() -> dict[str, Any]:
    labels = {"torch-fp32": 8.0, "ours-int8": 1.0, "ours-int8 (again)": 1.0, "stock-dynamic-int8": 1.5}
    rows = [backend(label, seconds) for label, seconds in (*labels.items(), ("ctranslate2-int8", 2.0))]
    pair = {"noise": 0.12, "attempts": [0.12, 0.2, 0.3], "too_noisy": True}
    lacks = {"label": "ctranslate2-int8", "settings_lacking": ["encoder_no_repeat_ngram_size"], "other_model": "a BART"}
    return {
        "settings": {"source_tokens": 28, "new_tokens": 60, "threads": 2, "rounds": 2, "excluded": "loading"},
        "limits": {"read_bytes_per_s": 30e9, "operations_per_s": {"int8": 9e11, "fp32": 2e11, "bf16": 4e11}},
        "contestants": [{"label": "ours-int8", "settings_lacking": [], "other_model": ""}, lacks],
        "results": [{"beams": beams, "backends": rows, "a_a": pair} for beams in (10, 1)],
    }


def backend(label: str, seconds: float) -> dict[str, Any]:
    one = {"median": 1.0, "least": 1.0, "greatest": 1.0}
    return {
        "label": label,
        "seconds": [seconds, 2 * seconds],
        "median_s": seconds,
        "p90_s": seconds,
        "ms_per_token": 1000 * seconds / 60,
        "floor_ms": 8.0,
        "times_floor": 1000 * seconds / 60 / 8.0,
        "versus_torch": one,
        "ours_versus_it": one,
        "peak_bytes": 10**9,
        "agreement_with_torch": {"equal": 1, "replies": 2, "shared_tokens": 5},
    }


def load(beams: int, clients: tuple[int, ...]) -> dict[str, Any]:
    rates = {"ours": 1.0, "ours (again)": 1.0, "stock-dynamic-int8": 0.4, "tutorial": 0.1}
    return {
        "benchmark": "load",
        "settings": {"beams": beams, "threads": 2, "new_tokens": 60},
        "servers": [{"label": label, "peak_bytes": 930_000_000} for label in rates],
        "results": [
            {
                "load": {"mode": "closed", "clients": number},
                "a_a": {"noise": 0.01, "attempts": [0.01], "too_noisy": False},
                "servers": [server(label, rate * (1 + 0.1 * number)) for label, rate in rates.items()],
            }
            for number in clients
        ],
    }


def server(label: str, rate: float) -> dict[str, Any]:
    requests = [{"seconds": 1 / rate, "error": ""}, {"seconds": 9.0, "error": "timeout"}]
    return {
        "label": label,
        "replies_per_s": {"median": rate},
        "tokens_per_s": {"median": 60 * rate},
        "latency_s": {"p50": 1 / rate, "p90": 1 / rate, "p99": 1 / rate},
        "errors": {"timeout": 1},
        "runs": [{"replies_per_s": rate, "requests": requests}] * 2,
    }


def start(label: str, ready_s: float, peak: float) -> dict[str, Any]:
    times = {"ready_s": ready_s, "first_reply_s": 1.2, "later_reply_s": 1.0}
    return {"label": label, **times, "ready_bytes": peak / 2, "peak_bytes": peak}


def export(name: str, seconds: float) -> dict[str, Any]:
    return {"name": name, "seconds": seconds, "peak_bytes": 6e9, "size_bytes": 416e6}


def quality(precision: str, top1: float) -> dict[str, Any]:
    return {
        "exported": f"demo-{precision}",
        "tokens": 1000,
        "perplexity_ratio": 1.0002,
        "mean_divergence": 2e-4,
        "worst_divergence": 4e-3,
        "top1_agreement": top1,
        "whole_replies": {"replies": 50, "exact_match": 0.9, "chrf": 97.5},
    }


def scaling() -> dict[str, Any]:
    base = {"beams": 10, "source_tokens": 28, "new_tokens": 60, "threads": 2}
    values = {"beams": (1, 10), "source_tokens": (8, 128), "new_tokens": (8, 60), "threads": (1, 2)}
    return {
        "settings": {**base, "rounds": 2},
        "replies": [
            {"axis": axis, "label": "ours-int8", **base, axis: value, "median_s": 1.0}
            for axis, found in values.items()
            for value in found
        ],
        "clients": [
            {"label": "ours", "clients": clients, "replies_per_s": 1.0, "p50_s": 1.0 * clients, "errors": {}}
            for clients in (1, 16)
        ],
    }
