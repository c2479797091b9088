"""Who goes on with which conversation, and who never does."""

from __future__ import annotations

import re
import threading
from concurrent.futures import ThreadPoolExecutor
from ipaddress import ip_network
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient

from service.chat.prompt import PromptFormat
from service.conversations.conversation import Exchange
from service.conversations.sqlite import SQLiteStore
from service.serving.model_host import ServedModel
from tests.service.conftest import Application
from tests.service.fakes import FakeEngine
from tests.service.visitor import ask, ask_json, turns

HEADER = "X-Session-Id"


@pytest.fixture
def app(application: Application, faked: ServedModel) -> Flask:
    """The application on the fake engine, for what needs no real reply."""
    return application(faked)


def session_of(app: Flask, prompt: str) -> str:
    """Begin a conversation and return its id."""
    return ask(app.test_client(), prompt).headers[HEADER]


def test_every_reply_names_its_conversation(app: Flask) -> None:
    client = app.test_client()
    session = ask(client).headers[HEADER]
    assert re.fullmatch(r"[A-Za-z0-9_-]{22}", session)
    assert ask(client).headers[HEADER] == session


def test_the_cookie_is_kept_from_scripts_and_from_other_sites(app: Flask) -> None:
    response = ask(app.test_client())
    cookie = response.headers["Set-Cookie"]
    assert cookie.startswith(f"session_id={response.headers[HEADER]};")
    attributes = cookie.split("; ")[1:]
    assert {"HttpOnly", "SameSite=Lax", "Path=/", "Max-Age=604800"} <= set(attributes)
    assert "Secure" not in attributes


def test_the_cookie_stays_on_https_where_the_page_is(app: Flask) -> None:
    response = app.test_client().post("/chatbot", data='{"prompt": "Hi"}', base_url="https://localhost")
    assert "; Secure" in response.headers["Set-Cookie"]


@pytest.mark.parametrize(
    ("trusted", "protocol", "secure"),
    [
        (True, "https", True),
        (True, "HTTPS ,http", True),
        (True, "https, http", True),
        (True, "https,http,http", True),
        (True, "http", False),
        (True, "http, https", False),
        (True, "", False),
        (True, ", https", False),
        (False, "https", False),
        (False, "https, http", False),
    ],
)
def test_a_trusted_proxy_says_whether_it_was_https(
    application: Application, faked: ServedModel, trusted: bool, protocol: str, secure: bool
) -> None:
    client = application(faked, trusted_proxies=(ip_network("127.0.0.1"),) if trusted else ()).test_client()
    response = ask(client, headers={"X-Forwarded-Proto": protocol})
    assert ("; Secure" in response.headers["Set-Cookie"]) == secure


def test_the_cookie_carries_the_conversation_on(app: Flask) -> None:
    client = app.test_client()
    session = ask(client, "one").headers[HEADER]
    ask(client, "two")
    assert turns(client, session)[0::2] == ["one", "two"]


@pytest.mark.parametrize(
    ("body", "header", "cookie", "chosen"),
    [
        (True, True, True, "in the body"),
        (True, False, True, "in the body"),
        (False, True, True, "in the header"),
        (False, False, True, "in the cookie"),
        (False, False, False, None),
    ],
)
def test_body_goes_before_header_before_cookie(
    app: Flask, body: bool, header: bool, cookie: bool, chosen: str | None
) -> None:
    sessions = {place: session_of(app, place) for place in ("in the body", "in the header", "in the cookie")}
    client = app.test_client()
    if cookie:
        client.set_cookie("session_id", sessions["in the cookie"])
    headers = {HEADER: sessions["in the header"]} if header else {}
    fields = {"session_id": sessions["in the body"]} if body else {}
    session = ask(client, "next", headers=headers, **fields).headers[HEADER]
    if chosen is None:
        assert session not in sessions.values()
    else:
        assert session == sessions[chosen]
        assert turns(client, session)[0::2] == [chosen, "next"]


@pytest.mark.parametrize("unknown", ["AAAAAAAAAAAAAAAAAAAAAA", "x", "../../etc/passwd", "%00", "é"])
def test_an_unknown_id_in_body_or_header_is_a_404_that_says_how_to_start_again(app: Flask, unknown: str) -> None:
    client = app.test_client()
    for response in (ask(client, session_id=unknown), ask(client, headers={HEADER: unknown})):
        assert response.status_code == 404
        assert "leave the id out" in response.text
        assert HEADER not in response.headers


