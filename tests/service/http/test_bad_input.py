"""Whatever is sent, the answer is a reply or a clear sentence."""

from __future__ import annotations

import gzip
import json

import pytest
from flask.testing import FlaskClient

from service.conversations.conversation import Exchange, new_id
from service.http.app import create_app
from service.serving.model_host import ServedModel
from service.serving.runtime import Runtime
from service.settings import ServiceConfig
from tests.service.conftest import Application
from tests.service.visitor import JSON, ask, ask_json, turns

# Name of the case, body, status, and what the sentence names.
REFUSED: list[tuple[str, bytes, int, str]] = [
    ("empty", b"", 400, "not valid JSON"),
    ("spaces", b"   \n", 400, "not valid JSON"),
    ("plain text", b"Hello", 400, "not valid JSON"),
    ("a form", b"prompt=Hello&x=1", 400, "not valid JSON"),
    ("unfinished", b'{"prompt": "Hello"', 400, "not valid JSON"),
    ("something after it", b'{"prompt": "Hello"} {}', 400, "not valid JSON"),
    ("single quotes", b"{'prompt': 'Hello'}", 400, "not valid JSON"),
    ("a raw newline in a string", b'{"prompt": "Hel\nlo"}', 400, "not valid JSON"),
    ("a raw NUL in a string", b'{"prompt": "Hel\0lo"}', 400, "not valid JSON"),
    ("NULs", b"\0" * 100, 400, "not valid JSON"),
    ("invalid UTF-8", b'{"prompt": "\xff\xfe\xfa"}', 400, "is not UTF-8"),
    ("cut UTF-8", b'{"prompt": "\xf0\x9f\x98"}', 400, "is not UTF-8"),
    ("latin-1", '{"prompt": "é"}'.encode("latin-1"), 400, "is not UTF-8"),
    ("cut UTF-16", '{"prompt": "Hello"}'.encode("utf-16")[:-1], 400, "is not UTF-8"),
    ("windows-1252", b'{"prompt": "Perch\x85?"}', 400, "is not UTF-8"),
    ("Shift JIS", '{"prompt": "こんにちは"}'.encode("shift_jis"), 400, "is not UTF-8"),
    ("GBK", '{"prompt": "你好"}'.encode("gbk"), 400, "is not UTF-8"),
    ("gzip", b"\x1f\x8b\x08\x00\x00\x00\x00\x00", 400, "is not UTF-8"),
    ("deep nesting of lists", b"[" * 60_000, 400, "nested too deeply"),
    ("deep nesting of objects", b'{"prompt":' * 6_000, 400, "nested too deeply"),
    ("deep nesting over the limit", b"[" * 100_000, 413, "larger than 65536 bytes"),
    ("a huge integer", b'{"prompt": ' + b"9" * 5_000 + b"}", 400, "not valid JSON"),
    ("a huge exponent", b'{"prompt": 1e999999}', 422, "prompt must be a string"),
    ("a list", b'["Hello"]', 422, "must be a JSON object"),
    ("a string", b'"Hello"', 422, "must be a JSON object"),
    ("a number", b"42", 422, "must be a JSON object"),
    ("null", b"null", 422, "must be a JSON object"),
    ("NaN", b"NaN", 422, "must be a JSON object"),
    ("no prompt", b"{}", 422, "prompt is missing"),
    ("another name", b'{"message": "Hello"}', 422, "prompt is missing"),
    ("another case", b'{"Prompt": "Hello"}', 422, "prompt is missing"),
    ("prompt a number", b'{"prompt": 42}', 422, "prompt must be a string"),
    ("prompt null", b'{"prompt": null}', 422, "prompt must be a string"),
    ("prompt a list", b'{"prompt": ["Hello"]}', 422, "prompt must be a string"),
    ("prompt an object", b'{"prompt": {"text": "Hello"}}', 422, "prompt must be a string"),
    ("prompt a boolean", b'{"prompt": true}', 422, "prompt must be a string"),
    ("prompt NaN", b'{"prompt": NaN}', 422, "prompt must be a string"),
    ("prompt minus infinity", b'{"prompt": -Infinity}', 422, "prompt must be a string"),
    ("prompt empty", b'{"prompt": ""}', 422, "prompt is empty"),
    ("prompt blank", b'{"prompt": "  \\t\\n  "}', 422, "prompt is empty"),
    ("prompt of wide spaces", '{"prompt": "\u3000\u00a0\u2003"}'.encode(), 422, "prompt is empty"),
    ("prompt of control characters", b'{"prompt": "\\u0000\\u0007\\u001b\\u007f"}', 422, "prompt is empty"),
    ("half a surrogate pair", b'{"prompt": "Hello \\ud800"}', 422, "surrogate"),
    ("the other half", b'{"prompt": "\\udc00\\ud800"}', 422, "surrogate"),
    ("a surrogate in UTF-8", b'{"prompt": "\xed\xa0\x80"}', 422, "surrogate"),
    ("a surrogate in the id", b'{"prompt": "Hello", "session_id": "\\ud800"}', 422, "session_id"),
    ("session_id a number", b'{"prompt": "Hello", "session_id": 5}', 422, "session_id must be a string"),
    ("session_id empty", b'{"prompt": "Hello", "session_id": ""}', 422, "session_id must be a string"),
    ("session_id long", b'{"prompt": "Hello", "session_id": "' + b"x" * 129 + b'"}', 422, "session_id must be a"),
    ("session_id with NUL", b'{"prompt": "Hello", "session_id": "\\u0000"}', 404, "no conversation with that id"),
    ("stream a string", b'{"prompt": "Hello", "stream": "yes"}', 422, "stream must be true or false"),
    ("stream a number", b'{"prompt": "Hello", "stream": 1}', 422, "stream must be true or false"),
    (
        "temperature a string",
        b'{"prompt": "Hello", "temperature": "1"}',
        422,
        "temperature must be a number from 0 to 2",
    ),
    ("temperature below", b'{"prompt": "Hello", "temperature": -0.1}', 422, "temperature must be a number from 0 to 2"),
    ("temperature above", b'{"prompt": "Hello", "temperature": 2.5}', 422, "temperature must be a number from 0 to 2"),
    ("temperature infinite", b'{"prompt": "Hello", "temperature": 1e999}', 422, "temperature must be a number"),
    ("temperature true", b'{"prompt": "Hello", "temperature": true}', 422, "temperature must be a number"),
    ("seed a fraction", b'{"prompt": "Hello", "seed": 0.5}', 422, "seed must be a whole number of 64 bits"),
    ("seed huge", b'{"prompt": "Hello", "seed": 9223372036854775808}', 422, "seed must be a whole number of 64 bits"),
    ("replace nothing", b'{"prompt": "Hello", "replace": 0}', 422, "replace must be the number of the last exchange"),
    ("replace a string", b'{"prompt": "Hello", "replace": "last"}', 422, "replace must be the number of the last"),
    ("replace a fraction", b'{"prompt": "Hello", "replace": 1.5}', 422, "replace must be the number of the last"),
    ("replace huge", b'{"prompt": "Hello", "replace": 1e30}', 422, "replace must be the number of the last"),
    ("replace in nothing", b'{"prompt": "Hello", "replace": 1}', 409, "has no exchange 1 to replace"),
    ("over the limit of characters", b'{"prompt": "' + b"a" * 2_001 + b'"}', 413, "limit is 2000"),
    ("a megabyte", b'{"prompt": "' + b"a" * 1_000_000 + b'"}', 413, "larger than 65536 bytes"),
    ("the last of two prompts counts", b'{"prompt": "Hello", "prompt": 5}', 422, "prompt must be a string"),
]

