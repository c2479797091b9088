"""Replies piece by piece: the pieces are the reply, nothing is ever taken back, and both turns are stored first."""

from __future__ import annotations

import threading
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient
from transformers import AutoTokenizer

from service.chat.chatbot import Chatbot, Message
from service.chat.prompt import PromptFormat
from service.conversations.conversation import new_id
from service.conversations.memory import MemoryStore
from service.engine.chat_model import load
from service.engine.engine import Engine
from service.errors import DeadlineExceeded, EngineFault
from service.http.app import create_app
from service.serving.model_host import ServedModel
from service.serving.runtime import Runtime
from service.settings import ServiceConfig
from tests.service import streams
from tests.service.conftest import Application
from tests.service.fakes import REPLY, FakeEngine, FakeModel
from tests.service.visitor import ask, turns

EVENTS = {"Accept": "text/event-stream"}


def test_a_stream_is_asked_for_in_the_body_or_by_the_accept_header(client: FlaskClient) -> None:
    plain = ask(client, "What do you eat?").text
    for headers, fields in (({}, {"stream": True}), (EVENTS, {})):
        client.delete_cookie("session_id")
        response = ask(client, "What do you eat?", headers=headers, **fields)
        assert response.status_code == 200
        assert response.content_type == "text/event-stream; charset=utf-8"
        assert response.headers["Cache-Control"] == "no-cache, no-transform"
        assert response.headers["X-Accel-Buffering"] == "no"
        stream = streams.read(response.iter_encoded())
        assert stream.error is None
        assert stream.text == plain
        assert stream.done is not None
        assert stream.done["reply"] == plain
        assert stream.done["session_id"] == response.headers["X-Session-Id"]
        assert set(stream.done) == {"reply", "session_id", "exchange", "usage", "truncated_turns", "truncated_tokens"}


def test_both_turns_are_stored_before_the_last_piece_is_sent(app: Flask, engine: FakeEngine) -> None:
    client = app.test_client()
    response = ask(client, "Hello", stream=True)
    session = response.headers["X-Session-Id"]
    for chunk in response.iter_encoded():
        if b"event: done" in chunk:
            assert turns(app.test_client(), session)[0] == "Hello"
            return
        if b"delta" in chunk:
            last = chunk
    raise AssertionError(last)


def test_a_stream_tells_its_place_in_the_queue_until_its_turn_comes(
    application: Application, served: ServedModel, prompt_format: PromptFormat
) -> None:
    engine = FakeEngine(max_rows=1)
    app = application(replace(served, chatbot=Chatbot(engine, prompt_format)))
    engine.gate.clear()
    running = ask(app.test_client(), "one", stream=True)
    engine.model.wait_begun()
    waiting = [ask(app.test_client(), name, stream=True).iter_encoded() for name in ("two", "three")]
    heads = [[next(chunks), next(chunks)] for chunks in waiting]
    engine.gate.set()
    assert streams.read(running.iter_encoded()).positions == []
    for place, (head, chunks) in enumerate(zip(heads, waiting, strict=True), 1):
        stream = streams.read([*head, *chunks])
        assert stream.positions[0] == place
        assert stream.positions == sorted(stream.positions, reverse=True)
        assert stream.done is not None
    engine.close()


def test_a_refusal_comes_with_its_status_and_not_in_a_stream(app: Flask, engine: FakeEngine) -> None:
    engine.error = DeadlineExceeded("There was no reply in time.")
    response = ask(app.test_client(), stream=True)
    assert response.status_code == 504
    assert response.text == "There was no reply in time."
    assert ask(app.test_client(), "", stream=True).status_code == 422


def test_a_fault_in_the_middle_ends_the_stream_with_a_problem_and_stores_nothing(
    app: Flask, engine: FakeEngine, caplog: pytest.LogCaptureFixture
) -> None:
    client = app.test_client()
    session = ask(client, "before").headers["X-Session-Id"]
    engine.gate.clear()
    response = ask(client, "lost", stream=True)
    engine.model.poison = 2
    with caplog.at_level("CRITICAL", logger="service"):
        stream = streams.read(response.iter_encoded())
    response.close()
    assert stream.done is None
    assert stream.error is not None
    assert (stream.error["status"], stream.error["title"]) == (500, EngineFault.code)
    assert len(turns(client, session)) == 2
    engine.model.poison = None
    engine.gate.set()
    assert ask(client, "after").status_code == 200


def test_a_stream_that_is_closed_early_is_cancelled_and_stores_nothing(app: Flask, engine: FakeEngine) -> None:
    client = app.test_client()
    session = ask(client, "before").headers["X-Session-Id"]
    engine.gate.clear()
    response = ask(client, "lost", stream=True)
    next(response.iter_encoded())
    response.close()
    engine.gate.set()
    assert ask(client, "after", session_id=session).status_code == 200
    assert turns(client, session)[0::2] == ["before", "after"]


