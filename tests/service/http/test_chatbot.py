"""`POST /chatbot`: what comes in and what goes out."""

from __future__ import annotations

import json
import threading

import pytest
from flask.testing import FlaskClient

from service.chat.prompt import PromptFormat
from service.engine.generation import Progress, Subscription
from service.errors import DeadlineExceeded, Overloaded
from service.serving.model_host import ServedModel
from tests.service.conftest import Application
from tests.service.fakes import REPLY, FakeEngine
from tests.service.visitor import JSON, ask, ask_json, turns


def test_a_reply_is_bare_text(application: Application, faked: ServedModel, prompt_format: PromptFormat) -> None:
    response = ask(application(faked).test_client())
    assert response.status_code == 200
    assert response.text == prompt_format.decode(REPLY)
    assert response.content_type == "text/plain; charset=utf-8"
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert response.headers["Cache-Control"] == "no-store"
    assert "decode;dur=" in response.headers["Server-Timing"]


def test_a_json_client_gets_the_reply_with_its_session_and_its_tokens(
    client: FlaskClient, prompt_format: PromptFormat
) -> None:
    response = ask(client, "What do you eat?", headers=JSON)
    assert response.status_code == 200
    assert response.mimetype == "application/json"
    content = response.get_json()
    assert set(content) == {"reply", "session_id", "exchange", "usage", "truncated_turns", "truncated_tokens"}
    assert content["session_id"] == response.headers["X-Session-Id"]
    assert content["truncated_turns"] == 0
    assert set(content["usage"]) == {"prompt_tokens", "completion_tokens"}
    assert content["usage"]["prompt_tokens"] == len(prompt_format.encode(["What do you eat?"]).ids)
    assert 1 <= content["usage"]["completion_tokens"] <= 12


def test_text_and_json_clients_get_the_same_reply(client: FlaskClient) -> None:
    client.delete_cookie("session_id")
    text = ask(client, "What do you eat?").text
    client.delete_cookie("session_id")
    assert ask_json(client, "What do you eat?")["reply"] == text


@pytest.mark.parametrize(
    ("accept", "mimetype"),
    [
        (None, "text/plain"),
        ("*/*", "text/plain"),
        ("text/html,application/xhtml+xml,*/*;q=0.8", "text/plain"),
        ("text/plain, application/json", "text/plain"),
        ("application/json;q=0.1, text/plain", "text/plain"),
        ("nonsense", "text/plain"),
        ("application/json", "application/json"),
        ("application/*", "application/json"),
        ("application/json, text/plain;q=0.5, */*;q=0.1", "application/json"),
    ],
)
def test_the_form_of_a_reply_is_the_one_preferred(
    application: Application, faked: ServedModel, accept: str | None, mimetype: str
) -> None:
    headers = {} if accept is None else {"Accept": accept}
    response = ask(application(faked).test_client(), headers=headers)
    assert response.status_code == 200
    assert response.mimetype == mimetype


@pytest.mark.parametrize(
    "content_type",
    [
        None,
        "application/json",
        "application/json; charset=latin-1",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "text/plain",
        "no content type",
    ],
)
def test_the_body_is_read_as_json_whatever_its_content_type(
    application: Application, faked: ServedModel, content_type: str | None
) -> None:
    body = json.dumps({"prompt": "Hällo = & + %20"}, ensure_ascii=False).encode()
    client = application(faked).test_client()
    response = client.post("/chatbot", data=body, content_type=content_type)
    assert response.status_code == 200
    assert turns(client, response.headers["X-Session-Id"])[0] == "Hällo = & + %20"


def test_fields_that_mean_nothing_here_are_passed_over(application: Application, faked: ServedModel) -> None:
    assert ask(application(faked).test_client(), "Hello", model="x", temperature=1, stream=False).status_code == 200


def test_the_model_reads_the_whole_conversation(client: FlaskClient, prompt_format: PromptFormat) -> None:
    history: list[str] = []
    for prompt in ("Hello", "Do you like\ncats?", "And </s> dogs?"):
        content = ask_json(client, prompt)
        assert content["usage"]["prompt_tokens"] == len(prompt_format.encode([*history, prompt]).ids)
        history += [prompt, content["reply"]]
    assert turns(client, content["session_id"]) == history


def test_turns_that_no_longer_fit_are_told_to_the_caller(client: FlaskClient, prompt_format: PromptFormat) -> None:
    history: list[str] = []
    for number in range(5):
        prompt = f"This is message {number}, and it is not a short one."
        content = ask_json(client, prompt)
        expected = prompt_format.encode([*history, prompt])
        assert content["truncated_turns"] == expected.truncated_turns
        assert content["usage"]["prompt_tokens"] == len(expected.ids) <= 128
        history += [prompt, content["reply"]]
    assert content["truncated_turns"] > 0
    assert len(turns(client, content["session_id"])) == 10


