"""How a visitor asks, through Flask's test client."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from flask.testing import FlaskClient
from werkzeug.test import TestResponse

JSON = {"Accept": "application/json"}


def ask(
    client: FlaskClient, prompt: str = "Hello there", *, headers: Mapping[str, str] | None = None, **fields: object
) -> TestResponse:
    """Send one message; `fields` stand in the body beside the prompt."""
    return client.post("/chatbot", data=json.dumps({"prompt": prompt, **fields}), headers=dict(headers or {}))


def ask_json(
    client: FlaskClient, prompt: str = "Hello there", *, headers: Mapping[str, str] | None = None, **fields: object
) -> dict[str, Any]:
    """Send one message and read the reply as JSON."""
    response = ask(client, prompt, headers={**(headers or {}), **JSON}, **fields)
    assert response.status_code == 200, response.text
    content = response.get_json()
    assert isinstance(content, dict)
    return content


def turns(client: FlaskClient, session_id: str) -> list[str]:
    """Texts of a conversation as `/sessions` shows them."""
    response = client.get(f"/sessions/{session_id}")
    assert response.status_code == 200, response.text
    return [turn["text"] for turn in response.get_json()["turns"]]
