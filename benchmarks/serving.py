"""Other people's ways to serve a checkpoint over HTTP, speaking the same `POST /chatbot` as our service.

`python -m benchmarks.serving NAME FOLDER BEAMS NEW_TOKENS THREADS` serves on a free port of the loopback address.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import warnings
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from benchmarks.engines import load_stock, load_torch

if TYPE_CHECKING:
    from flask import Flask

HOST = "127.0.0.1"
WAITRESS_THREADS = 64


def create_app(tokenizer: Any, generate: Callable[[list[int]], Sequence[int]]) -> Flask:
    """The routes, for a model that knows no history: it reads the ids of the prompt as they are.

    Args:
        tokenizer: of the model.
        generate: source ids in, reply ids without the decoder's start token out.
    """
    from flask import Flask, request

    app = Flask(__name__)

    @app.post("/chatbot")
    def chat() -> dict[str, Any]:
        """The reply and the counts of its tokens, special ones left out, as our service gives them."""
        source = tokenizer(json.loads(request.get_data(as_text=True))["prompt"]).input_ids
        ids = generate(source)
        special = set(tokenizer.all_special_ids)
        completion_tokens = sum(token not in special for token in ids)
        return {
            "reply": tokenizer.decode(ids, skip_special_tokens=True).strip(),
            "usage": {"prompt_tokens": len(source), "completion_tokens": completion_tokens},
        }

    @app.get("/readyz")
    def ready() -> str:
        return "ready"

    return app


def serve_stock(folder: str, beams: int, new_tokens: int, threads: int) -> None:
    """The stock ONNX class, one reply after the other: one lock around `generate`, behind waitress."""
    from transformers import AutoTokenizer
    from waitress.server import create_server

    engine = load_stock(folder, threads)
    lock = threading.Lock()

    def generate(ids: list[int]) -> list[int]:
        with lock:
            return engine.generate(ids, beams, new_tokens)

    app = create_app(AutoTokenizer.from_pretrained(folder), generate)
    server = create_server(app, host=HOST, port=0, threads=WAITRESS_THREADS, connection_limit=1000)
    _announce(server.effective_port)
    server.run()


def serve_tutorial(folder: str, beams: int, new_tokens: int, threads: int) -> None:
    """The app of the well-known tutorial: torch fp32 `generate` in each request of Flask's threaded development server.

    Two things differ from it. It keeps one history for all visitors, which is left out here, and the ids of the prompt
    are used as they are: the real app fails once the history passes the 128 tokens that the model reads. And it answers
    with bare text, where this one gives the counts of tokens as well.
    """
    from flask_cors import CORS
    from transformers import AutoTokenizer
    from werkzeug.serving import make_server

    engine = load_torch(folder, threads)
    app = create_app(AutoTokenizer.from_pretrained(folder), lambda ids: engine.generate(ids, beams, new_tokens))
    CORS(app)
    server = make_server(HOST, 0, app, threaded=True)
    _announce(server.server_port)
    server.serve_forever()


def _announce(port: int) -> None:
    """Say where the server listens, as our service does."""
    print(f"Listening on http://{HOST}:{port}", file=sys.stderr, flush=True)


SERVERS: dict[str, Callable[[str, int, int, int], None]] = {
    "stock-dynamic-int8": serve_stock,
    "tutorial": serve_tutorial,
}


def main(arguments: list[str]) -> None:
    warnings.simplefilter("ignore")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    name, folder, *numbers = arguments
    SERVERS[name](folder, *map(int, numbers))


if __name__ == "__main__":
    main(sys.argv[1:])