# Name of the case, body, and the user's turn as it is remembered.
ANSWERED: list[tuple[str, bytes, str]] = [
    ("the longest prompt", b'{"prompt": "' + b"word " * 399 + b'words"}', "word " * 399 + "words"),
    ("two thousand emoji", json.dumps({"prompt": "🙂" * 2000}, ensure_ascii=False).encode(), "🙂" * 2000),
    ("one character", b'{"prompt": "a"}', "a"),
    ("escaped emoji", b'{"prompt": "\\ud83d\\ude42"}', "🙂"),
    ("emoji of several parts", '{"prompt": "👨‍👩‍👧 🏳️‍🌈"}'.encode(), "👨‍👩‍👧 🏳️‍🌈"),
    ("right to left", '{"prompt": "שלום עולם مرحبا"}'.encode(), "שלום עולם مرحبا"),
    ("direction marks", '{"prompt": "\u202eolleh\u202c"}'.encode(), "\u202eolleh\u202c"),
    ("many accents", '{"prompt": "Z\u0351\u0352\u0353 a"}'.encode(), "Z\u0351\u0352\u0353 a"),
    ("only a zero-width space", '{"prompt": "\u200b"}'.encode(), "\u200b"),
    ("noncharacters", b'{"prompt": "\\uffff \\ufdd0"}', "\uffff \ufdd0"),
    ("mask", b'{"prompt": "<mask>"}', "<mask>"),
    ("end token", b'{"prompt": "</s>"}', "</s>"),
    ("all special tokens", b'{"prompt": "<s> <pad></s> <unk><mask>"}', "<s> <pad></s> <unk><mask>"),
    ("NUL", b'{"prompt": "left\\u0000right"}', "left\0right"),
    ("newlines", b'{"prompt": "one\\r\\ntwo\\nthree"}', "one\r\ntwo\nthree"),
    ("markup", b'{"prompt": "<script>alert(1)</script>"}', "<script>alert(1)</script>"),
    ("a template", b'{"prompt": "{{ config }} {% x %}"}', "{{ config }} {% x %}"),
    ("UTF-8 with BOM", b"\xef\xbb\xbf" + b'{"prompt": "Hello"}', "Hello"),
    ("UTF-16", '{"prompt": "Héllo"}'.encode("utf-16"), "Héllo"),
    ("UTF-16 without BOM", '{"prompt": "Héllo"}'.encode("utf-16-le"), "Héllo"),
    ("UTF-32", '{"prompt": "Héllo"}'.encode("utf-32"), "Héllo"),
    ("duplicate keys", b'{"prompt": 5, "prompt": "Hello"}', "Hello"),
    ("strange numbers elsewhere", b'{"prompt": "Hello", "x": NaN, "y": -Infinity, "z": 1e999}', "Hello"),
    ("strange names elsewhere", b'{"prompt": "Hello", "\\ud800": 1, "": 2, "__proto__": 3}', "Hello"),
    ("null wishes", b'{"prompt": "Hello", "temperature": null, "seed": null, "replace": null}', "Hello"),
    ("a seed", b'{"prompt": "Hello", "temperature": 2, "seed": -9223372036854775808.0}', "Hello"),
    ("null id", b'{"prompt": "Hello", "session_id": null}', "Hello"),
    ("space around", b'  {"prompt" : "Hello" } \n', "Hello"),
]


