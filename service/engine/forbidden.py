"""What a reply must not hold, as the engine needs to know it: states of a text and what each token does to them."""

from __future__ import annotations

from collections.abc import Sequence as Ids
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

# State of a text that holds what it must not.
FORBIDDEN = 0


@dataclass(frozen=True)
class Moves:
    """What each token of the vocabulary does to a text in one state.

    Attributes:
        after: the state after each token, int32 [vocabulary].
        banned: tokens that must not come, since `FORBIDDEN` follows, lowest first.
        unsafe: tokens after which the text must not end, those among them, bool [vocabulary]. What it must not hold may
            be complete then: that depends on what comes next.
    """

    after: NDArray[np.int32]
    banned: NDArray[np.intp]
    unsafe: NDArray[np.bool_]


class Forbidden(Protocol):
    """An automaton over the tokens of a vocabulary."""

    @property
    def start(self) -> int:
        """State of an empty text."""

    def moves(self, state: int) -> Moves:
        """What each token does."""

    def may_end(self, state: int) -> bool:
        """Whether a text in this state may end."""


def last_banned(forbidden: Forbidden, moves: Moves, forced: int | None, end: int) -> NDArray[np.bool_]:
    """Tokens that must not be the last one chosen, bool [vocabulary].

    Args:
        forbidden: what the text must not hold.
        moves: of its state.
        forced: a token that comes after the chosen one in any case; None for none.
        end: the end token.
    """
    if forced in (None, end):
        return moves.unsafe
    states, which = np.unique(moves.after, return_inverse=True)
    fatal = [state == FORBIDDEN or forbidden.moves(int(state)).unsafe[forced] for state in states]
    return np.array(fatal, bool)[which]


def presentable(forbidden: Forbidden, ids: Ids[int]) -> list[int]:
    """The longest beginning of a text that may end where it does."""
    state, size = forbidden.start, 0
    for place, token in enumerate(ids, 1):
        state = int(forbidden.moves(state).after[token])
        if state == FORBIDDEN:
            break
        if forbidden.may_end(state):
            size = place
    return list(ids[:size])
