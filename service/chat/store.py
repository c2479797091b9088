"""What every place offers where conversations are kept."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from service.chat.conversation import Conversation, Exchange, owned

# The model reads a few of the latest; the rest is there to be read back.
KEPT_EXCHANGES = 500


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
        """Known to this store alone and as lasting as its conversations; see `conversation.opened_by`."""

    def __len__(self) -> int: ...

    def __contains__(self, conversation_id: str) -> bool: ...

    def read(self, conversation_id: str) -> Conversation:
        """What is kept of a conversation; to read it does not lengthen its life.

        Raises:
            UnknownConversation: there is none of that id.
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
    name = owned(conversation_id, store.secret, owner)
    return conversation_id if name not in store and conversation_id in store else name
