"""A retry with the same Idempotency-Key gets the stored reply, and never makes a second turn."""

from __future__ import annotations

import threading

import pytest
from flask import Flask

from tests.service import streams
from tests.service.fakes import FakeEngine
from tests.service.visitor import ask, turns

KEY = {"Idempotency-Key": "0123456789abcdef"}


def test_a_retry_in_a_conversation_gets_the_stored_reply(app: Flask, engine: FakeEngine) -> None:
    client = app.test_client()
    session = ask(client, "first").headers["X-Session-Id"]
    answers = [
        ask(client, "second", session_id=session, headers={"Idempotency-Key": "k", "Accept": "application/json"})
        for _ in range(3)
    ]
    assert [answer.status_code for answer in answers] == [200] * 3
    assert answers[0].json == answers[1].json == answers[2].json
    assert "Idempotent-Replayed" not in answers[0].headers
    assert [answer.headers["Idempotent-Replayed"] for answer in answers[1:]] == ["true", "true"]
    assert turns(client, session)[0::2] == ["first", "second"]
    assert len(engine.model.sources) == 2


def test_a_retry_of_a_first_message_finds_its_conversation(app: Flask) -> None:
    answers = [ask(app.test_client(), "Hello", headers=KEY) for _ in range(2)]
    assert answers[0].headers["X-Session-Id"] == answers[1].headers["X-Session-Id"]
    assert answers[0].text == answers[1].text
    assert turns(app.test_client(), answers[0].headers["X-Session-Id"])[0::2] == ["Hello"]


def test_a_key_with_another_prompt_is_refused(app: Flask) -> None:
    client = app.test_client()
    session = ask(client, "one", headers=KEY).headers["X-Session-Id"]
    for where in ({}, {"session_id": session}):
        response = ask(app.test_client(), "two", headers=KEY, **where)
        assert response.status_code == 422
        assert response.text.startswith("This Idempotency-Key came with another prompt before")
    assert turns(client, session)[0::2] == ["one"]


def test_the_same_key_in_another_conversation_is_another_request(app: Flask) -> None:
    sessions = [ask(app.test_client(), "zero").headers["X-Session-Id"] for _ in range(2)]
    for session in sessions:
        response = ask(app.test_client(), "one", session_id=session, headers={"Idempotency-Key": "k"})
        assert "Idempotent-Replayed" not in response.headers
        assert turns(app.test_client(), session)[0::2] == ["zero", "one"]


def test_a_key_that_is_easy_to_guess_opens_no_conversation(app: Flask) -> None:
    response = ask(app.test_client(), "Hello", headers={"Idempotency-Key": "1"})
    assert response.status_code == 422
    assert "at least 16 characters" in response.text


@pytest.mark.parametrize("key", ["", "a b", "x" * 129, "\u00e9" * 20])
def test_a_key_that_is_none_is_refused(app: Flask, key: str) -> None:
    response = ask(app.test_client(), "Hello", headers={"Idempotency-Key": key})
    assert response.status_code == 422
    assert "visible ASCII" in response.text


def test_two_at_once_make_one_turn(app: Flask, engine: FakeEngine) -> None:
    engine.gate.clear()
    answers: list[str] = []
    threads = [
        threading.Thread(target=lambda: answers.append(ask(app.test_client(), "Hello", headers=KEY).text))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    engine.wait_begun()
    engine.gate.set()
    for thread in threads:
        thread.join()
    assert len(set(answers)) == 1
    assert len(engine.model.sources) == 1


def test_a_failed_request_may_be_sent_again(app: Flask, engine: FakeEngine) -> None:
    engine.error = RuntimeError("lost")
    assert ask(app.test_client(), "Hello", headers=KEY).status_code == 500
    engine.error = None
    response = ask(app.test_client(), "Hello", headers=KEY)
    assert response.status_code == 200
    assert "Idempotent-Replayed" not in response.headers


def test_a_stored_reply_can_be_had_as_a_stream(app: Flask) -> None:
    client = app.test_client()
    text = ask(client, "Hello", headers=KEY).text
    response = ask(app.test_client(), "Hello", headers=KEY, stream=True)
    assert response.headers["Idempotent-Replayed"] == "true"
    stream = streams.read(response.iter_encoded())
    assert stream.text == text
    assert stream.done is not None


def test_a_message_to_a_conversation_that_was_forgotten_while_it_waited_is_refused(
    app: Flask, engine: FakeEngine
) -> None:
    session = ask(app.test_client(), "first").headers["X-Session-Id"]
    engine.wait_begun()
    engine.gate.clear()
    statuses: list[int] = []
    threads = [
        threading.Thread(target=lambda: statuses.append(ask(app.test_client(), "more", session_id=session).status_code))
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    engine.wait_begun()
    assert app.test_client().delete(f"/sessions/{session}").status_code == 204
    engine.gate.set()
    for thread in threads:
        thread.join()
    assert statuses == [404, 404]
    assert app.test_client().get(f"/sessions/{session}").status_code == 404
