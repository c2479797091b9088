"""A limit for each client, known by its address."""

from __future__ import annotations

from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from ipaddress import ip_network

import pytest
from flask import Request
from limits.storage import MemoryStorage
from werkzeug.test import EnvironBuilder

from service.http.limits import COUNTS_PER_MESSAGE
from service.http.proxies import client_address
from service.serving.model_host import ServedModel
from tests.service.conftest import Application
from tests.service.visitor import ask

PROXIES = (ip_network("10.0.0.0/8"), ip_network("::1"))


@pytest.fixture(autouse=True)
def one_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    """No minute of the clock turns within a test, when one message more would be let through."""
    monkeypatch.setattr(MemoryStorage, "sliding_window_keys", lambda _, key, *__: (f"{key} before", f"{key} now"))


def test_messages_over_the_limit_are_refused_until_later(application: Application, faked: ServedModel) -> None:
    client = application(faked, client_limit=3).test_client()
    statuses = [ask(client).status_code for _ in range(4)]
    assert statuses == [200, 200, 200, 429]
    refused = ask(client)
    assert 1 <= int(refused.headers["Retry-After"]) <= 60
    assert refused.text.startswith("More than 3 messages a minute came from your address; try again in ")
    assert client.get("/readyz").status_code == 200
    assert client.get("/metrics").status_code == 200


def test_tokens_are_counted_more_often_than_messages_are_sent_and_not_without_end(
    application: Application, faked: ServedModel
) -> None:
    client = application(faked, client_limit=1).test_client()
    assert ask(client).status_code == 200
    answers = [client.post("/tokenize", data="{}") for _ in range(COUNTS_PER_MESSAGE + 1)]
    assert [answer.status_code for answer in answers] == [*[200] * COUNTS_PER_MESSAGE, 429]
    assert answers[-1].text.startswith("More than 10 counts of tokens a minute came from your address")


def test_there_is_no_limit_unless_it_is_asked_for(application: Application, faked: ServedModel) -> None:
    client = application(faked).test_client()
    assert {ask(client).status_code for _ in range(20)} == {200}


def test_each_address_has_its_own_limit(application: Application, faked: ServedModel) -> None:
    app = application(faked, client_limit=1, trusted_proxies=(ip_network("127.0.0.1"),))
    statuses = [
        ask(app.test_client(), headers={"X-Forwarded-For": address}).status_code
        for address in ("192.0.2.1", "192.0.2.2", "192.0.2.1", "198.51.100.7, 192.0.2.2")
    ]
    assert statuses == [200, 200, 429, 429]


def test_an_ipv6_client_cannot_choose_among_the_addresses_of_its_network(
    application: Application, faked: ServedModel
) -> None:
    app = application(faked, client_limit=1, trusted_proxies=(ip_network("127.0.0.1"),))
    statuses = [
        ask(app.test_client(), headers={"X-Forwarded-For": address}).status_code
        for address in ("2001:db8::1", "2001:db8::2", "2001:db8:0:1::1", "::ffff:192.0.2.1", "::ffff:192.0.2.2")
    ]
    assert statuses == [200, 429, 200, 200, 200]


def test_an_untrusted_client_cannot_choose_its_address(application: Application, faked: ServedModel) -> None:
    app = application(faked, client_limit=1)
    statuses = [
        ask(app.test_client(), headers={"X-Forwarded-For": f"192.0.2.{number}"}).status_code for number in range(3)
    ]
    assert statuses == [200, 429, 429]


@pytest.mark.parametrize(
    ("peer", "forwarded", "expected"),
    [
        ("192.0.2.1", "", "192.0.2.1"),
        ("192.0.2.1", "203.0.113.5", "192.0.2.1"),
        ("10.0.0.1", "203.0.113.5", "203.0.113.5"),
        ("10.0.0.1", "203.0.113.5, 10.1.1.1", "203.0.113.5"),
        ("10.0.0.1", "1.1.1.1, 203.0.113.5", "203.0.113.5"),
        ("10.0.0.1", "10.2.2.2, 10.1.1.1", "10.2.2.2"),
        ("10.0.0.1", "", "10.0.0.1"),
        ("10.0.0.1", " , ", "10.0.0.1"),
        ("10.0.0.1", "unknown", "10.0.0.1"),
        ("10.0.0.1", "203.0.113.5:4444", "203.0.113.5"),
        ("10.0.0.1", "[2001:db8::1]:443", "2001:db8::1"),
        ("10.0.0.1", "::ffff:203.0.113.5", "203.0.113.5"),
        ("::ffff:10.0.0.1", "203.0.113.5", "203.0.113.5"),
        ("::1", "2001:db8::1", "2001:db8::1"),
    ],
)
def test_the_address_is_the_last_one_that_is_no_trusted_proxy(peer: str, forwarded: str, expected: str) -> None:
    environ = {**EnvironBuilder().get_environ(), "REMOTE_ADDR": peer, "HTTP_X_FORWARDED_FOR": forwarded}
    assert client_address(Request(environ), PROXIES) == expected


def test_each_of_several_replies_counts_as_a_message(application: Application, faked: ServedModel) -> None:
    client = application(faked, client_limit=10).test_client()

    def complete(n: int) -> int:
        wishes = {"messages": [{"role": "user", "content": "Hello"}], "n": n, "temperature": 1}
        return client.post("/v1/chat/completions", json=wishes).status_code

    assert [complete(8), complete(3), complete(1), complete(1)] == [200, 429, 200, 429]


def test_reading_and_forgetting_conversations_count(application: Application, faked: ServedModel) -> None:
    client = application(faked, client_limit=3).test_client()
    path = f"/sessions/{ask(client).headers['X-Session-Id']}"
    assert [client.get(path).status_code, client.get(path).status_code] == [200, 200]
    assert [client.get(path).status_code, client.delete(path).status_code] == [429, 429]


def test_one_address_leaves_places_to_others(application: Application, faked: ServedModel) -> None:
    engine = faked.chatbot.engine
    engine.gate.clear()  # type: ignore[attr-defined]
    app = application(faked, queue=2, rows=2, trusted_proxies=(ip_network("127.0.0.1"),))
    runtime_places = 6
    with ThreadPoolExecutor(10) as pool:
        greedy = [
            pool.submit(ask, app.test_client(), f"Hello {n}", headers={"X-Forwarded-For": "192.0.2.1"})
            for n in range(runtime_places + 1)
        ]
        refused = [done.result() for done in wait(greedy, timeout=5, return_when=FIRST_COMPLETED).done]
        assert {answer.status_code for answer in refused} == {503}
        other = pool.submit(ask, app.test_client(), "I am another one", headers={"X-Forwarded-For": "192.0.2.2"})
        engine.gate.set()  # type: ignore[attr-defined]
        assert other.result().status_code == 200
