"""`/sessions/{id}`: read a conversation, forget it."""

from __future__ import annotations

import re
from collections.abc import Sequence

from flask import Blueprint, Response, g, request

from service.chat.conversation import Exchange
from service.chat.store import Store, name_of
from service.errors import InvalidPrompt
from service.schemas.conversation import ConversationBody, Turn

# Of the texts of one answer; most conversations are shorter.
PAGE_BYTES = 128 * 1024
NUMBER = re.compile(r"[0-9]{1,9}")


def blueprint(store: Store) -> Blueprint:
    """The routes, bound to the store they read."""
    routes = Blueprint("sessions", __name__)

    @routes.get("/sessions/<session_id>")
    def read(session_id: str) -> Response:
        exchanges = store.read(name_of(store, session_id, g.owner)).exchanges
        asked = exchanges[: _before(2 * len(exchanges)) // 2]
        page = _page(asked)
        body = ConversationBody(
            session_id=session_id,
            turns=[turn for said in page for turn in _turns(said)],
            truncated_turns=exchanges[-1].truncated_turns,
            earlier_turns=2 * (len(asked) - len(page)),
        )
        return Response(body.model_dump_json(), mimetype="application/json")

    @routes.delete("/sessions/<session_id>")
    def forget(session_id: str) -> Response:
        store.delete(name_of(store, session_id, g.owner))
        return Response(status=204)

    return routes


def _before(all_turns: int) -> int:
    """Up to which turn is asked for; up to the last one if nothing is said."""
    asked = request.args.get("before", "")
    if "before" in request.args and not NUMBER.fullmatch(asked):
        raise InvalidPrompt("before must be a whole number, such as the earlier_turns of the page after it.")
    return min(int(asked), all_turns) if asked else all_turns


def _page(exchanges: Sequence[Exchange]) -> Sequence[Exchange]:
    """The latest that fit a page, one at least."""
    size = 0
    for number, said in enumerate(reversed(exchanges)):
        size += len(said.message.encode()) + len(said.reply.encode())
        if size > PAGE_BYTES and number:
            return exchanges[-number:]
    return exchanges


def _turns(exchange: Exchange) -> tuple[Turn, Turn]:
    number = exchange.number
    said = Turn(speaker="user", text=exchange.message, exchange=number, truncated_tokens=exchange.truncated_tokens)
    return said, Turn(speaker="bot", text=exchange.reply, exchange=number, truncated_tokens=0)