def test_an_unknown_id_in_the_body_is_not_saved_by_a_known_one_elsewhere(app: Flask) -> None:
    client = app.test_client()
    session = ask(client).headers[HEADER]
    assert ask(client, headers={HEADER: session}, session_id="gone").status_code == 404


@pytest.mark.parametrize("cookie", ["AAAAAAAAAAAAAAAAAAAAAA", "x" * 4000, "%00%ff", '"quoted; = "'])
def test_an_unknown_cookie_silently_begins_a_fresh_conversation(app: Flask, cookie: str) -> None:
    response = app.test_client(use_cookies=False).post(
        "/chatbot", data='{"prompt": "Hi"}', headers={"Cookie": f"session_id={cookie}"}
    )
    assert response.status_code == 200
    assert response.headers[HEADER] != cookie
    assert response.headers[HEADER] in response.headers["Set-Cookie"]


def test_an_empty_header_or_a_null_in_the_body_counts_as_none(app: Flask) -> None:
    client = app.test_client()
    session = ask(client).headers[HEADER]
    assert ask(client, headers={HEADER: ""}, session_id=None).headers[HEADER] == session


def test_two_visitors_never_see_each_others_history(application: Application, prompt_format: PromptFormat) -> None:
    app = application()
    alice, bob = app.test_client(), app.test_client()
    secrets = ask_json(alice, "My secret word is xylophone.")
    greeting = ask_json(bob, "Hello")
    assert greeting["usage"]["prompt_tokens"] == len(prompt_format.encode(["Hello"]).ids)
    assert greeting["session_id"] != secrets["session_id"]
    assert greeting["reply"] == ask_json(application().test_client(), "Hello")["reply"]
    assert "xylophone" not in "".join(turns(bob, greeting["session_id"]))
    assert turns(alice, secrets["session_id"])[0] == "My secret word is xylophone."


def test_visitors_at_the_same_time_keep_their_own_histories(app: Flask) -> None:
    def visit(name: str) -> list[str]:
        client = app.test_client()
        for number in range(5):
            session = ask(client, f"{name} {number}").headers[HEADER]
        return turns(client, session)[0::2]

    names = [f"visitor {number}" for number in range(8)]
    with ThreadPoolExecutor(8) as pool:
        for name, said in zip(names, pool.map(visit, names), strict=True):
            assert said == [f"{name} {number}" for number in range(5)]


def test_a_visitor_without_cookies_is_a_stranger_each_time(app: Flask) -> None:
    client = app.test_client(use_cookies=False)
    assert ask(client).headers[HEADER] != ask(client).headers[HEADER]


def test_shared_history_joins_all_visitors_without_an_id(application: Application, prompt_format: PromptFormat) -> None:
    app = application(shared_history=True)
    first, second = app.test_client(), app.test_client()
    opening = ask_json(first, "I am the first.")
    answer = ask_json(second, "I am the second.")
    assert answer["session_id"] == opening["session_id"]
    read = prompt_format.encode(["I am the first.", opening["reply"], "I am the second."])
    assert answer["usage"]["prompt_tokens"] == len(read.ids)
    assert turns(second, answer["session_id"])[0::2] == ["I am the first.", "I am the second."]


def test_shared_history_sets_no_cookie_and_its_id_can_be_named(application: Application, faked: ServedModel) -> None:
    client = application(faked, shared_history=True).test_client()
    response = ask(client, "one")
    assert "Set-Cookie" not in response.headers
    session = response.headers[HEADER]
    assert ask(client, "two", session_id=session).status_code == 200
    assert turns(client, session)[0::2] == ["one", "two"]


def test_shared_history_still_refuses_unknown_ids(application: Application, faked: ServedModel) -> None:
    assert ask(application(faked, shared_history=True).test_client(), session_id="gone").status_code == 404


def test_a_conversation_can_be_read(app: Flask) -> None:
    client = app.test_client()
    first = ask(client, "Hello")
    session = first.headers[HEADER]
    response = client.get(f"/sessions/{session}")
    assert response.status_code == 200
    assert response.headers["Cache-Control"] == "no-store"
    assert response.get_json() == {
        "session_id": session,
        "turns": [
            {"speaker": "user", "text": "Hello", "exchange": 1, "truncated_tokens": 0},
            {"speaker": "bot", "text": first.text, "exchange": 1, "truncated_tokens": 0},
        ],
        "truncated_turns": 0,
        "earlier_turns": 0,
    }


