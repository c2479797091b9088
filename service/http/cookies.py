"""How a client remembers its conversation: by the header `X-Session-Id`, and browsers by a cookie."""

from __future__ import annotations

from flask import Response, request

from service.http.origins import familiar
from service.http.proxies import over_tls
from service.serving.runtime import Runtime
from service.settings import ServiceConfig

SESSION_HEADER = "X-Session-Id"
SESSION_COOKIE = "session_id"


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


def remembered(runtime: Runtime) -> str:
    """The id in the browser's cookie; empty for none, and for several, which only another page can have set."""
    if runtime.config.shared_history or not _has_cookies(runtime.config):
        return ""
    cookies = request.cookies.getlist(_cookie(secure=over_tls(request, runtime.config.trusted_proxies)))
    return cookies[0] if len(cookies) == 1 else ""


def _has_cookies(config: ServiceConfig) -> bool:
    return familiar(request, config.cors_origins, config.trusted_proxies)


def _cookie(*, secure: bool) -> str:
    """Its name; over TLS one under which browsers let no other host of the site set it."""
    return f"__Host-{SESSION_COOKIE}" if secure else SESSION_COOKIE
