"""Turns of text to the token ids the model was trained on, and back."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

TURN_SEPARATOR = "  "
# " n't", the longest of what transformers draws to the word before it.
LONGEST_CLEANED = 4
CONTROL_CHARACTERS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")


@dataclass(frozen=True)
class Prompt:
    """The input of one reply.

    Attributes:
        ids: token ids, at most the window, ending in the end token.
        truncated_turns: oldest turns that did not fit.
        truncated_tokens: tokens at the beginning of the newest turn that did not fit, since it is too long by itself.
    """

    ids: list[int]
    truncated_turns: int
    truncated_tokens: int = 0


def clean(text: str) -> str:
    """One turn as the model knows turns: a single line, no control characters, no space around it."""
    return CONTROL_CHARACTERS.sub(" ", text).strip()


class PromptFormat:
    """Blenderbot's history format: two spaces between turns, each turn led by one space, `</s>` at the end."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast, *, window: int) -> None:
        """
        Args:
            tokenizer: of the served model; set here so that special tokens typed by users stay plain text.
            window: positions of the encoder, in tokens.
        """
        tokenizer.split_special_tokens = True
        self._tokenizer = tokenizer
        self._window = window
        self._separator = len(self._encode(TURN_SEPARATOR))

    @property
    def window(self) -> int:
        """Tokens of the longest prompt, the end token included."""
        return self._window

    def encode(self, turns: Sequence[str], *, earlier: int = 0) -> Prompt:
        """Encode a history, newest turn last, dropping whole oldest turns until it fits the window.

        A newest turn that is too long by itself loses its beginning.

        Args:
            turns: a window's worth of the latest at least; each takes a token.
            earlier: turns before them.
        """
        room = self._window - 1
        fitting: list[str] = []
        for turn in reversed(turns):
            text = " " + clean(turn)
            size = len(self._encode(text)) + (self._separator if fitting else 0)
            if fitting and size > room:
                break
            fitting.insert(0, text)
            room -= size
        ids = self._encode(TURN_SEPARATOR.join(fitting))
        excess = max(0, len(ids) - (self._window - 1))
        truncated = earlier + len(turns) - len(fitting)
        return Prompt([*ids[excess:], self._end], truncated, excess if len(fitting) == 1 else 0)

    def decode(self, ids: Sequence[int]) -> str:
        """Text of a reply, special tokens left out."""
        return str(self._tokenizer.decode(ids, skip_special_tokens=True)).strip()

    def certain(self, ids: Sequence[int]) -> str:
        """What the text of a reply begins with, whatever follows its first tokens `ids`.

        Half characters and space at the end are held back, and where the tokenizer takes the space before some signs
        away, so is a last short word that it may yet change.
        """
        text = self.decode(ids).rstrip("\ufffd").rstrip()
        if self._tokenizer.clean_up_tokenization_spaces:
            space = text.rfind(" ", max(0, len(text) - LONGEST_CLEANED))
            text = text[:space].rstrip() if space >= 0 else text
        return text

    def count(self, ids: Sequence[int]) -> int:
        """Tokens of a reply as a user counts them: special tokens left out."""
        special = set(self._tokenizer.all_special_ids)
        return sum(token not in special for token in ids)

    @property
    def _end(self) -> int:
        return int(self._tokenizer.eos_token_id)

    def _encode(self, text: str) -> list[int]:
        return list(self._tokenizer(text, add_special_tokens=False, verbose=False).input_ids)