def test_a_message_too_long_for_the_model_tells_how_much_it_did_not_read(app: Flask) -> None:
    client = app.test_client()
    long = " ".join(f"word{number}" for number in range(200))
    reply = ask_json(client, long)
    session = reply["session_id"]
    assert reply["usage"]["prompt_tokens"] == 128
    assert reply["truncated_turns"] == 0
    assert reply["truncated_tokens"] > 100
    again = ask_json(client, "And now?", session_id=session)
    assert again["truncated_tokens"] == 0
    found = [turn["truncated_tokens"] for turn in client.get(f"/sessions/{session}").get_json()["turns"]]
    assert found == [reply["truncated_tokens"], 0, 0, 0]


def test_a_retry_tells_it_as_well(app: Flask) -> None:
    client = app.test_client()
    key = {"Idempotency-Key": "a-key-of-the-tests-1"}
    first = ask_json(client, "word " * 300, headers=key)
    assert first["truncated_tokens"] > 0
    assert ask_json(client, "word " * 300, headers=key) == first


def test_a_conversation_can_be_forgotten(app: Flask) -> None:
    client = app.test_client()
    session = ask(client, "Hello").headers[HEADER]
    response = client.delete(f"/sessions/{session}")
    assert (response.status_code, response.data) == (204, b"")
    assert client.get(f"/sessions/{session}").status_code == 404
    assert client.delete(f"/sessions/{session}").status_code == 404
    assert ask(client, session_id=session).status_code == 404
    assert ask(client).headers[HEADER] != session


def test_a_conversation_forgotten_while_it_is_answered_stays_forgotten(app: Flask, engine: FakeEngine) -> None:
    session = session_of(app, "first")
    engine.wait_begun()
    engine.gate.clear()
    thread = threading.Thread(target=ask, args=(app.test_client(), "second"), kwargs={"session_id": session})
    thread.start()
    engine.wait_begun()
    assert app.test_client().delete(f"/sessions/{session}").status_code == 204
    engine.gate.set()
    thread.join()
    assert app.test_client().get(f"/sessions/{session}").status_code == 404


def test_a_conversation_tells_how_many_of_its_turns_the_model_no_longer_reads(app: Flask) -> None:
    client = app.test_client()
    session = ask_json(client, "word " * 12)["session_id"]
    assert client.get(f"/sessions/{session}").json["truncated_turns"] == 0  # type: ignore[index]
    for number in range(4):
        reply = ask_json(client, f"word number {number} " * 5)
    assert 0 < reply["truncated_turns"] < 9
    assert client.get(f"/sessions/{session}").json["truncated_turns"] == reply["truncated_turns"]  # type: ignore[index]


def test_reading_or_forgetting_an_unknown_conversation_is_a_404(client: FlaskClient) -> None:
    for method in ("GET", "DELETE"):
        response = client.open("/sessions/unknown", method=method)
        assert response.status_code == 404
        assert response.text.startswith("There is no conversation with that id")


def test_the_least_recently_used_conversation_makes_room(application: Application, faked: ServedModel) -> None:
    app = application(faked, max_conversations=2)
    sessions = [session_of(app, f"visitor {number}") for number in range(3)]
    statuses = [app.test_client().get(f"/sessions/{session}").status_code for session in sessions]
    assert statuses == [404, 200, 200]


def test_a_long_conversation_is_read_in_pages(application: Application, faked: ServedModel, tmp_path: Path) -> None:
    path = tmp_path / "conversations"
    store = SQLiteStore(path, capacity=10, ttl_s=3600)
    for version in range(100):
        store.append("long", Exchange(f"{version} " + "🙂" * 2000, "Well."), version=version)
    store.close()
    client = application(faked, store=str(path)).test_client()
    pages = [client.get("/sessions/long")]
    while pages[-1].get_json()["earlier_turns"]:
        pages.append(client.get(f"/sessions/long?before={pages[-1].get_json()['earlier_turns']}"))
    assert all(len(page.data) < 150_000 for page in pages)
    assert len(pages) > 4
    found = [turn["text"] for page in reversed(pages) for turn in page.get_json()["turns"]]
    assert [text.split()[0] for text in found[0::2]] == [str(version) for version in range(100)]


@pytest.mark.parametrize("before", ["-2", "many", "1e3", "", " 2", "9" * 10])
def test_a_page_that_is_none_is_refused(client: FlaskClient, before: str) -> None:
    session = ask(client).headers[HEADER]
    refused = client.get(f"/sessions/{session}", query_string={"before": before})
    assert refused.status_code == 422
    assert refused.text.startswith("before must be a whole number")
