"""The part that all of them share: a prompt in, a JSON object in the form of our service out."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flask import Flask

HOST = "127.0.0.1"


@dataclass(frozen=True)
class Chatbot:
    """A model that knows no history: it reads the ids of the prompt as they are.

    Attributes:
        tokenizer: of the model.
        generate: source ids in, reply ids without the decoder's start token out.
    """

    tokenizer: Any
    generate: Callable[[list[int]], Sequence[int]]

    def reply(self, prompt: str) -> dict[str, Any]:
        """The reply and the counts of its tokens, special ones left out, as our service gives them."""
        source = self.tokenizer(prompt).input_ids
        ids = self.generate(source)
        special = set(self.tokenizer.all_special_ids)
        return {
            "reply": self.tokenizer.decode(ids, skip_special_tokens=True).strip(),
            "usage": {
                "prompt_tokens": len(source),
                "completion_tokens": sum(token not in special for token in ids),
            },
        }


def create_app(chatbot: Chatbot) -> Flask:
    """The routes, for a model that is loaded already."""
    from flask import Flask, request

    app = Flask(__name__)

    @app.post("/chatbot")
    def chat() -> dict[str, Any]:
        return chatbot.reply(json.loads(request.get_data(as_text=True))["prompt"])

    @app.get("/readyz")
    def ready() -> str:
        return "ready"

    return app


def announce(port: int) -> None:
    """Say where the server listens, as our service does."""
    print(f"Listening on http://{HOST}:{port}", file=sys.stderr, flush=True)
