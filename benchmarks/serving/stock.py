"""The stock ONNX class served in turn: one lock around `generate`, behind waitress."""

from __future__ import annotations

import threading

from benchmarks.backends import load_stock
from benchmarks.serving.app import HOST, Chatbot, announce, create_app

THREADS = 64


def serve(folder: str, beams: int, new_tokens: int, threads: int) -> None:
    """Serve until a signal ends it.

    Args:
        folder: of ONNX files that `ORTModelForSeq2SeqLM` loads, with a tokenizer.
        beams: beam width.
        new_tokens: tokens of each reply, `</s>` included.
        threads: processor threads of the model.
    """
    from transformers import AutoTokenizer
    from waitress.server import create_server

    backend = load_stock(folder, threads).backend
    turn = threading.Lock()

    def generate(ids: list[int]) -> list[int]:
        with turn:
            return backend.generate(ids, beams, new_tokens)

    chatbot = Chatbot(AutoTokenizer.from_pretrained(folder), generate)
    server = create_server(create_app(chatbot), host=HOST, port=0, threads=THREADS, connection_limit=1000)
    announce(server.effective_port)
    server.run()