def test_a_running_stream_holds_up_the_end_of_the_service(app: Flask, engine: FakeEngine, faked: ServedModel) -> None:
    runtime = Runtime(ServiceConfig(store="memory"), faked)
    engine.gate.clear()
    response = ask(create_app(runtime).test_client(), stream=True)
    chunks = response.iter_encoded()
    next(chunks)
    assert not runtime.drain(timeout_s=0.01)
    engine.gate.set()
    assert streams.read(chunks).done is not None
    response.close()
    assert runtime.drain(timeout_s=5)


def test_a_conversation_can_be_gone_on_with_while_its_first_reply_streams(app: Flask, engine: FakeEngine) -> None:
    engine.gate.clear()
    response = ask(app.test_client(), "one", stream=True)
    session = response.headers["X-Session-Id"]
    statuses: list[int] = []
    second = threading.Thread(
        target=lambda: statuses.append(ask(app.test_client(), "two", session_id=session).status_code)
    )
    second.start()
    engine.gate.set()
    assert streams.read(response.iter_encoded()).done is not None
    response.close()
    second.join()
    assert statuses == [200]
    assert turns(app.test_client(), session)[0::2] == ["one", "two"]


def test_the_next_message_of_the_conversation_waits_for_the_end_of_the_stream(app: Flask, engine: FakeEngine) -> None:
    client = app.test_client()
    session = ask(client, "zero").headers["X-Session-Id"]
    engine.gate.clear()
    response = ask(client, "one", stream=True, session_id=session)
    second = threading.Thread(target=ask, args=(app.test_client(), "two"), kwargs={"session_id": session})
    second.start()
    engine.gate.set()
    assert streams.read(response.iter_encoded()).done is not None
    response.close()
    second.join()
    assert turns(client, session)[0::2] == ["zero", "one", "two"]


@pytest.mark.parametrize("beams", [1, 4, 10])
def test_pieces_are_the_reply_and_come_before_its_end(long_export: Path, beams: int) -> None:
    model = load(long_export, threads=1)
    settings = replace(model.settings, num_beams=beams, min_length=0, max_length=60)
    model = replace(model, settings=settings)
    chatbot = Chatbot(
        Engine(model, queue_size=4, max_rows=40),
        PromptFormat(AutoTokenizer.from_pretrained(long_export), window=model.window),
    )
    store = MemoryStore(capacity=100, ttl_s=100)
    pieces_seen = 0
    for number in range(8):
        message = f"Question {number}: what is it?"
        with chatbot.answer(store, Message(new_id(), message), timeout_s=60) as answer:
            plain = answer.reply().exchange.reply
        with chatbot.answer(store, Message(new_id(), message), timeout_s=60) as answer:
            pieces = [piece for piece in answer.pieces() if piece]
            assert "".join(pieces) == plain == answer.reply().exchange.reply
        pieces_seen += len(pieces)
        assert not any(piece.endswith("\ufffd") for piece in pieces[:-1])
    assert beams > 1 or pieces_seen > 8 * 10


@pytest.mark.parametrize(
    ("text", "certain"),
    [
        (" Hello there", "Hello there"),
        (" Hello ", "Hello"),
        (" caf\u00e9", "caf\u00e9"),
        (" ok \U0001f642", "ok \U0001f642"),
    ],
)
def test_what_is_certain_grows_into_the_text(prompt_format: PromptFormat, text: str, certain: str) -> None:
    ids = [1, *prompt_format._encode(text)]
    grown = [prompt_format.certain(ids[:length]) for length in range(len(ids) + 1)]
    assert grown[-1] == certain
    assert all(later.startswith(earlier) for earlier, later in pairwise(grown))
    assert not any("\ufffd" in part for part in grown)


def test_a_character_of_several_tokens_is_held_back_until_it_is_whole(prompt_format: PromptFormat) -> None:
    ids = [1, *prompt_format._encode(" ok \U0001f642 fine")]
    assert any("\ufffd" in prompt_format.decode(ids[:length]) for length in range(len(ids)))
    assert not any("\ufffd" in prompt_format.certain(ids[:length]) for length in range(len(ids) + 1))


def test_space_that_a_tokenizer_takes_away_is_not_sent(prompt_format: PromptFormat) -> None:
    tokenizer = prompt_format._tokenizer
    ids = [1, *prompt_format._encode(" Well , it 's not , is n't it ? I 'm , we 're")]
    tokenizer.clean_up_tokenization_spaces = True
    try:
        whole = prompt_format.decode(ids)
        assert whole == "Well, it's not, isn't it? I'm, we're"
        assert all(whole.startswith(prompt_format.certain(ids[:length])) for length in range(len(ids) + 1))
    finally:
        tokenizer.clean_up_tokenization_spaces = False


def test_a_reply_shows_no_piece_that_a_beam_search_could_take_back() -> None:
    """Two hypotheses that part early keep their common beginning only, until one of them is out of the race."""
    engine = FakeEngine(FakeModel(beams=4, reply=[*REPLY[:-1], 77, 78, 79, 2]))
    generation = engine.submit([5, 2], timeout_s=10)
    seen: list[list[int]] = []
    while not generation.done:
        seen.append(list(generation.wait(10, known=len(seen[-1]) if seen else 0).ids))
    assert all(seen[-1][: len(part)] == part for part in seen)
    engine.close()
