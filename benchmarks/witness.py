"""What a loaded model is seen to do during one reply, looked at where the work is done."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from unittest.mock import patch


@dataclass
class Witness:
    """One reply, as the model itself saw it.

    Attributes:
        rows: most rows of one run of the decoder: the beam width.
        steps: runs of the decoder.
        source_tokens: length of the encoder's output.
        threads: of every part of the live model that tells.
    """

    rows: int = 0
    steps: int = 0
    source_tokens: int = 0
    threads: list[int] = field(default_factory=list)

    def step(self, rows: int) -> None:
        """Note one run of the decoder."""
        self.rows = max(self.rows, rows)
        self.steps += 1


@contextmanager
def generation_loop(model: Any) -> Iterator[Witness]:
    """Watch the `generate` of transformers, which prepares the inputs of each run of the decoder."""
    seen = Witness()
    prepare = model.prepare_inputs_for_generation

    @functools.wraps(prepare)
    def watching(input_ids: Any, *arguments: Any, **settings: Any) -> Any:
        seen.step(input_ids.shape[0])
        seen.source_tokens = settings["encoder_outputs"][0].shape[1]
        return prepare(input_ids, *arguments, **settings)

    model.prepare_inputs_for_generation = watching
    try:
        yield seen
    finally:
        del model.prepare_inputs_for_generation


@contextmanager
def fused_loop() -> Iterator[Witness]:
    """Watch the running batch of our engine."""
    from service.engine.batch import Batch

    seen = Witness()
    add, step = Batch.add, Batch.step

    def adding(batch: Batch, sequence: Any) -> None:
        seen.source_tokens = len(sequence.source)
        add(batch, sequence)

    def stepping(batch: Batch) -> Any:
        seen.step(batch.rows)
        return step(batch)

    with patch.object(Batch, "add", adding), patch.object(Batch, "step", stepping):
        yield seen


@contextmanager
def onnx_sessions() -> Iterator[list[Any]]:
    """The ONNX Runtime sessions that come into being within the block."""
    from onnxruntime import InferenceSession

    made: list[Any] = []
    begin = InferenceSession.__init__

    def beginning(session: Any, *arguments: Any, **settings: Any) -> None:
        begin(session, *arguments, **settings)
        made.append(session)

    with patch.object(InferenceSession, "__init__", beginning):
        yield made


def session_threads(sessions: list[Any]) -> list[int]:
    """Threads within an operator, of each session."""
    return [session.get_session_options().intra_op_num_threads for session in sessions]
