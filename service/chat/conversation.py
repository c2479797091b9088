"""What a conversation is made of."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass

ID_BYTES = 16


def new_id() -> str:
    """A fresh conversation id, 128 random bits: whoever does not know it cannot guess it."""
    return secrets.token_urlsafe(ID_BYTES)


@dataclass(frozen=True)
class Exchange:
    """A message and its reply; they are stored together or not at all.

    Attributes:
        message: what the user said.
        reply: what the bot said.
        prompt_tokens: tokens of the history that the model read.
        completion_tokens: tokens of the reply.
        truncated_turns: oldest turns that did not fit the model's window.
        key: the client's name for the request, by which a retry is known; empty for none.
    """

    message: str
    reply: str
    prompt_tokens: int = 0
    completion_tokens: int = 0
    truncated_turns: int = 0
    key: str = ""


def turns(exchanges: Sequence[Exchange]) -> list[str]:
    """The user's and the bot's words in turn, oldest first."""
    return [text for exchange in exchanges for text in (exchange.message, exchange.reply)]
