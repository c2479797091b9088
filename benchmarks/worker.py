"""The subprocess side: one engine, JSON lines on stdin and stdout: `python -m benchmarks.worker LOADER`.

Each request is an object with an `op` and its arguments; each reply is one, `{"error": "..."}` when it went wrong.

    load      path, threads               (nothing)
    describe                              decoding, vocab_size, special_ids, eos_id, engine, versions
    watch     ids, beams, new_tokens      tokens, and what `benchmarks.engines.Observation` holds
    generate  ids, beams, new_tokens      tokens, seconds
    score     ids, replies                scores
"""

from __future__ import annotations

import json
import os
import sys
import time
from dataclasses import asdict
from functools import partial
from typing import Any, TextIO

from benchmarks.engines import Loader, load_ours, load_stock, load_torch
from benchmarks.environment import versions
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


def answer(engine: Any, op: str, **arguments: Any) -> dict[str, Any]:
    """The reply to a request other than `load`."""
    match op:
        case "describe":
            return {**engine.describe(), "versions": versions()}
        case "generate":
            started = time.perf_counter()
            tokens = engine.generate(**arguments)
            return {"tokens": tokens, "seconds": time.perf_counter() - started}
        case "watch":
            with engine.watch() as observation:
                tokens = engine.generate(**arguments)
            return {"tokens": tokens, **asdict(observation)}
        case "score":
            return {"scores": engine.score(**arguments)}
        case unknown:
            raise ValueError(f"unknown op {unknown}")


def serve(loader: Loader, requests: TextIO, replies: TextIO) -> None:
    """Answer until the end of input; the first request is `load`."""
    engine: Any = None
    for line in requests:
        try:
            request = json.loads(line)
            if request["op"] == "load":
                engine, reply = loader(request["path"], request["threads"]), {}
            else:
                reply = answer(engine, **request)
        except Exception as error:
            text = str(error).strip()
            reply = {"error": f"{type(error).__name__}: {text.splitlines()[0]}" if text else type(error).__name__}
        replies.write(json.dumps(reply) + "\n")
        replies.flush()


def main() -> None:
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever a library prints goes to stderr and leaves the replies alone
    serve(LOADERS[sys.argv[1]], sys.stdin, replies)


if __name__ == "__main__":
    main()
