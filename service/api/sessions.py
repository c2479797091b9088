"""`/sessions/{id}`: read a conversation, forget it."""

from __future__ import annotations

from flask import Blueprint, Response, jsonify

from service.chat.conversation import turns
from service.chat.store import Store


def blueprint(store: Store) -> Blueprint:
    """The routes, bound to the store they read."""
    routes = Blueprint("sessions", __name__)

    @routes.get("/sessions/<conversation_id>")
    def read(conversation_id: str) -> Response:
        exchanges = store.read(conversation_id).exchanges
        texts = turns(exchanges)
        speakers = ("user", "bot")
        return jsonify(
            {
                "session_id": conversation_id,
                "turns": [{"speaker": speakers[i % 2], "text": text} for i, text in enumerate(texts)],
                "truncated_turns": exchanges[-1].truncated_turns if exchanges else 0,
            }
        )

    @routes.delete("/sessions/<conversation_id>")
    def forget(conversation_id: str) -> Response:
        store.delete(conversation_id)
        return Response(status=204)

    return routes
