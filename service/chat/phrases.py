"""Words and phrases that a text must not hold, found as the text is read, character by character."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from enum import IntEnum
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from service.chat.words import Kind, read_character, words

if TYPE_CHECKING:
    from numpy.typing import NDArray

# State of a text that holds one, which it keeps; and that of an empty text.
MATCHED = 0
EMPTY = 1


class _Contraction(IntEnum):
    """How far a text is into an ending n't, whose n belongs to the word before it: "don't" does not hold "don"."""

    NONE = 0
    APOSTROPHE = 1
    COMPLETE = 2


class _State(NamedTuple):
    """What a text read so far may become.

    Attributes:
        places: in the phrases, as far as they fit; 0, their common beginning, between words.
        contraction: see `_Contraction`; a phrase ended at the apostrophe unless the word goes on as one.
    """

    places: frozenset[int]
    contraction: _Contraction = _Contraction.NONE


class Phrases:
    """An automaton for phrases, each a sequence of whole words with anything but words between them.

    Attributes:
        table: int32 [state, symbol]: the state that follows.
        may_end: bool [state]: whether the text holds none of the phrases if it ends here.
    """

    table: NDArray[np.int32]
    may_end: NDArray[np.bool_]

    def __init__(self, phrases: Iterable[str]) -> None:
        """
        Args:
            phrases: each with a word in it.
        """
        self._symbols: dict[str, int] = {}
        self._kinds = list(Kind)
        self._n, self._t = (self._symbol(letter, Kind.LETTER) for letter in "nt")
        # Places in the phrases: a tree, but for the ways through " n't".
        self._ways: list[defaultdict[int, list[int]]] = [defaultdict(list)]
        self._between = {0}
        self._after_n: set[int] = set()
        self._complete: set[int] = set()
        for phrase in phrases:
            self._add([[self._symbol(*letter) for letter in word] for word in words(phrase)])
        self._determinise()

    def read(self, text: str) -> list[int]:
        """The symbols of a text."""
        return [self._symbols.get(part, int(kind)) for char in text for part, kind in read_character(char)]

    def follow(self, state: int, text: str) -> int:
        """The state after more text."""
        for symbol in self.read(text):
            state = int(self.table[state, symbol])
        return state

    def holds(self, text: str) -> bool:
        """Whether a text holds one of the phrases."""
        return not self.may_end[self.follow(EMPTY, text)]

    def clean(self, text: str) -> str:
        """The longest beginning of a text that holds none of the phrases."""
        state, size = EMPTY, 0
        for place, character in enumerate(text, 1):
            state = self.follow(state, character)
            if self.may_end[state]:
                size = place
        return text[:size]

    def _symbol(self, part: str, kind: Kind) -> int:
        if kind in (Kind.GAP, Kind.APOSTROPHE):
            return int(kind)
        if part not in self._symbols:
            self._symbols[part] = len(self._kinds)
            self._kinds.append(kind)
        return self._symbols[part]

    def _add(self, phrase: list[list[int]]) -> None:
        place = 0
        for word, following in zip(phrase, [*phrase[1:], []], strict=True):
            for symbol in word[:-1]:
                place = self._grow(place, symbol)
            before, place = place, self._grow(place, word[-1])
            if word[-1] == self._n:
                self._after_n.add(place)
                if len(word) > 1 and following == [self._t]:
                    # Tokenizers that tidy up make "don't" of "do n't".
                    gap = self._grow(before, Kind.GAP)
                    self._ways[gap][self._n].append(place)
            place = self._grow(place, Kind.GAP)
        self._complete.add(place)

    def _grow(self, place: int, symbol: int) -> int:
        ways = self._ways[place][symbol]
        if not ways:
            ways.append(len(self._ways))
            self._ways.append(defaultdict(list))
            if symbol == Kind.GAP:
                self._between.add(ways[0])
        return ways[0]

    def _determinise(self) -> None:
        """Number the states that can be reached, and tabulate what follows each."""
        kinds = np.array(self._kinds)
        numbers: dict[_State | None, int] = {None: MATCHED, _State(frozenset({0})): EMPTY}
        reached = list(numbers)
        rows = []
        for state in reached:
            if state is None:
                rows.append(np.zeros(len(kinds), np.int32))
                continue
            expected = {self._t}.union(*(self._ways[place] for place in state.places | self._closed(state.places)))
            following = {symbol: self._step(state, symbol) for symbol in (*map(int, Kind), *expected)}
            for successor in following.values():
                if successor not in numbers:
                    numbers[successor] = len(reached)
                    reached.append(successor)
            row = np.array([numbers[following[int(kind)]] for kind in Kind], np.int32)[kinds]
            for symbol in expected:
                row[symbol] = numbers[following[symbol]]
            rows.append(row)
        self.table = np.stack(rows)
        self.may_end = self.table[:, Kind.GAP] != MATCHED

    def _step(self, state: _State, symbol: int) -> _State | None:
        """What follows; None when a phrase is complete."""
        places, contraction = state
        kind = self._kinds[symbol]
        if contraction is _Contraction.APOSTROPHE:
            return _State(self._after(places, symbol), _Contraction.COMPLETE) if symbol == self._t else None
        if kind is Kind.MARK and 0 in places:
            return state
        if kind in (Kind.LETTER, Kind.MARK):
            return None if contraction else _State(self._after(places, symbol))
        closed = self._closed(places)
        if closed & self._complete:
            if kind is Kind.APOSTROPHE and not contraction and places & self._after_n:
                return _State(closed, _Contraction.APOSTROPHE)
            return None
        if kind in (Kind.GAP, Kind.APOSTROPHE):
            return _State(closed)
        # A word by itself. A sign may also stand between the words of a phrase.
        ended = self._after(self._after(closed, symbol), Kind.GAP)
        if ended & self._complete:
            return None
        return _State(ended | (closed if kind is Kind.SIGN else {0}))

    def _after(self, places: frozenset[int], symbol: int) -> frozenset[int]:
        return frozenset(way for place in places for way in self._ways[place].get(symbol, ()))

    def _closed(self, places: frozenset[int]) -> frozenset[int]:
        """The places after the end of a word."""
        return self._after(places, Kind.GAP) | (places & self._between) | {0}
