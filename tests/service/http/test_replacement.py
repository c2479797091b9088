"""The last exchange can be replaced, by what was meant to replace it and nothing else, and only once."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from service.chat.chatbot import KEPT_KEYS, Chatbot
from service.chat.prompt import PromptFormat
from service.serving.model_host import ServedModel
from tests.service import streams
from tests.service.conftest import Application
from tests.service.conversations.conftest import redis_server
from tests.service.fakes import FakeEngine
from tests.service.visitor import ask, ask_json, turns

__all__ = ["redis_server"]


@pytest.fixture(params=["memory", "sqlite", "redis"])
def make_app(
    request: pytest.FixtureRequest,
    application: Application,
    served: ServedModel,
    engine: FakeEngine,
    prompt_format: PromptFormat,
    tmp_path: Path,
) -> Callable[[], Flask]:
    """Makes services on one store of each kind."""
    if request.param == "redis":
        place = request.getfixturevalue("redis_server").url()
    else:
        place = {"memory": "memory", "sqlite": str(tmp_path / "conversations.sqlite3")}[request.param]
    return lambda: application(replace(served, chatbot=Chatbot(engine, prompt_format)), store=place)


@pytest.fixture
def client(make_app: Callable[[], Flask]) -> FlaskClient:
    return make_app().test_client()


def key(name: str) -> dict[str, str]:
    return {"Idempotency-Key": f"{name:0>16}"}


def test_a_message_can_be_said_differently(client: FlaskClient, engine: FakeEngine) -> None:
    session = ask_json(client, "first")["session_id"]
    second = ask_json(client, "second", session_id=session)
    assert second["exchange"] == 2
    read = engine.model.sources[-1]
    better = ask_json(client, "second", session_id=session, replace=2)
    assert better["exchange"] == 3
    assert engine.model.sources[-1] == read
    assert ask_json(client, "other", session_id=session, replace=3)["exchange"] == 4
    assert turns(client, session)[0::2] == ["first", "other"]
    assert [turn["exchange"] for turn in client.get(f"/sessions/{session}").get_json()["turns"]] == [1, 1, 4, 4]


def test_the_first_message_can_be_replaced(client: FlaskClient, engine: FakeEngine) -> None:
    session = ask_json(client, "first")["session_id"]
    ask_json(client, "better", session_id=session, replace=1)
    assert turns(client, session)[0::2] == ["better"]


@pytest.mark.parametrize("named", [1, 3, 99])
def test_another_exchange_than_the_last_one_is_not_replaced(client: FlaskClient, named: int) -> None:
    session = ask_json(client, "first")["session_id"]
    ask(client, "second", session_id=session)
    response = ask(client, "late", session_id=session, replace=named, headers={"Accept": "application/json"})
    assert response.status_code == 409
    assert response.get_json()["title"] == "not_the_last_exchange"
    assert f"Exchange {named} is not the last one of this conversation, which is 2" in response.text
    assert turns(client, session)[0::2] == ["first", "second"]


def test_a_retry_of_a_replacement_gets_its_reply_and_replaces_nothing_more(
    client: FlaskClient, engine: FakeEngine
) -> None:
    session = ask_json(client, "first")["session_id"]
    fields: dict[str, Any] = {"session_id": session, "replace": 1, "temperature": 0.7, "headers": key("a")}
    answers = [ask_json(client, "better", **fields) for _ in range(3)]
    assert answers[0] == answers[1] == answers[2]
    assert answers[0]["exchange"] == 2
    ask(client, "next", session_id=session)
    assert ask_json(client, "better", **fields) == answers[0]
    assert turns(client, session)[0::2] == ["better", "next"]
    assert len(engine.model.sources) == 3


def test_a_late_retry_of_what_was_replaced_is_told_so_and_says_nothing_twice(client: FlaskClient) -> None:
    session = ask_json(client, "first", headers=key("first"))["session_id"]
    ask(client, "better", session_id=session, replace=1, headers=key("better"))
    ask(client, "best", session_id=session, replace=2, headers=key("best"))
    for name, fields in (("first", {}), ("better", {"replace": 1})):
        for where in ({}, {"session_id": session}):
            response = ask(client, name, headers=key(name) | {"Accept": "application/json"}, **fields, **where)
            assert response.status_code == 409
            assert response.get_json()["title"] == "exchange_replaced"
    assert turns(client, session)[0::2] == ["best"]


def test_no_more_keys_of_replaced_messages_are_kept_than_are_needed(client: FlaskClient) -> None:
    session = ask_json(client, "message 0", headers=key("0"))["session_id"]
    for number in range(1, KEPT_KEYS + 2):
        ask(client, f"message {number}", session_id=session, replace=number, headers=key(str(number)))
    late = [ask(client, f"message {n}", session_id=session, headers=key(str(n))).status_code for n in (1, KEPT_KEYS)]
    assert late == [409, 409]


@pytest.mark.parametrize("changed", [{"temperature": 0.5}, {"seed": 8}, {"replace": 2}, {"temperature": None}])
def test_a_key_with_another_wish_is_refused(client: FlaskClient, changed: dict[str, object]) -> None:
    session = ask_json(client, "first")["session_id"]
    fields: dict[str, Any] = {"session_id": session, "replace": 1, "temperature": 0.7, "seed": 7}
    assert ask(client, "better", headers=key("a"), **fields).status_code == 200
    response = ask(client, "better", headers=key("a"), **(fields | changed))
    assert response.status_code == 422
    assert "came with another temperature, seed or replace before" in response.text


def test_a_replacement_that_is_broken_off_leaves_what_was_there(client: FlaskClient, engine: FakeEngine) -> None:
    session = ask_json(client, "first")["session_id"]
    engine.gate.clear()
    response = ask(client, "better", session_id=session, replace=1, stream=True)
    next(response.iter_encoded())
    response.close()
    engine.gate.set()
    assert turns(client, session)[0::2] == ["first"]
    assert ask_json(client, "second", session_id=session)["exchange"] == 2


def test_of_a_message_and_a_replacement_that_come_together_the_later_one_finds_the_conversation_changed(
    make_app: Callable[[], Flask], engine: FakeEngine
) -> None:
    app = make_app()
    session = ask_json(app.test_client(), "first")["session_id"]
    engine.wait_begun()
    engine.gate.clear()
    with ThreadPoolExecutor(2) as pool:
        going_on = pool.submit(ask, app.test_client(), "second", session_id=session)
        engine.wait_begun()
        replacing = pool.submit(ask, app.test_client(), "better", session_id=session, replace=1)
        engine.gate.set()
        assert going_on.result().status_code == 200
        assert replacing.result().status_code == 409
    assert turns(app.test_client(), session)[0::2] == ["first", "second"]


@pytest.mark.parametrize("make_app", ["sqlite", "redis"], indirect=True)
def test_of_two_services_that_replace_the_same_exchange_one_does(
    make_app: Callable[[], Flask], engine: FakeEngine
) -> None:
    clients = [make_app().test_client() for _ in range(2)]
    session = ask_json(clients[0], "first")["session_id"]
    engine.wait_begun()
    engine.gate.clear()
    with ThreadPoolExecutor(2) as pool:
        asked = [
            pool.submit(ask, client, f"by {number}", session_id=session, replace=1)
            for number, client in enumerate(clients)
        ]
        for _ in clients:
            engine.wait_begun()
        engine.gate.set()
        answers = [answer.result() for answer in asked]
    assert sorted(answer.status_code for answer in answers) == [200, 409]
    winner = next(number for number, answer in enumerate(answers) if answer.status_code == 200)
    assert "is not the last one of this conversation, which is 2" in answers[1 - winner].text
    assert turns(clients[0], session)[0::2] == [f"by {winner}"]


@pytest.mark.parametrize("make_app", ["sqlite", "redis"], indirect=True)
def test_a_retry_at_another_service_while_the_first_one_works_replaces_once(
    make_app: Callable[[], Flask], engine: FakeEngine
) -> None:
    clients = [make_app().test_client() for _ in range(2)]
    session = ask_json(clients[0], "first")["session_id"]
    engine.wait_begun()
    engine.gate.clear()
    with ThreadPoolExecutor(2) as pool:
        asked = [
            pool.submit(ask_json, client, "better", session_id=session, replace=1, headers=key("a"))
            for client in clients
        ]
        for _ in clients:
            engine.wait_begun()
        engine.gate.set()
        first, second = (answer.result() for answer in asked)
    assert first == second
    assert turns(clients[0], session)[0::2] == ["better"]


def test_a_conversation_that_was_forgotten_meanwhile_is_not_brought_back(
    make_app: Callable[[], Flask], engine: FakeEngine
) -> None:
    app = make_app()
    session = ask_json(app.test_client(), "first")["session_id"]
    engine.wait_begun()
    engine.gate.clear()
    statuses: list[int] = []
    thread = threading.Thread(
        target=lambda: statuses.append(ask(app.test_client(), "x", session_id=session, replace=1).status_code)
    )
    thread.start()
    engine.wait_begun()
    assert app.test_client().delete(f"/sessions/{session}").status_code == 204
    engine.gate.set()
    thread.join()
    assert statuses == [404]
    assert app.test_client().get(f"/sessions/{session}").status_code == 404


def test_a_temperature_brings_other_replies_and_a_seed_the_same_one(application: Application) -> None:
    client = application().test_client()
    first = ask_json(client, "What do you eat?")
    session, number = first["session_id"], first["exchange"]
    replies = []
    tried: list[dict[str, Any]] = [
        {"temperature": 2, "seed": 5},
        {"temperature": 2, "seed": 5},
        {},
        {"temperature": 2, "seed": 6},
    ]
    for wishes in tried:
        answer = ask_json(client, "What do you eat?", session_id=session, replace=number, **wishes)
        number = answer["exchange"]
        replies.append(answer["reply"])
    assert replies[0] == replies[1]
    assert replies[2] == first["reply"]
    assert len({replies[0], replies[2], replies[3]}) == 3
    assert turns(client, session) == ["What do you eat?", replies[3]]


def test_a_replacement_can_be_streamed(client: FlaskClient) -> None:
    session = ask_json(client, "first")["session_id"]
    body = json.dumps({"prompt": "better", "session_id": session, "replace": 1, "stream": True})
    stream = streams.read(client.post("/chatbot", data=body).iter_encoded())
    assert stream.done is not None
    assert stream.done["exchange"] == 2
    assert turns(client, session) == ["better", stream.text]
