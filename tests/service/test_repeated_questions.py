"""Visitors who ask what was asked before get the same reply without work, and a conversation of their own."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import pytest
from flask import Flask
from flask.testing import FlaskClient
from prometheus_client.parser import text_string_to_metric_families

from service.chat.chatbot import Chatbot
from service.chat.prompt import PromptFormat
from service.serving.model_host import ServedModel
from tests.service import streams
from tests.service.conftest import Application
from tests.service.echo import EchoModel
from tests.service.fakes import FakeEngine
from tests.service.visitor import ask, turns

QUESTION = "What is your name?"


@pytest.fixture
def caching() -> Iterator[FakeEngine]:
    engine = FakeEngine(EchoModel(), reply_cache=10)
    yield engine
    engine.gate.set()
    engine.close()


@pytest.fixture
def app(application: Application, faked: ServedModel, caching: FakeEngine, prompt_format: PromptFormat) -> Flask:
    return application(dataclasses.replace(faked, chatbot=Chatbot(caching, prompt_format)))


def metric(client: FlaskClient, name: str, **labels: str) -> float:
    response = client.get("/metrics")
    response.close()
    return sum(
        sample.value
        for family in text_string_to_metric_families(response.text)
        for sample in family.samples
        if sample.name == name and labels.items() <= sample.labels.items()
    )


def test_the_second_visitor_gets_the_reply_of_the_first_and_a_conversation_of_their_own(
    app: Flask, caching: FakeEngine
) -> None:
    first, second = (ask(app.test_client(), QUESTION) for _ in range(2))
    assert first.data == second.data
    assert first.headers["X-Session-Id"] != second.headers["X-Session-Id"]
    assert not first.headers["Server-Timing"].startswith("cached")
    assert second.headers["Server-Timing"].startswith("cached, queue;dur=0, ")
    for response in (first, second):
        assert turns(app.test_client(), response.headers["X-Session-Id"]) == [QUESTION, response.text]
    assert len(caching.model.sources) == 1


def test_hits_are_counted_and_only_what_was_computed_counts_as_work(app: Flask) -> None:
    client = app.test_client()
    ask(client, QUESTION).close()
    tokens = metric(client, "chatbot_generated_tokens_total")
    for _ in range(3):
        ask(app.test_client(), QUESTION).close()
    assert metric(client, "chatbot_replies_total", origin="computed") == 1
    assert metric(client, "chatbot_replies_total", origin="cached") == 3
    assert metric(client, "chatbot_reply_cache_entries") == 1
    assert metric(client, "chatbot_generated_tokens_total") == tokens
    assert metric(client, "chatbot_queue_wait_seconds_count") == 1


@pytest.mark.parametrize("first_streams", [False, True])
def test_streams_and_plain_replies_share_byte_for_byte(app: Flask, caching: FakeEngine, first_streams: bool) -> None:
    texts = []
    for stream in (first_streams, not first_streams, first_streams):
        response = ask(app.test_client(), QUESTION, stream=stream)
        if stream:
            read = streams.read(response.iter_encoded())
            assert read.done is not None
            assert "".join(read.deltas) == read.done["reply"]
            texts.append("".join(read.deltas))
        else:
            texts.append(response.text)
        response.close()
    assert len(set(texts)) == 1
    assert len(caching.model.sources) == 1


def test_openais_clients_share_too_unless_they_draw_or_ask_for_less(app: Flask, caching: FakeEngine) -> None:
    client = app.test_client()
    plain = ask(client, QUESTION).text
    body = {"model": "auto", "messages": [{"role": "user", "content": QUESTION}]}
    completion = client.post("/v1/chat/completions", json=body)
    assert completion.json is not None
    assert completion.json["choices"][0]["message"]["content"] == plain
    assert len(caching.model.sources) == 1
    for change in ({"temperature": 0.5, "seed": 1}, {"temperature": 0.5, "seed": 1}, {"max_tokens": 4}):
        assert client.post("/v1/chat/completions", json=body | change).status_code == 200
    assert len(caching.model.sources) == 4


def test_a_history_makes_another_prompt(app: Flask, caching: FakeEngine) -> None:
    client = app.test_client()
    first = ask(client, QUESTION)
    session = first.headers["X-Session-Id"]
    second = ask(client, QUESTION, session_id=session)
    assert second.text != first.text
    assert len(caching.model.sources) == 2
    assert turns(client, session) == [QUESTION, first.text, QUESTION, second.text]


def test_a_retry_is_still_known_by_its_key(app: Flask, caching: FakeEngine) -> None:
    keys = ["0123456789abcdef-1", "0123456789abcdef-2"]
    responses = [
        app.test_client().post("/chatbot", json={"prompt": QUESTION}, headers={"Idempotency-Key": key})
        for key in (*keys, *keys)
    ]
    assert [response.headers.get("Idempotent-Replayed") for response in responses] == [None, None, "true", "true"]
    sessions = [response.headers["X-Session-Id"] for response in responses]
    assert sessions[:2] == sessions[2:]
    for session in set(sessions):
        assert turns(app.test_client(), session) == [QUESTION, responses[0].text]
    assert len(caching.model.sources) == 1


def test_a_visitor_who_leaves_does_not_take_the_reply_from_one_who_stays(app: Flask, caching: FakeEngine) -> None:
    caching.gate.clear()
    leaver, stayer = (ask(app.test_client(), QUESTION, stream=True) for _ in range(2))
    events = stayer.iter_encoded()
    for begun in (leaver.iter_encoded(), events):
        next(begun)
    caching.model.wait_begun()
    leaver.close()
    caching.gate.set()
    read = streams.read(events)
    assert read.done is not None
    stayer.close()
    assert turns(app.test_client(), stayer.headers["X-Session-Id"]) == [QUESTION, read.done["reply"]]
    client = app.test_client()
    assert metric(client, "chatbot_sessions") == 1
    assert metric(client, "chatbot_replies_total", origin="computed") == 1
