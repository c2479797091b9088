"""What a conversation is made of."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field

ID_BYTES = 16
# No client can send this as its key: keys hold no space.
SHARED = "shared history"
# Keys hold no such byte either.
OWNED = b"\0owned\0"


def new_id() -> str:
    """A fresh conversation id, 128 random bits: whoever does not know it cannot guess it."""
    return secrets.token_urlsafe(ID_BYTES)


def id_for_key(key: str, secret: bytes, owner: bytes = b"") -> str:
    """The id of the conversation that a request of this key opens, the same each time.

    Args:
        key: the client's name for the request, as hard to guess as an id, since it stands for one.
        secret: of the store that the conversation will be kept in; without it no id can be computed from its key.
        owner: digest of the API key that it will belong to; empty for none.
    """
    return _id_of(secret, owner + key.encode())


def name_for_owner(conversation_id: str, secret: bytes, owner: bytes) -> str:
    """The name under which a store keeps the conversation that an owner knows by an id: another one for each owner.

    Args:
        conversation_id: as clients have it.
        secret: of the store.
        owner: digest of the API key that the conversation belongs to.
    """
    return _id_of(secret, OWNED + owner + conversation_id.encode())


def _id_of(secret: bytes, meaning: bytes) -> str:
    digest = hmac.digest(secret, meaning, hashlib.sha256)
    return base64.urlsafe_b64encode(digest[:ID_BYTES]).rstrip(b"=").decode()


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
        truncated_tokens: tokens at the beginning of the message that did not fit the model's window.
        request: what the request said beside the message, as JSON; empty for nothing.
        replaced: keys of the exchanges in whose place it stands, a space between; empty for none.
        number: its place among all exchanges that the conversation has ever had, from 1; its store gives it.
    """

    message: str
    reply: str
    prompt_tokens: int = 0
    completion_tokens: int = 0
    truncated_turns: int = 0
    key: str = ""
    truncated_tokens: int = 0
    request: str = ""
    replaced: str = ""
    number: int = field(default=0, compare=False)

    @property
    def keys(self) -> list[str]:
        """Its key, and those of the exchanges in whose place it stands."""
        return [*self.replaced.split(), *([self.key] if self.key else [])]


@dataclass(frozen=True)
class Conversation:
    """A conversation as a store has it, or a page of it.

    Attributes:
        exchanges: those that were asked for, oldest first.
        version: exchanges that it has ever had, replaced ones too, and so the number of the last one; 0 for one that
            has not begun.
        earlier: exchanges that are kept before these.
    """

    exchanges: Sequence[Exchange] = ()
    version: int = 0
    earlier: int = 0


def turns(exchanges: Sequence[Exchange]) -> list[str]:
    """The user's and the bot's words in turn, oldest first."""
    return [text for exchange in exchanges for text in (exchange.message, exchange.reply)]
