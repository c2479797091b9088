"""Which conversation a request means, and how the client remembers it."""

from __future__ import annotations

from dataclasses import dataclass

from flask import Response, g, request

from service.api.origins import familiar
from service.api.proxies import over_tls
from service.chat.conversation import new_id, opened_by
from service.chat.store import name_of
from service.errors import InvalidPrompt
from service.runtime import Runtime
from service.settings import ServiceConfig

SESSION_HEADER = "X-Session-Id"
SESSION_COOKIE = "session_id"
KEY_HEADER = "Idempotency-Key"
# A key that opens a conversation stands for its id, and must be as hard to guess.
SHORTEST_OPENING_KEY = 16


@dataclass(frozen=True)
class Found:
    """The conversation that a request means.

    Attributes:
        id: by which the client knows it.
        name: under which the store keeps it.
        fresh: whether it may begin with this request.
    """

    id: str
    name: str
    fresh: bool


def find(runtime: Runtime, session_id: str | None, key: str = "") -> Found:
    """Body before header before cookie; a named conversation must exist, an unknown cookie starts a fresh one.

    Args:
        runtime: has the store and the settings.
        session_id: as the body has it.
        key: of the request, which stands for the conversation that it opens; empty for none.

    Raises:
        InvalidPrompt: a key that is too short to open a conversation.
    """
    store, shared = runtime.store, runtime.config.shared_history

    def found(conversation_id: str, *, fresh: bool) -> Found:
        common = shared and conversation_id == runtime.shared_conversation
        name = conversation_id if common else name_of(store, conversation_id, g.owner)
        return Found(conversation_id, name, fresh or common)

    explicit = session_id or request.headers.get(SESSION_HEADER)
    if explicit:
        return found(explicit, fresh=False)
    remembered = _remembered(runtime)
    if remembered and name_of(store, remembered, g.owner) in store:
        return found(remembered, fresh=False)
    if key and len(key) < SHORTEST_OPENING_KEY:
        raise InvalidPrompt(
            f"Without a session_id, the header {KEY_HEADER} must be at least {SHORTEST_OPENING_KEY} characters, "
            "such as a UUID, since it alone tells the request from those of others."
        )
    if shared:
        return found(runtime.shared_conversation, fresh=True)
    return found(opened_by(key, store.secret, g.owner) if key else new_id(), fresh=True)


def remember(response: Response, runtime: Runtime, conversation_id: str) -> None:
    """Tell the client which conversation it was."""
    response.headers[SESSION_HEADER] = conversation_id
    if conversation_id != runtime.shared_conversation and _has_cookies(runtime.config):
        secure = over_tls(request, runtime.config.trusted_proxies)
        response.set_cookie(
            _cookie(secure=secure),
            conversation_id,
            max_age=int(runtime.config.conversation_ttl_s),
            httponly=True,
            samesite="Lax",
            secure=secure,
        )


def _remembered(runtime: Runtime) -> str:
    """The id in the browser's cookie; empty for none, and for several, which only another page can have set."""
    if runtime.config.shared_history or not _has_cookies(runtime.config):
        return ""
    found = request.cookies.getlist(_cookie(secure=over_tls(request, runtime.config.trusted_proxies)))
    return found[0] if len(found) == 1 else ""


def _has_cookies(config: ServiceConfig) -> bool:
    return familiar(request, config.cors_origins, config.trusted_proxies)


def _cookie(*, secure: bool) -> str:
    """Its name; over TLS one under which browsers let no other host of the site set it."""
    return f"__Host-{SESSION_COOKIE}" if secure else SESSION_COOKIE