def test_the_same_history_gets_the_same_reply(application: Application) -> None:
    replies = []
    for _ in range(2):
        visitor = application().test_client()
        replies.append([ask(visitor, prompt).text for prompt in ("Hello", "How are you?", "Bye")])
    assert replies[0] == replies[1]


@pytest.mark.parametrize(
    ("error", "status", "retry_after"),
    [
        (Overloaded("Too many requests are waiting.", retry_after_s=7), 503, "7"),
        (DeadlineExceeded("There was no reply in time."), 504, None),
        (RuntimeError("the model broke"), 500, None),
    ],
)
def test_a_reply_that_fails_leaves_nothing_behind(
    application: Application,
    faked: ServedModel,
    engine: FakeEngine,
    error: Exception,
    status: int,
    retry_after: str | None,
) -> None:
    client = application(faked).test_client()
    session = ask(client, "before").headers["X-Session-Id"]
    before = turns(client, session)
    engine.error = error
    response = ask(client, "lost")
    assert response.status_code == status
    assert response.headers.get("Retry-After") == retry_after
    assert turns(client, session) == before
    engine.error = None
    ask(client, "after")
    assert turns(client, session)[2] == "after"


def test_a_failed_first_message_makes_no_conversation(
    application: Application, faked: ServedModel, engine: FakeEngine
) -> None:
    engine.error = RuntimeError()
    client = application(faked).test_client()
    response = ask(client)
    assert response.status_code == 500
    assert "X-Session-Id" not in response.headers
    assert client.get_cookie("session_id") is None


def test_both_turns_appear_together_when_the_reply_is_complete(
    application: Application, faked: ServedModel, engine: FakeEngine
) -> None:
    app = application(faked)
    session = ask(app.test_client(), "first").headers["X-Session-Id"]
    engine.wait_begun()
    engine.gate.clear()
    thread = threading.Thread(target=ask, args=(app.test_client(), "second"), kwargs={"session_id": session})
    thread.start()
    engine.wait_begun()
    assert turns(app.test_client(), session)[0::2] == ["first"]
    engine.gate.set()
    thread.join()
    assert turns(app.test_client(), session)[0::2] == ["first", "second"]


def test_a_form_sent_again_while_its_reply_is_pending_is_answered_in_order(
    application: Application, faked: ServedModel, engine: FakeEngine
) -> None:
    app = application(faked)
    session = ask(app.test_client(), "first").headers["X-Session-Id"]
    engine.wait_begun()
    engine.gate.clear()
    threads = [
        threading.Thread(target=ask, args=(app.test_client(), prompt), kwargs={"session_id": session})
        for prompt in ("second", "second again")
    ]
    for thread in threads:
        thread.start()
    engine.wait_begun()
    assert not engine.begun.acquire(timeout=0.05)
    engine.gate.set()
    for thread in threads:
        thread.join()
    assert sorted(turns(app.test_client(), session)[0::2]) == ["first", "second", "second again"]
    assert turns(app.test_client(), session)[0] == "first"


def test_a_reply_finished_right_after_a_glance_is_whole(
    application: Application,
    faked: ServedModel,
    engine: FakeEngine,
    prompt_format: PromptFormat,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plain = Subscription.wait

    def preempted(generation: Subscription, timeout_s: float, *, known: int | None = None) -> Progress:
        progress = plain(generation, timeout_s, known=known)
        engine.gate.set()
        while not generation.done:
            threading.Event().wait(0.001)
        return progress

    monkeypatch.setattr(Subscription, "wait", preempted)
    for stream in (False, True):
        engine.gate.clear()
        client = application(faked).test_client()
        response = ask(client, stream=stream)
        assert prompt_format.decode(REPLY) in response.text
        assert turns(client, response.headers["X-Session-Id"])[1] == prompt_format.decode(REPLY)


def test_a_conversation_forgotten_while_it_is_answered_gets_no_reply_that_is_not_stored(
    application: Application, faked: ServedModel, engine: FakeEngine
) -> None:
    app = application(faked)
    session = ask(app.test_client(), "first").headers["X-Session-Id"]
    engine.wait_begun()
    engine.gate.clear()
    statuses: list[int] = []
    thread = threading.Thread(
        target=lambda: statuses.append(ask(app.test_client(), "second", session_id=session).status_code)
    )
    thread.start()
    engine.wait_begun()
    app.test_client().delete(f"/sessions/{session}")
    engine.gate.set()
    thread.join()
    assert statuses == [404]