@pytest.mark.parametrize(("body", "status", "named"), [case[1:] for case in REFUSED], ids=[case[0] for case in REFUSED])
def test_a_bad_body_is_refused_with_one_clear_sentence(
    client: FlaskClient, body: bytes, status: int, named: str
) -> None:
    response = client.post("/chatbot", data=body)
    assert response.status_code == status
    assert response.content_type == "text/plain; charset=utf-8"
    assert named in response.text
    assert response.text.endswith(".")
    assert "\n" not in response.text
    assert len(response.text) < 200
    assert "X-Session-Id" not in response.headers


@pytest.mark.parametrize(("body", "status", "named"), [case[1:] for case in REFUSED], ids=[case[0] for case in REFUSED])
def test_json_clients_read_the_same_sentence(client: FlaskClient, body: bytes, status: int, named: str) -> None:
    response = client.post("/chatbot", data=body, headers=JSON)
    assert response.status_code == status
    assert response.mimetype == "application/problem+json"
    content = response.get_json()
    assert content["status"] == status
    assert named in content["detail"]


@pytest.mark.parametrize("path", ["/chatbot", "/v1/chat/completions"])
@pytest.mark.parametrize("charset", ["", "; charset=iso-8859-1", "; charset=windows-1252", "; charset=utf-8"])
def test_a_body_that_is_not_utf8_is_refused_whatever_its_charset(client: FlaskClient, path: str, charset: str) -> None:
    body = '{"prompt": "Perché?"}' if path == "/chatbot" else '{"messages": [{"role": "user", "content": "Perché?"}]}'
    headers = {"Content-Type": f"application/json{charset}"}
    refused = client.post(path, data=body.encode("latin-1"), headers=headers)
    assert refused.status_code == 400
    assert "The body is not UTF-8; send a JSON object in UTF-8 such as" in refused.text
    assert client.post(path, data=body.encode(), headers=headers).status_code == 200


