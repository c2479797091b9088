"""What each token of a vocabulary adds to a text, and which tokens would complete a phrase."""

from __future__ import annotations

import codecs
import json
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from models.folder import TOKENIZER, ModelFolderError
from service.chat.phrases import EMPTY, MATCHED, Phrases
from service.engine.forbidden import Moves

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from transformers import PreTrainedTokenizerFast

# What stands in a text for bytes that are no character.
BROKEN = "\ufffd"
# States whose moves are kept, some 50 kB each for 8,000 tokens.
KEPT_STATES = 512


def check_folder(folder: Path) -> None:
    """Look whether the words of a model in a folder can be known by its tokenizer.

    Raises:
        ModelFolderError: they cannot.
    """
    try:
        content = (folder / TOKENIZER).read_text(encoding="utf-8")
    except OSError as error:
        raise ModelFolderError(f"{folder} has no {TOKENIZER}, which --never-say needs.") from error
    _check_decoder(content)


def pieces(tokenizer: PreTrainedTokenizerFast, size: int) -> list[bytes]:
    """The bytes that each token id below `size` stands for in a decoded text; none for special tokens.

    Raises:
        ModelFolderError: the tokenizer is not a byte-level one.
    """
    from transformers.models.gpt2.tokenization_gpt2 import bytes_to_unicode

    _check_decoder(tokenizer.backend_tokenizer.to_str())
    alphabet = {character: byte for byte, character in bytes_to_unicode().items()}
    added = tokenizer.added_tokens_decoder
    special = {*tokenizer.all_special_ids, *(number for number, token in added.items() if token.special)}
    contents = []
    for number, token in enumerate(tokenizer.convert_ids_to_tokens(range(min(size, len(tokenizer))))):
        if number in special or token is None:
            contents.append(b"")
        elif all(character in alphabet for character in token):
            contents.append(bytes(alphabet[character] for character in token))
        else:
            contents.append(token.encode())
    return contents + [b""] * (size - len(contents))


def _check_decoder(content: str) -> None:
    decoder = json.loads(content).get("decoder") or {}
    if decoder.get("type") != "ByteLevel":
        raise ModelFolderError(
            "--never-say works with byte-level tokenizers only, and this model has another; leave it out."
        )


class ForbiddenPhrases:
    """Phrases that no reply may hold, over the tokens of a vocabulary; see `service.engine.forbidden.Forbidden`.

    A state is that of `Phrases`; or, numbered after those, one of them with the first bytes of a character.
    """

    start = EMPTY

    def __init__(self, phrases: Phrases, pieces: Sequence[bytes], *, end: int) -> None:
        """
        Args:
            phrases: what must not be said.
            pieces: the bytes of each token.
            end: the token that ends a text.
        """
        self._phrases = phrases
        self._pieces = pieces
        self._end = end
        self._may_end = phrases.may_end
        self._halves: dict[tuple[int, bytes], int] = {}
        self._of_half: list[tuple[int, bytes]] = []
        # The table as one row, with the place of each state's row in place of the state.
        self._width = phrases.table.shape[1]
        self._rows = phrases.table.ravel().astype(np.intp) * self._width
        self._broken = phrases.read(BROKEN)[0]
        split = [_split(piece) for piece in pieces]
        symbols = [phrases.read(text) for text, _ in split]
        self._tails = [(token, tail) for token, (_, tail) in enumerate(split) if tail]
        self._silent = np.array([token for token, piece in enumerate(pieces) if not piece], np.intp)
        self._continuing = [token for token, piece in enumerate(pieces) if piece and 0x80 <= piece[0] < 0xC0]
        # Longest first, so that the tokens that have a symbol at some place stand in front.
        self._order = np.argsort([-len(read) for read in symbols], kind="stable")
        ordered = [symbols[token] for token in self._order]
        longest = len(ordered[0]) if ordered else 0
        self._columns = [
            np.array([read[place] for read in ordered if len(read) > place], np.intp) for place in range(longest)
        ]
        self.moves = lru_cache(maxsize=KEPT_STATES)(self._moves)

    def may_end(self, state: int) -> bool:
        """Whether a text in this state holds none of the phrases if it ends."""
        return bool(self._may_end[state])

    def _moves(self, state: int) -> Moves:
        """What each token does in a state."""
        whole = len(self._phrases.may_end)
        if state < whole:
            after = self._walk(state)
        else:
            unfinished, head = self._of_half[state - whole]
            # Few tokens finish the character; before the others stands something that is none.
            after = self._walk(int(self._phrases.table[unfinished, self._broken]))
            for token in self._continuing:
                text, tail = _split(head + self._pieces[token])
                after[token] = self._number(self._phrases.follow(unfinished, text), tail)
            after[self._silent] = state
        after[self._end] = state if self.may_end(state) else MATCHED
        return Moves(after, np.flatnonzero(after == MATCHED), ~self._may_end[after])

    def _walk(self, state: int) -> NDArray[np.int32]:
        """The state after each token, from one that is between characters."""
        rows = np.full(len(self._pieces), state * self._width)
        for column in self._columns:
            rows[: len(column)] = self._rows.take(rows[: len(column)] + column)
        after = np.empty(len(rows), np.int32)
        after[self._order] = rows // self._width
        for token, tail in self._tails:
            after[token] = self._number(int(after[token]), tail)
        return after

    def _number(self, state: int, tail: bytes) -> int:
        if state == MATCHED or not tail:
            return state
        half = (state, tail)
        if half not in self._halves:
            self._halves[half] = len(self._may_end)
            self._of_half.append(half)
            broken = self._phrases.table[state, self._broken]
            self._may_end = np.append(self._may_end, self._phrases.may_end[broken])
        return self._halves[half]


def _split(data: bytes) -> tuple[str, bytes]:
    """The characters that some bytes are, and the beginning of one that they end with."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    text = decoder.decode(data)
    return text, decoder.getstate()[0]
