"""What every place offers where conversations are kept."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from service.conversations.conversation import Conversation, Exchange, name_for_owner

# The model reads a few of the latest; the rest is there to be read back.
KEPT_EXCHANGES = 500


@dataclass(frozen=True)
class Page:
    """Which exchanges of a conversation are read: the latest, up to a number of them and of their bytes.

    Attributes:
        before: only exchanges before so many of those that are kept; None for all.
        max_exchanges: at least 1.
        max_bytes: of their texts in UTF-8; one exchange is read whatever its size.
    """

    before: int | None = None
    max_exchanges: int = KEPT_EXCHANGES
    max_bytes: float = math.inf

    def take(self, latest_first: Iterable[Exchange]) -> tuple[Exchange, ...]:
        """Those of the page, oldest first; at most one beyond them is drawn."""
        exchanges: list[Exchange] = []
        size = 0
        for exchange in latest_first:
            size += len(exchange.message.encode()) + len(exchange.reply.encode())
            if exchanges and size > self.max_bytes:
                break
            exchanges.append(exchange)
            if len(exchanges) == self.max_exchanges:
                break
        return tuple(reversed(exchanges))

    def end(self, count: int) -> int:
        """How many of so many stored exchanges are before its end."""
        return count if self.before is None else min(self.before, count)


WHOLE = Page()


class Store(Protocol):
    """Conversations, bounded in number and age: the least recently answered one makes room. Safe for many threads.

    Each method may raise `StoreUnavailable`; nothing has been stored then, as far as the store can tell.
    """

    @property
    def place(self) -> str:
        """Where they are, in words for the log."""

    @property
    def concerns(self) -> Sequence[str]:
        """What there is to fear for them in that place, each in a sentence that says how to mend it."""

    @property
    def secret(self) -> bytes:
        """Known to this store alone and as lasting as its conversations; see `conversation.id_for_key`."""

    def __len__(self) -> int: ...

    def __contains__(self, conversation_id: str) -> bool: ...

    def read(self, conversation_id: str, page: Page = WHOLE) -> Conversation:
        """A page of what is kept of a conversation, at the cost of that page; to read it does not lengthen its life.

        Raises:
            UnknownConversation: there is none of that id.
        """

    def find(self, conversation_id: str, key: str) -> Exchange | None:
        """The exchange that came with a key, or that stands in the place of one that did.

        Args:
            conversation_id: of any conversation, known or not.
            key: without a space, and not empty.
        """

    def append(self, conversation_id: str, exchange: Exchange, *, version: int, replace: bool = False) -> None:
        """Add to a conversation, of which the last `KEPT_EXCHANGES` are kept. Once this returns, the exchange is safe.

        It gets the number `version + 1`.

        Args:
            conversation_id: of any conversation.
            exchange: what was said.
            version: of the conversation that the exchange goes on with; 0 begins it.
            replace: whether it takes the place of the last exchange, which is gone then.

        Raises:
            UnknownConversation: it is gone; nothing is stored.
            ConversationChanged: it is not at that version, since another exchange came first; nothing is stored.
        """

    def delete(self, conversation_id: str) -> None:
        """Forget a conversation.

        Raises:
            UnknownConversation: there is none of that id.
        """

    def close(self) -> None:
        """Let go of files and connections."""


def name_of(store: Store, conversation_id: str, owner: bytes) -> str:
    """The name under which a store keeps, or will keep, the conversation that a client knows by an id.

    Conversations belong to the API key that began them. Those that were begun while none was asked for keep the name
    that is their id, and so belong to whoever knows it.

    Args:
        store: where it is.
        conversation_id: as the client has it.
        owner: digest of the client's API key; empty if none is asked for.

    Raises:
        StoreUnavailable: see `Store`.
    """
    if not owner:
        return conversation_id
    name = name_for_owner(conversation_id, store.secret, owner)
    return conversation_id if name not in store and conversation_id in store else name
