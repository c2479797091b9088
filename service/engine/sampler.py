"""Choosing tokens one by one: the likeliest one, or one drawn at random."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from service.engine.forbidden import Forbidden, last_banned, presentable
from service.engine.logits import forced_token, restrict
from service.engine.settings import DecodingSettings

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Sampler:
    """Greedy search and sampling.

    There is one row, but for where it may just have completed what it must not hold. What comes next decides that, so
    a second row goes on from before with another token, and takes over if the first one cannot become anything else.
    """

    scores_name = "logits"

    def __init__(
        self, source: NDArray[np.int64], settings: DecodingSettings, forbidden: Forbidden | None = None
    ) -> None:
        self._source = source
        self._settings = settings
        self._forbidden = forbidden
        self._states = [] if forbidden is None else [forbidden.start]
        self._tokens = np.array([[settings.decoder_start_token_id]], np.int64)
        self._random = np.random.default_rng(settings.seed)
        self.finished = False

    @property
    def tokens(self) -> NDArray[np.int64]:
        """What is being written, [row, length]."""
        return self._tokens

    @property
    def settled(self) -> list[int]:
        """Tokens that the result is certain to begin with: those of all rows."""
        first, last = self._tokens[0], self._tokens[-1]
        shared = first if len(self._tokens) == 1 else first[: int((first != last).argmax())]
        return [int(token) for token in shared]

    @property
    def result(self) -> list[int]:
        """Token ids of the reply, start token first."""
        return [int(token) for token in self._tokens[0]]

    def advance(self, scores: NDArray[np.float32]) -> NDArray[np.intp]:
        """Append one token.

        Args:
            scores: logits [row, vocabulary]; changed in place.

        Returns:
            For each row that goes on, the row it continues.
        """
        length, end = self._tokens.shape[1], self._settings.eos_token_id
        restrict(scores, self._tokens, self._source, self._settings)
        if self._forbidden is None or forced_token(length, self._settings) is not None:
            chosen = self._pick(scores, 0)
        else:
            chosen = self._pick_allowed(scores, self._forbidden)
        if not chosen:
            self._give_up()
            return np.zeros(1, np.intp)
        parents = np.array([row for row, _ in chosen], np.intp)
        tokens = np.array([token for _, token in chosen], np.int64)
        self._tokens = np.concatenate([self._tokens[parents], tokens[:, None]], axis=1)
        if self._forbidden is not None:
            self._states = [int(self._forbidden.moves(self._states[row]).after[token]) for row, token in chosen]
        self.finished = bool(tokens[0] == end) or length + 1 >= self._settings.max_length
        if not self.finished:
            self._end_if_forced()
        return parents

    def _end_if_forced(self) -> None:
        """Append a token that needs no model: what it would say has no bearing on it."""
        forced = forced_token(self._tokens.shape[1], self._settings)
        if forced is not None:
            self.advance(np.zeros((1, forced + 1), np.float32))

    def _give_up(self) -> None:
        """End the reply with what there is, where no token may come next."""
        ids = self._tokens[-1].tolist()
        reply = ids if self._forbidden is None else presentable(self._forbidden, ids)
        self._tokens = np.array([[*reply, self._settings.eos_token_id]], np.int64)
        self.finished = True

    def _pick_allowed(self, scores: NDArray[np.float32], forbidden: Forbidden) -> list[tuple[int, int]]:
        """The rows that go on, each with its next token, so that none completes what it must not hold."""
        length, settings = self._tokens.shape[1], self._settings
        forced = forced_token(length + 1, settings)
        last = forced is not None or length + 1 >= settings.max_length
        moves = [forbidden.moves(state) for state in self._states]
        banned = [
            np.flatnonzero(last_banned(forbidden, move, forced, settings.eos_token_id)) if last else move.banned
            for move in moves
        ]
        row = 0
        if len(moves) == 2:
            # What the model wants next decides whether the first row has completed it.
            for _, token in self._pick(scores.copy(), 0):
                if token not in banned[0]:
                    unsure = moves[0].unsafe[token] and not last
                    return [(0, token), *(self._pick_safe(scores, 1, moves[1].unsafe) if unsure else [])]
            row = 1
        scores[row, banned[row]] = -np.inf
        chosen = self._pick(scores, row)
        if chosen and moves[row].unsafe[chosen[0][1]] and not last:
            chosen += self._pick_safe(scores, row, moves[row].unsafe)
        return chosen

    def _pick_safe(self, scores: NDArray[np.float32], row: int, unsafe: NDArray[np.bool_]) -> list[tuple[int, int]]:
        """A token for the second row, after which nothing forbidden may be complete and the text goes on."""
        scores[row, unsafe] = -np.inf
        scores[row, self._settings.eos_token_id] = -np.inf
        return self._pick(scores, row)

    def _pick(self, scores: NDArray[np.float32], row: int) -> list[tuple[int, int]]:
        """The row with its next token; nothing if no token may come."""
        if scores[row].max() == -np.inf:
            return []
        return [(row, self._draw(scores[row]) if self._settings.do_sample else int(scores[row].argmax()))]

    def _draw(self, scores: NDArray[np.float32]) -> int:
        """Add noise to each token's score and take the largest: it draws from the softmax of the scores.

        What rounding does to the scores changes the token only where two are all but tied, so that a seed brings the
        same reply whoever shares the batch; drawing a point on the sum of all probabilities would move with each.
        """
        warped = warp(scores, self._settings)
        # Gumbel noise, in a fourth of the time that NumPy takes for its own.
        noise = -np.log(self._random.standard_exponential(len(warped)))
        return int((warped + noise).argmax())


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
