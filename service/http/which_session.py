"""Which conversation a request means."""

from __future__ import annotations

from dataclasses import dataclass

from flask import g, request

from service.conversations.conversation import id_for_key, new_id
from service.conversations.store import name_of
from service.errors import InvalidPrompt
from service.http.cookies import SESSION_HEADER, remembered
from service.serving.runtime import Runtime

KEY_HEADER = "Idempotency-Key"
# A key that opens a conversation stands for its id, and must be as hard to guess.
SHORTEST_OPENING_KEY = 16


@dataclass(frozen=True)
class ConversationRef:
    """The conversation that a request means.

    Attributes:
        id: by which the client knows it.
        name: under which the store keeps it.
        fresh: whether it may begin with this request.
    """

    id: str
    name: str
    fresh: bool


def find_conversation(runtime: Runtime, session_id: str | None, key: str = "") -> ConversationRef:
    """Body before header before cookie; a named conversation must exist, an unknown cookie starts a fresh one.

    Args:
        runtime: has the store and the settings.
        session_id: as the body has it.
        key: of the request, which stands for the conversation that it opens; empty for none.

    Raises:
        InvalidPrompt: a key that is too short to open a conversation.
    """
    store, shared = runtime.store, runtime.config.shared_history

    def reference(conversation_id: str, *, fresh: bool) -> ConversationRef:
        common = shared and conversation_id == runtime.shared_conversation
        name = conversation_id if common else name_of(store, conversation_id, g.owner)
        return ConversationRef(conversation_id, name, fresh or common)

    explicit = session_id or request.headers.get(SESSION_HEADER)
    if explicit:
        return reference(explicit, fresh=False)
    in_cookie = remembered(runtime)
    if in_cookie and name_of(store, in_cookie, g.owner) in store:
        return reference(in_cookie, fresh=False)
    if key and len(key) < SHORTEST_OPENING_KEY:
        raise InvalidPrompt(
            f"Without a session_id, the header {KEY_HEADER} must be at least {SHORTEST_OPENING_KEY} characters, "
            "such as a UUID, since it alone tells the request from those of others."
        )
    if shared:
        return reference(runtime.shared_conversation, fresh=True)
    return reference(id_for_key(key, store.secret, g.owner) if key else new_id(), fresh=True)
