"""The subprocess side: one engine, JSON lines on stdin and stdout: `python -m benchmarks.worker LOADER`.

Each request is an object with an `op` and its arguments; each reply is one, `{"error": "..."}` when it went wrong.

    load      path, threads               import_s, load_s
    describe                              decoding, vocab_size, special_ids, eos_id, engine, versions
    warm_up   ids, beams, new_tokens      (nothing)
    watch     ids, beams, new_tokens      tokens, and what `benchmarks.engines.Observation` holds
    generate  ids, beams, new_tokens      tokens, seconds
    score     ids, replies                scores (only torch can)
    memory                                peak_bytes
    close                                 (the process ends)
"""

from __future__ import annotations

import json
import os
import sys
import time
from dataclasses import asdict
from functools import partial
from typing import Any, TextIO

from benchmarks.engines import Engine, Loader, load_ours, load_stock, load_torch
from benchmarks.environment import peak_bytes, versions
from benchmarks.rivals import ctranslate2, openvino
from service.engine.kernels.library import STOCK

LOADERS: dict[str, Loader] = {
    "torch": load_torch,
    "torch-bf16": partial(load_torch, dtype="bfloat16"),
    "torch-dynamic-int8": partial(load_torch, change="dynamic-int8"),
    "torch-compile": partial(load_torch, change="compile"),
    "stock": load_stock,
    "ours": load_ours,
    "ours-stock-kernels": partial(load_ours, kernels=STOCK),
    "openvino": openvino.load,
    "ctranslate2": ctranslate2.load,
}


class Worker:
    """Answers requests with one engine."""

    def __init__(self, loader: Loader) -> None:
        self._loader = loader
        self._engine: Engine | None = None

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """The reply to one request other than `close`."""
        arguments = {name: value for name, value in request.items() if name != "op"}
        match request["op"]:
            case "load":
                loaded = self._loader(request["path"], request["threads"])
                self._engine = loaded.engine
                return {"import_s": loaded.import_s, "load_s": loaded.load_s}
            case "describe":
                return {**self._loaded().describe(), "versions": versions()}
            case "warm_up":
                self._loaded().generate(**arguments)
                return {}
            case "generate":
                started = time.perf_counter()
                tokens = self._loaded().generate(**arguments)
                return {"tokens": tokens, "seconds": time.perf_counter() - started}
            case "watch":
                with self._loaded().watch() as observation:
                    tokens = self._loaded().generate(**arguments)
                return {"tokens": tokens, **asdict(observation)}
            case "score":
                score: Any = getattr(self._loaded(), "score", None)
                if score is None:
                    raise ValueError("this engine gives no scores")
                return {"scores": score(**arguments)}
            case "memory":
                return {"peak_bytes": peak_bytes()}
            case unknown:
                raise ValueError(f"unknown op {unknown}")

    def _loaded(self) -> Engine:
        if self._engine is None:
            raise ValueError("no model is loaded")
        return self._engine


def serve(worker: Worker, requests: TextIO, replies: TextIO) -> None:
    """Answer until `close` or the end of input."""
    for line in requests:
        request = json.loads(line)
        if request["op"] == "close":
            return
        try:
            reply = worker.answer(request)
        except Exception as error:
            text = str(error).strip()
            reply = {"error": f"{type(error).__name__}: {text.splitlines()[0]}" if text else type(error).__name__}
        replies.write(json.dumps(reply) + "\n")
        replies.flush()


def main() -> None:
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever a library prints goes to stderr and leaves the replies alone
    serve(Worker(LOADERS[sys.argv[1]]), sys.stdin, replies)


if __name__ == "__main__":
    main()
