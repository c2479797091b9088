"""The application on a port, with a model behind it that says what it is told to."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flask import Flask
from transformers import AutoTokenizer
from waitress.server import create_server

from models.manifest import Manifest
from service.chat.chatbot import Chatbot
from service.chat.prompt import PromptFormat
from service.engine.kernels.library import ONNX_RUNTIME
from service.engine.sequence import Sequence
from service.engine.settings import DecodingSettings
from service.http.app import create_app
from service.serving.model_host import ServedModel
from service.serving.runtime import Runtime
from service.settings import ServiceConfig
from tests.service.fakes import FakeBatch, FakeEngine, FakeModel

NAME = "tiny"
NOTICE = "This is a small demo model for trying the service."
START, END = 1, 2


class Script(FakeModel):
    """A model that says what it is told to, and can stop in the middle of it.

    Attributes:
        pause_after: tokens after which it shuts the gate; None to go on to the end.
        paused: set once it has.
    """

    def __init__(self, tokenizer: Any) -> None:
        super().__init__()
        self.settings = DecodingSettings(max_length=500)
        self.pause_after: int | None = None
        self.paused = threading.Event()
        self._tokenizer = tokenizer

    def say(self, text: str, *, pause: bool = False) -> None:
        """Answer with this text from now on, token by token; the next time with a pause halfway, if so wished."""
        self.reply = [START, *self._tokenizer(" " + text, add_special_tokens=False).input_ids, END]
        self.pause_after = len(self.reply) // 2 if pause else None
        self.paused.clear()
        self.poison = None
        self.gate.set()

    def wait_paused(self) -> None:
        """Wait until a reply has come to its pause, which the gate ends."""
        assert self.paused.wait(10), "no reply came so far"

    def break_down(self) -> None:
        """Fail the reply that is being written."""
        self.poison = int(self.sources[-1][0])

    def batch(self) -> FakeBatch:
        return _Pausing(self)


class _Pausing(FakeBatch):
    def __init__(self, model: Script) -> None:
        super().__init__(model)
        self._script = model

    def step(self) -> list[Sequence]:
        pause = self._script.pause_after
        if pause is not None and any(sequence.search.tokens.shape[1] > pause for sequence in self.sequences):
            self._script.pause_after = None
            self._script.gate.clear()
            self._script.paused.set()
        return super().step()


@dataclass(frozen=True)
class Site:
    """A service that listens.

    Attributes:
        url: of its page.
        app: the application, for a test that plants something in it.
        engine: the fake engine.
        model: what it serves.
    """

    url: str
    app: Flask
    engine: FakeEngine
    model: Script


@contextlib.contextmanager
def site(checkpoint: Path, **settings: Any) -> Iterator[Site]:
    """Serve the application on a free port.

    Args:
        checkpoint: whose tokenizer is used.
        settings: of the service.
    """
    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    script = Script(tokenizer)
    engine = FakeEngine(script, max_rows=settings.get("rows", 40))
    manifest = Manifest(NAME, "made up", None, NOTICE, {"precision": "int8"}, {}, "2026-01-01T00:00:00+00:00", {}, {})
    served = ServedModel(checkpoint, manifest, "", ONNX_RUNTIME, Chatbot(engine, PromptFormat(tokenizer, window=128)))
    app = create_app(Runtime(ServiceConfig(store="memory", host="0.0.0.0", **settings), served))
    listener = socket.create_server(("127.0.0.1", 0))
    server = create_server(app, sockets=[listener], threads=8, channel_request_lookahead=1, asyncore_use_poll=True)
    threading.Thread(target=server.run, daemon=True).start()
    yield Site(f"http://127.0.0.1:{listener.getsockname()[1]}", app, engine, script)
    engine.gate.set()
    engine.close()
    server.close()
