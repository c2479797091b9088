"""A service whose replies tell what its model read, for checking histories by the thousand."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Sequence as Ids
from itertools import groupby
from types import ModuleType

from service.engine.kernels.library import ONNX_RUNTIME
from tests.service.fakes import VOCABULARY, FakeModel

# Letters in the vocabularies of the tests' models and of the demo model.
FIRST_LETTER, LETTERS = 69, 24
DIGITS = 10
# As many times the same token, one after the other, kill the engine that reads them; this message holds more.
DEADLY = 8
DEADLY_MESSAGE = "#" * 100
# Statements for `ServiceProcess(planted=...)`.
PLANTED = "from tests.service.echo import plant; plant()"


def digest(source: Ids[int]) -> list[int]:
    """Letters that stand for a source, as token ids."""
    hashed = hashlib.sha256(",".join(map(str, source)).encode()).digest()
    return [FIRST_LETTER + byte % LETTERS for byte in hashed[:DIGITS]]


class EchoModel(FakeModel):
    """A model that replies with the digest of what it read."""

    window = 128
    kernels = ONNX_RUNTIME
    vocabulary = VOCABULARY

    def __init__(self) -> None:
        super().__init__(reply=[0] * (DIGITS + 2))

    def reply_to(self, source: Ids[int]) -> list[int]:
        if max(len(list(run)) for _, run in groupby(source)) >= DEADLY:
            raise SystemExit("read what kills it")
        return [1, *digest(source), 2]


def plant() -> None:
    """Serve an `EchoModel` in place of whatever is loaded."""
    module = ModuleType("service.engine.chat_model")
    module.load = lambda folder, *, threads=0, kernels="auto": EchoModel()  # type: ignore[attr-defined]
    sys.modules[module.__name__] = module
