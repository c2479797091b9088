"""Beam search over the rows of one request, with the scores and the stopping rule of transformers 4.57."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from service.engine.forbidden import FORBIDDEN, Forbidden, last_banned, presentable
from service.engine.logits import forced_token, restrict
from service.engine.settings import DecodingSettings

if TYPE_CHECKING:
    from numpy.typing import NDArray

NEVER = np.float32(-1e9)


class BeamSearch:
    """The hypotheses of one request, running and finished.

    It begins with one row and goes on with `num_beams`.
    """

    scores_name = "log_probabilities"

    def __init__(
        self, source: NDArray[np.int64], settings: DecodingSettings, forbidden: Forbidden | None = None
    ) -> None:
        self._source = source
        self._settings = settings
        self._forbidden = forbidden
        self._states = [] if forbidden is None else [forbidden.start]
        beams = settings.num_beams
        self._tokens = np.array([[settings.decoder_start_token_id]], np.int64)
        self._scores = np.zeros(1, np.float32)
        self._done: list[list[int]] = [[] for _ in range(beams)]
        self._done_scores = np.full(beams, NEVER)
        self._done_flags = np.zeros(beams, bool)
        self.finished = False

    @property
    def tokens(self) -> NDArray[np.int64]:
        """Running hypotheses, best first, [row, length]."""
        return self._tokens

    @property
    def settled(self) -> list[int]:
        """Tokens that the result is certain to begin with: those that every hypothesis shares which may become it.

        These are the running ones, and the best of the finished ones.
        """
        if self.finished:
            return self.result
        first = self._tokens[0]
        shared = _shared_length(self._tokens, first)
        if self._done[0]:
            best = np.array(self._done[0][: len(first)], np.int64)
            shared = min(shared, _shared_length(best[None], first[: len(best)]))
        return [int(token) for token in first[:shared]]

    @property
    def result(self) -> list[int]:
        """Token ids of the best finished hypothesis, start token first."""
        return self._done[0]

    def advance(self, scores: NDArray[np.float32]) -> NDArray[np.intp]:
        """Extend every hypothesis by one token and keep the best.

        Args:
            scores: log-probabilities of the next token [row, vocabulary]; changed in place.

        Returns:
            For each row that goes on, the row it continues, [num_beams].
        """
        settings, beams = self._settings, self._settings.num_beams
        length = self._tokens.shape[1]
        restrict(scores, self._tokens, self._source, settings)
        self._forbid(scores)
        scores += self._scores[:, None]
        flat = scores.reshape(-1)
        candidates = _largest(flat, min(2 * beams, flat.size))
        parents, tokens = np.divmod(candidates, scores.shape[1])
        totals = flat[candidates]
        ended = (tokens == settings.eos_token_id) | (length + 1 >= settings.max_length)

        running_totals = totals + ended * NEVER
        order = np.argsort(-running_totals, kind="stable")[:beams]
        self._collect(parents, tokens, totals, ended, length)
        parents, tokens, running_totals = self._sure(flat, parents[order], tokens[order], running_totals[order])
        best = self._tokens[0]
        self._tokens = np.concatenate([self._tokens[parents], tokens[:, None]], axis=1)
        self._scores = running_totals
        full = settings.early_stopping is True and bool(self._done_flags.all())
        self.finished = bool(ended.all()) or full or not self._can_improve(length + 1)
        if self.finished and not self._done[0]:
            self._give_up(best)
        if not self.finished:
            self._end_if_forced()
        return parents

    def _forbid(self, scores: NDArray[np.float32]) -> None:
        """Let no hypothesis complete what it must not hold, nor end where that would."""
        if self._forbidden is None:
            return
        length, settings = self._tokens.shape[1], self._settings
        if forced_token(length, settings) is not None:
            return
        forced = forced_token(length + 1, settings)
        last = forced is not None or length + 1 >= settings.max_length
        for row, state in enumerate(self._states):
            if state == FORBIDDEN:
                continue
            moves = self._forbidden.moves(state)
            if last:
                scores[row, last_banned(self._forbidden, moves, forced, settings.eos_token_id)] = -np.inf
            elif len(moves.banned):
                scores[row, moves.banned] = -np.inf

    def _sure(
        self,
        flat: NDArray[np.float32],
        parents: NDArray[np.intp],
        tokens: NDArray[np.intp],
        totals: NDArray[np.float32],
    ) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float32]]:
        """Exchange some of the hypotheses that go on if too many may come to nothing, and note the states of all.

        One that may have completed what it must not hold is lost unless the next token makes it something else. At most
        half of the hypotheses are such; if all were, the search would have to go on with words that it hardly wants.

        Args:
            flat: scores of all candidates [row * vocabulary].
            parents: rows that the best candidates continue.
            tokens: their last tokens.
            totals: their scores.
        """
        if self._forbidden is None:
            return parents, tokens, totals
        size = flat.size // len(self._tokens)
        forced = forced_token(self._tokens.shape[1], self._settings) is not None
        moves = [self._forbidden.moves(state) for state in self._states]
        unsafe = np.array([moves[row].unsafe[token] for row, token in zip(parents, tokens, strict=True)])
        most = len(parents) // 2
        if not forced and np.count_nonzero(unsafe & (totals > NEVER)) > most:
            unsure = (parents * size + tokens)[unsafe][:most]
            unsure_totals = totals[unsafe][:most]
            for row, move in enumerate(moves):
                flat[row * size : (row + 1) * size][move.unsafe] = -np.inf
            flat[self._settings.eos_token_id :: size] = -np.inf
            others = _largest(flat, len(parents) - len(unsure))
            chosen = np.concatenate([unsure, others])
            scores = np.concatenate([unsure_totals, flat[others]])
            order = np.argsort(-scores, kind="stable")
            totals = scores[order]
            parents, tokens = np.divmod(chosen[order], size)
        self._states = [int(moves[row].after[token]) for row, token in zip(parents, tokens, strict=True)]
        return parents, tokens, totals

    def _give_up(self, best: NDArray[np.int64]) -> None:
        """End the reply with what there is, where no token may come next."""
        ids = best.tolist()
        reply = ids if self._forbidden is None else presentable(self._forbidden, ids)
        self._done[0] = [*reply, self._settings.eos_token_id]

    def _end_if_forced(self) -> None:
        """Append a token that needs no model: what it would say has no bearing on it."""
        forced = forced_token(self._tokens.shape[1], self._settings)
        if forced is not None:
            self.advance(np.zeros((len(self._tokens), forced + 1), np.float32))

    def _collect(
        self,
        parents: NDArray[np.intp],
        tokens: NDArray[np.intp],
        totals: NDArray[np.float32],
        ended: NDArray[np.bool_],
        length: int,
    ) -> None:
        """Put the hypotheses that ended among the best `num_beams` candidates beside the finished ones."""
        beams = self._settings.num_beams
        new = np.flatnonzero(ended[:beams])
        if not len(new):
            return
        candidates = totals[new] / np.float32(length**self._settings.length_penalty)
        scores = np.concatenate([self._done_scores, candidates])
        sequences = self._done + [[*self._tokens[parents[i]].tolist(), int(tokens[i])] for i in new]
        flags = np.concatenate([self._done_flags, np.ones(len(new), bool)])
        order = np.argsort(-scores, kind="stable")[:beams]
        self._done = [sequences[i] for i in order]
        self._done_scores, self._done_flags = scores[order], flags[order]

    def _can_improve(self, length: int) -> bool:
        """Whether the best running hypothesis could still beat the worst finished one."""
        settings = self._settings
        never = settings.early_stopping == "never" and settings.length_penalty > 0.0
        best_length = (settings.max_length if never else length) - 1
        best = self._scores[0] / np.float32(best_length**settings.length_penalty)
        return bool(best > self._done_scores.min())


def _shared_length(rows: NDArray[np.int64], first: NDArray[np.int64]) -> int:
    """How many tokens all `rows` [row, length] begin with that `first` [length] begins with too."""
    same = (rows == first).all(axis=0)
    return len(first) if same.all() else int(same.argmin())


def _largest(values: NDArray[np.float32], count: int) -> NDArray[np.intp]:
    """Indices of the `count` largest values, largest first, the earlier of equals first."""
    if count < values.size:
        chosen = np.sort(np.argpartition(values, values.size - count)[-count:])
    else:
        chosen = np.arange(values.size)
    return chosen[np.argsort(-values[chosen], kind="stable")]
