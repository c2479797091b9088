"""What may come next: bans and penalties on the scores of the next token, as in transformers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from service.engine.settings import DecodingSettings

if TYPE_CHECKING:
    from numpy.typing import NDArray


def restrict(
    scores: NDArray[np.float32], tokens: NDArray[np.int64], source: NDArray[np.int64], settings: DecodingSettings
) -> None:
    """Apply penalties and bans to the scores of the next token, in place and in the order of transformers.

    Args:
        scores: [row, vocabulary], logits or log-probabilities.
        tokens: [row, length], what each row holds so far, start token included.
        source: [source], token ids of the request.
        settings: of the request.
    """
    length = tokens.shape[1]
    forced = forced_token(length, settings)
    if forced is not None:
        scores[:] = -np.inf
        scores[:, forced] = 0.0
        return
    if settings.repetition_penalty != 1.0:
        used = np.take_along_axis(scores, tokens, axis=1)
        penalised = np.where(used < 0, used * settings.repetition_penalty, used / settings.repetition_penalty)
        np.put_along_axis(scores, tokens, penalised.astype(np.float32), axis=1)
    if settings.no_repeat_ngram_size:
        _ban_continuations(scores, tokens, tokens, settings.no_repeat_ngram_size)
    if settings.encoder_no_repeat_ngram_size:
        history = np.broadcast_to(source, (len(tokens), len(source)))
        _ban_continuations(scores, tokens, history, settings.encoder_no_repeat_ngram_size)
    if length < settings.min_length:
        scores[:, settings.eos_token_id] = -np.inf


def forced_token(length: int, settings: DecodingSettings) -> int | None:
    """The token that must come after `length` tokens whatever the model says; None where the model has a choice."""
    return settings.forced_eos_token_id if length == settings.max_length - 1 else None


def _ban_continuations(
    scores: NDArray[np.float32], tokens: NDArray[np.int64], history: NDArray[np.int64], size: int
) -> None:
    """Forbid each token that followed the last `size - 1` tokens of a row somewhere in its history [row, length]."""
    windows = history.shape[1] - size + 1
    if windows < 1 or tokens.shape[1] < size - 1:
        return
    matches = np.ones((len(tokens), windows), bool)
    for offset in range(size - 1):
        last = tokens[:, tokens.shape[1] - size + 1 + offset, None]
        matches &= history[:, offset : offset + windows] == last
    rows, places = np.nonzero(matches)
    scores[rows, history[rows, places + size - 1]] = -np.inf
