"""Choosing tokens with a single row: the likeliest one, or one drawn at random."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from service.engine.logits import forced_token, restrict
from service.engine.settings import DecodingSettings

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Sampler:
    """Greedy search and sampling, one row a request."""

    scores_name = "logits"

    def __init__(self, source: NDArray[np.int64], settings: DecodingSettings) -> None:
        self._source = source
        self._settings = settings
        self._tokens = np.array([[settings.decoder_start_token_id]], np.int64)
        self._random = np.random.default_rng(settings.seed)
        self.finished = False

    @property
    def tokens(self) -> NDArray[np.int64]:
        """What is being written, [1, length]."""
        return self._tokens

    @property
    def settled(self) -> list[int]:
        """Tokens that the result is certain to begin with: all of them."""
        return self.result

    @property
    def result(self) -> list[int]:
        """Token ids of the reply, start token first."""
        return [int(token) for token in self._tokens[0]]

    def advance(self, scores: NDArray[np.float32]) -> NDArray[np.intp]:
        """Append one token.

        Args:
            scores: logits [1, vocabulary]; changed in place.

        Returns:
            For each row that goes on, the row it continues; always row 0.
        """
        restrict(scores, self._tokens, self._source, self._settings)
        token = self._draw(scores[0]) if self._settings.do_sample else int(scores[0].argmax())
        self._tokens = np.append(self._tokens, [[token]], axis=1)
        self.finished = token == self._settings.eos_token_id or self._tokens.shape[1] >= self._settings.max_length
        if not self.finished:
            self._end_if_forced()
        return np.zeros(1, np.intp)

    def _end_if_forced(self) -> None:
        """Append a token that needs no model: what it would say has no bearing on it."""
        forced = forced_token(self._tokens.shape[1], self._settings)
        if forced is not None:
            self.advance(np.zeros((1, forced + 1), np.float32))

    def _draw(self, scores: NDArray[np.float32]) -> int:
        """Add noise to each token's score and take the largest: it draws from the softmax of the scores.

        What rounding does to the scores changes the token only where two are all but tied, so that a seed brings the
        same reply whoever shares the batch; drawing a point on the sum of all probabilities would move with each.
        """
        warped = warp(scores, self._settings)
        return int((warped + self._random.gumbel(size=len(warped))).argmax())


def warp(scores: NDArray[np.float32], settings: DecodingSettings) -> NDArray[np.float64]:
    """Apply temperature, top-k and top-p to the scores [vocabulary] of one row, in the order of transformers."""
    scaled = scores.astype(np.float64) / settings.temperature
    if 0 < settings.top_k < len(scaled):
        lowest = np.partition(scaled, -settings.top_k)[-settings.top_k]
        scaled[scaled < lowest] = -np.inf
    if settings.top_p < 1.0:
        order = np.argsort(scaled)
        below = np.cumsum(_softmax(scaled[order])) <= 1.0 - settings.top_p
        below[-1] = False
        scaled[order[below]] = -np.inf
    return scaled


def _softmax(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    weights = np.exp(scores - scores.max())
    return np.asarray(weights / weights.sum())
