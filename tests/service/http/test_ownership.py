"""Conversations and Idempotency-Keys belong to the API key that made them."""

from __future__ import annotations

from pathlib import Path

import pytest
from flask import Flask

from service.serving.model_host import ServedModel
from tests.service.conftest import Application
from tests.service.visitor import ask, turns

FIRST, SECOND = "first-key-0123456789", "second-key-0123456789"
HEADER = "X-Session-Id"
OPENING = "order-0000000000-n"


def bearer(key: str, **headers: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}", **{name.replace("_", "-"): value for name, value in headers.items()}}


@pytest.fixture
def app(application: Application, faked: ServedModel) -> Flask:
    return application(faked, api_keys=(FIRST, SECOND))


def test_a_key_reads_continues_and_deletes_its_own_conversations_only(app: Flask) -> None:
    client = app.test_client(use_cookies=False)
    session = ask(client, "one", headers=bearer(FIRST)).headers[HEADER]
    path = f"/sessions/{session}"
    assert client.get(path, headers=bearer(SECOND)).status_code == 404
    assert client.delete(path, headers=bearer(SECOND)).status_code == 404
    assert ask(client, "two", headers=bearer(SECOND), session_id=session).status_code == 404
    assert ask(client, "two", headers=bearer(SECOND, X_Session_Id=session)).status_code == 404
    other = ask(client, "two", headers=bearer(SECOND, Cookie=f"session_id={session}"))
    assert other.headers[HEADER] != session
    kept = ask(client, "two", headers=bearer(FIRST, Cookie=f"session_id={session}"))
    assert kept.headers[HEADER] == session
    assert [turn["text"] for turn in client.get(path, headers=bearer(FIRST)).get_json()["turns"]][0::2] == [
        "one",
        "two",
    ]
    assert client.delete(path, headers=bearer(FIRST)).status_code == 204


def test_an_idempotency_key_of_one_api_key_is_nothing_to_another(app: Flask) -> None:
    client = app.test_client(use_cookies=False)
    first = ask(client, "mine", headers=bearer(FIRST, Idempotency_Key=OPENING))
    again = ask(client, "mine", headers=bearer(FIRST, Idempotency_Key=OPENING))
    assert again.headers["Idempotent-Replayed"] == "true"
    other = ask(client, "mine", headers=bearer(SECOND, Idempotency_Key=OPENING))
    assert other.status_code == 200
    assert "Idempotent-Replayed" not in other.headers
    assert other.headers[HEADER] != first.headers[HEADER]
    assert ask(client, "another", headers=bearer(FIRST, Idempotency_Key=OPENING)).status_code == 422


def test_conversations_from_before_there_were_keys_belong_to_whoever_knows_their_id(
    application: Application, faked: ServedModel, tmp_path: Path
) -> None:
    store = str(tmp_path / "conversations")
    before = application(faked, store=store).test_client(use_cookies=False)
    session = ask(before, "one").headers[HEADER]
    after = application(faked, store=store, api_keys=(FIRST, SECOND)).test_client(use_cookies=False)
    for key in (FIRST, SECOND):
        assert after.get(f"/sessions/{session}", headers=bearer(key)).status_code == 200
    assert ask(after, "two", headers=bearer(FIRST), session_id=session).status_code == 200
    assert turns(before, session)[0::2] == ["one", "two"]


def test_a_shared_conversation_is_shared_by_all_keys(application: Application, faked: ServedModel) -> None:
    client = application(faked, api_keys=(FIRST, SECOND), shared_history=True).test_client()
    session = ask(client, "one", headers=bearer(FIRST)).headers[HEADER]
    assert ask(client, "two", headers=bearer(SECOND)).headers[HEADER] == session
    assert len(client.get(f"/sessions/{session}", headers=bearer(SECOND)).get_json()["turns"]) == 4
