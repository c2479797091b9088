"""`/sessions/{id}`: read a conversation, forget it."""

from __future__ import annotations

from flask import Blueprint, Response, jsonify

from service.chat.conversation import Exchange
from service.chat.store import Store
from service.schemas.conversation import ConversationBody, Turn


def blueprint(store: Store) -> Blueprint:
    """The routes, bound to the store they read."""
    routes = Blueprint("sessions", __name__)

    @routes.get("/sessions/<session_id>")
    def read(session_id: str) -> Response:
        exchanges = store.read(session_id).exchanges
        body = ConversationBody(
            session_id=session_id,
            turns=[turn for said in exchanges for turn in _turns(said)],
            truncated_turns=exchanges[-1].truncated_turns,
        )
        return jsonify(body.model_dump())

    @routes.delete("/sessions/<session_id>")
    def forget(session_id: str) -> Response:
        store.delete(session_id)
        return Response(status=204)

    return routes


def _turns(exchange: Exchange) -> tuple[Turn, Turn]:
    said = Turn(speaker="user", text=exchange.message, truncated_tokens=exchange.truncated_tokens)
    return said, Turn(speaker="bot", text=exchange.reply, truncated_tokens=0)
