"""Pages of other sites and origins neither use nor change what a browser remembers for us."""

from __future__ import annotations

from ipaddress import ip_network

import pytest
from flask import Flask

from service.serving.model_host import ServedModel
from tests.service.conftest import Application
from tests.service.visitor import ask, turns

HEADER = "X-Session-Id"
LISTED = "https://page.example"
OWN = [
    {},
    {"Origin": "http://localhost"},
    {"Origin": "http://LOCALHOST:80"},
    {"Sec-Fetch-Site": "same-origin"},
    {"Sec-Fetch-Site": "none"},
    {"Origin": "http://localhost", "Sec-Fetch-Site": "same-origin"},
    {"Origin": LISTED},
    {"Origin": LISTED, "Sec-Fetch-Site": "same-site"},
]
FOREIGN = [
    {"Origin": "https://evil.example"},
    {"Origin": "null"},
    {"Origin": ""},
    {"Origin": "http://localhost:6310"},
    {"Origin": "https://localhost"},
    {"Origin": "http://localhost.evil.example"},
    {"Origin": "http://localhost@evil.example"},
    {"Origin": "https://page.example.evil.example"},
    {"Origin": "http://localhost, https://evil.example"},
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"Sec-Fetch-Site": "something new"},
    {"Sec-Fetch-Site": ""},
    {"Origin": "http://localhost", "Sec-Fetch-Site": "cross-site"},
    {"Origin": "https://evil.example", "Sec-Fetch-Site": "none"},
]


@pytest.fixture
def app(application: Application, faked: ServedModel) -> Flask:
    return application(faked, cors_origins=(LISTED,))


@pytest.mark.parametrize("headers", OWN)
def test_our_own_pages_and_those_that_were_named_have_cookies(app: Flask, headers: dict[str, str]) -> None:
    client = app.test_client()
    first = ask(client, "one", headers=headers)
    assert "session_id=" in first.headers["Set-Cookie"]
    assert ask(client, "two", headers=headers).headers[HEADER] == first.headers[HEADER]


@pytest.mark.parametrize("headers", FOREIGN)
@pytest.mark.parametrize("fields", [{}, {"session_id": True}, {"stream": True}], ids=["plain", "named", "stream"])
def test_pages_of_strangers_have_none(app: Flask, headers: dict[str, str], fields: dict[str, object]) -> None:
    victim, attacker = app.test_client(), app.test_client()
    mine = ask(victim, "I am the victim").headers[HEADER]
    theirs = ask(attacker, "I am not").headers[HEADER]
    wishes = fields | ({"session_id": theirs} if "session_id" in fields else {})
    response = ask(victim, "I am written by another site", headers=headers, **wishes)
    assert response.status_code == 200
    response.close()
    assert "Set-Cookie" not in response.headers
    assert response.headers[HEADER] != mine
    assert ask(victim, "my PIN is 1234").headers[HEADER] == mine
    assert turns(attacker, mine)[0::2] == ["I am the victim", "my PIN is 1234"]


@pytest.mark.parametrize("host", ["a!b", "chat.example:0", "x y", "chat.example:http", "[::1%25lo]", "ünï.example"])
def test_where_the_name_of_the_service_is_none_no_page_is_ours(
    application: Application, faked: ServedModel, host: str
) -> None:
    client = application(faked, host="0.0.0.0").test_client()
    for page in ("null", "nonsense", f"http://{host}:x"):
        response = ask(client, "Hello", headers={"Host": host, "Origin": page})
        assert response.status_code == 200
        assert "Set-Cookie" not in response.headers


def test_with_any_origin_allowed_none_has_cookies_but_ours(application: Application, faked: ServedModel) -> None:
    client = application(faked).test_client()
    assert "Set-Cookie" not in ask(client, headers={"Origin": LISTED}).headers
    assert "Set-Cookie" in ask(client, headers={"Origin": "http://localhost"}).headers


def test_behind_a_proxy_with_tls_the_cookie_is_one_that_no_other_host_of_the_site_can_set(
    application: Application, faked: ServedModel
) -> None:
    app = application(faked, trusted_proxies=(ip_network("127.0.0.1"),))
    tls = {"X-Forwarded-Proto": "https", "Host": "chat.example", "Origin": "https://chat.example"}
    client = app.test_client()
    first = ask(client, "one", headers=tls)
    cookie = first.headers["Set-Cookie"]
    assert cookie.startswith("__Host-session_id=")
    assert {"Secure", "Path=/"} < set(cookie.split("; "))
    assert "Domain" not in cookie
    name, _, value = cookie.split(";")[0].partition("=")
    tossed = ask(app.test_client(use_cookies=False), headers={**tls, "Cookie": f"session_id={value}"})
    assert tossed.headers[HEADER] != value
    kept = ask(app.test_client(use_cookies=False), headers={**tls, "Cookie": f"{name}={value}"})
    assert kept.headers[HEADER] == value
    plain = {**tls, "Origin": "http://chat.example"}
    assert "Set-Cookie" not in ask(app.test_client(), headers=plain).headers


def test_two_cookies_of_one_name_are_none(app: Flask) -> None:
    ids = [ask(app.test_client()).headers[HEADER] for _ in range(2)]
    visitor = app.test_client(use_cookies=False)
    assert ask(visitor, headers={"Cookie": f"session_id={ids[0]}"}).headers[HEADER] == ids[0]
    both = "; ".join(f"session_id={each}" for each in ids)
    assert ask(visitor, headers={"Cookie": both}).headers[HEADER] not in ids