@pytest.mark.parametrize("path", ["/chatbot", "/v1/chat/completions"])
@pytest.mark.parametrize("encoding", ["gzip", "GZIP", "deflate", "x-gzip", "identity, gzip", "br", "made-up"])
def test_a_compressed_body_is_refused_by_its_encoding(client: FlaskClient, path: str, encoding: str) -> None:
    body = gzip.compress(b'{"prompt": "Hello", "messages": [{"role": "user", "content": "Hello"}]}')
    response = client.post(path, data=body, headers={"Content-Encoding": encoding})
    assert response.status_code == 415
    assert f"the Content-Encoding {encoding}, which is not supported" in response.text.replace("\\", "").replace(
        '"', ""
    )


@pytest.mark.parametrize("encoding", ["identity", "Identity", "utf-8", ""])
def test_an_encoding_that_changes_nothing_is_taken(client: FlaskClient, encoding: str) -> None:
    response = client.post("/chatbot", data=b'{"prompt": "Hello"}', headers={"Content-Encoding": encoding})
    assert response.status_code == 200


@pytest.mark.parametrize(("body", "turn"), [case[1:] for case in ANSWERED], ids=[case[0] for case in ANSWERED])
def test_unusual_text_gets_a_reply_and_is_remembered_as_it_came(client: FlaskClient, body: bytes, turn: str) -> None:
    response = client.post("/chatbot", data=body)
    assert response.status_code == 200, response.text
    assert turns(client, response.headers["X-Session-Id"]) == [turn, response.text]
    again = ask(client, "And now?")
    assert again.status_code == 200, again.text


def test_five_hundred_turns_of_history_get_a_reply(served: ServedModel) -> None:
    runtime = Runtime(ServiceConfig(store="memory"), served)
    session = new_id()
    for number in range(250):
        exchange = Exchange(f"message {number} with <mask>", f"reply {number} with </s>")
        runtime.store.append(session, exchange, version=number)
    content = ask_json(create_app(runtime).test_client(), "And now?", session_id=session)
    assert content["usage"]["prompt_tokens"] <= 128
    assert content["truncated_turns"] > 450


def test_a_megabyte_of_text_gets_a_reply_where_the_operator_allows_it(application: Application) -> None:
    client = application(max_body_bytes=4 * 1024 * 1024, max_prompt_chars=1_000_000).test_client()
    content = ask_json(client, "word " * 200_000)
    assert content["usage"]["prompt_tokens"] == 128
    assert ask_json(client, "And now?")["truncated_turns"] == 1


def test_the_limits_are_those_of_the_operator(application: Application) -> None:
    client = application(max_body_bytes=300, max_prompt_chars=5).test_client()
    assert ask(client, "12345").status_code == 200
    assert "limit is 5;" in ask(client, "123456").text
    assert "larger than 300 bytes" in ask(client, "1" * 400).text


def test_a_body_of_unknown_length_is_read_up_to_the_limit(client: FlaskClient) -> None:
    for text, status in (("Hello", 200), ("a" * 100_000, 413)):
        body = json.dumps({"prompt": text}).encode()
        environment = {"wsgi.input_terminated": True, "CONTENT_LENGTH": ""}
        response = client.post("/chatbot", data=body, environ_overrides=environment)
        assert response.status_code == status


@pytest.mark.parametrize(
    ("header", "value"),
    [
        ("Accept", ";;;,,,q=x"),
        ("Accept", "application/json;q=" + "9" * 5_000),
        ("Content-Type", "\x01;=;"),
        ("Cookie", "session_id"),
        ("Cookie", "=;=;session_id=\x01\x02"),
        ("Origin", "not an origin"),
        ("X-Forwarded-For", "' OR 1=1"),
        ("X-Session-Id", "   "),
    ],
)
def test_hostile_headers_do_no_harm(client: FlaskClient, header: str, value: str) -> None:
    response = ask(client, headers={header: value})
    assert response.status_code in {200, 404}
    assert response.text
