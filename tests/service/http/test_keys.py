"""With API keys, only those who have one are served; without, everyone is."""

from __future__ import annotations

import hmac
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import openai
import pytest
from flask.testing import FlaskClient

from service.errors import ConfigurationError
from service.http import keys
from service.http.keys import Keys
from service.serving.model_host import ServedModel
from service.settings import ServiceConfig
from tests.service.conftest import Application
from tests.service.fakes import FakeEngine
from tests.service.process import ServiceProcess
from tests.service.visitor import JSON, ask

FIRST, SECOND = "first-key-0123456789", "second-key-0123456789"
OPEN = ["/", "/livez", "/readyz", "/health", "/static/chat.js", "/favicon.ico", "/docs", "/openapi.json"]
CLOSED = ["/metrics", "/sessions/some-id", "/v1/models", "/no/such/path", "/livez/", "/static", "/statics/x"]


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


@pytest.fixture
def guarded(application: Application, faked: ServedModel) -> FlaskClient:
    """A visitor of a service with two keys."""
    return application(faked, api_keys=(FIRST, SECOND)).test_client()


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    path = tmp_path / "keys"
    path.write_text(f"# of the page\n{FIRST}\n\n  {SECOND}  \n")
    path.chmod(0o600)
    return path


@pytest.mark.parametrize("key", [FIRST, SECOND])
def test_each_key_opens_everything(guarded: FlaskClient, key: str) -> None:
    assert ask(guarded, headers=bearer(key)).status_code == 200
    for path in ("/metrics", "/v1/models"):
        assert guarded.get(path, headers=bearer(key)).status_code == 200


def test_the_scheme_is_read_as_http_has_it(guarded: FlaskClient) -> None:
    for value in (f"bearer {FIRST}", f"BEARER   {FIRST}  "):
        assert guarded.get("/metrics", headers={"Authorization": value}).status_code == 200


@pytest.mark.parametrize("path", OPEN)
def test_what_needs_no_key_is_answered_without_one(guarded: FlaskClient, path: str) -> None:
    with guarded.get(path) as response:
        assert response.status_code in {200, 404}


@pytest.mark.parametrize("path", CLOSED)
def test_all_else_is_refused_without_a_key(guarded: FlaskClient, path: str) -> None:
    response = guarded.get(path)
    assert response.status_code == 401
    assert response.headers["WWW-Authenticate"] == "Bearer"


@pytest.mark.parametrize(
    "value",
    [
        "",
        "Bearer",
        "Bearer ",
        f"Basic {FIRST}",
        FIRST,
        f"Bearer {FIRST[:-1]}",
        f"Bearer {FIRST}x",
        f"Bearer {FIRST.upper()}",
        f"Bearer {FIRST},{SECOND}",
        f"Bearer {FIRST} {SECOND}",
        "Bearer \xff\xfe",
        "Bearer " + "x" * 20_000,
    ],
)
def test_a_wrong_key_is_refused_before_anything_is_done(guarded: FlaskClient, engine: FakeEngine, value: str) -> None:
    response = ask(guarded, headers={"Authorization": value} if value else {})
    assert response.status_code == 401
    assert response.headers["WWW-Authenticate"] == "Bearer"
    assert response.mimetype == "text/plain"
    assert response.text.endswith(".")
    assert FIRST not in response.text
    assert not engine.model.sources


def test_the_refusal_has_the_form_that_its_reader_knows(guarded: FlaskClient) -> None:
    problem = ask(guarded, headers=JSON)
    assert problem.mimetype == "application/problem+json"
    assert problem.get_json()["title"] == "invalid_api_key"
    error = guarded.get("/v1/models").get_json()["error"]
    assert error["code"] == "invalid_api_key"
    assert error["type"] == "invalid_request_error"
    assert "Authorization: Bearer" in error["message"]


def test_a_preflight_brings_no_key_and_a_page_may_read_the_refusal(guarded: FlaskClient) -> None:
    origin = {"Origin": "https://page.example"}
    preflight = guarded.options("/chatbot", headers={**origin, "Access-Control-Request-Method": "POST"})
    assert preflight.status_code == 200
    refused = ask(guarded, headers=origin)
    assert refused.status_code == 401
    assert refused.headers["Access-Control-Allow-Origin"] == "*"


def test_requests_without_a_key_are_counted_as_refused_and_not_against_the_limit_of_their_address(
    application: Application, faked: ServedModel
) -> None:
    client = application(faked, api_keys=(FIRST,), client_limit=2).test_client()
    assert [ask(client).status_code for _ in range(5)] == [401] * 5
    assert [ask(client, headers=bearer(FIRST)).status_code for _ in range(3)] == [200, 200, 429]
    text = client.get("/metrics", headers=bearer(FIRST)).text
    assert 'chatbot_rejected_total{reason="invalid_api_key"} 5.0' in text


def test_without_keys_everyone_is_served(application: Application, faked: ServedModel) -> None:
    client = application(faked).test_client()
    assert ask(client, headers=bearer("whatever")).status_code == 200
    assert client.get("/metrics").status_code == 200


def test_a_key_is_compared_with_all_of_them_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[tuple[int, int]] = []

    def compare(left: bytes, right: bytes) -> bool:
        compared.append((len(left), len(right)))
        return hmac.compare_digest(left, right)

    monkeypatch.setattr(keys, "hmac", SimpleNamespace(compare_digest=compare))
    known = Keys([FIRST, SECOND, SECOND])
    assert len(known) == 2
    for key, found in ((FIRST, True), (SECOND, True), ("x", False), ("y" * 1000, False)):
        compared.clear()
        assert (key in known) is found
        assert compared == [(32, 32)] * 2


def test_keys_come_from_the_settings_and_from_a_file(
    application: Application, faked: ServedModel, key_file: Path
) -> None:
    loaded = keys.load(ServiceConfig(api_keys=("third-key-0123456789",), api_keys_file=key_file))
    assert len(loaded) == 3
    client = application(faked, api_keys_file=key_file).test_client()
    assert ask(client).status_code == 401
    assert ask(client, headers=bearer(SECOND)).status_code == 200


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (b"", "holds no API key"),
        (b"# only a comment\n\n", "holds no API key"),
        (FIRST.encode() + b"\nsecret\n", "Line 2 of "),
        (b"secret with spaces 0123456789\n", "Line 1 of "),
        ("sécret-0123456789".encode(), "Line 1 of "),
        (b"\xff\xfe" + FIRST.encode("utf-16-le"), "is not UTF-8 text"),
        (b"\xef\xbb\xbf" + FIRST.encode(), "begins with a byte order mark; leave it out"),
        (f'{FIRST}\n"{FIRST}-2"'.encode(), "has quotes around it; leave them out"),
    ],
)
def test_a_file_without_right_keys_is_refused_and_not_quoted(key_file: Path, content: bytes, named: str) -> None:
    key_file.write_bytes(content)
    with pytest.raises(ConfigurationError) as refusal:
        keys.load(ServiceConfig(api_keys_file=key_file))
    assert named in str(refusal.value)
    assert str(key_file) in str(refusal.value)
    assert "secret" not in str(refusal.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    for path in (tmp_path / "missing", tmp_path):
        with pytest.raises(ConfigurationError, match=f"{path} cannot be read"):
            keys.load(ServiceConfig(api_keys_file=path))


def test_a_file_that_everyone_can_read_is_named_with_the_remedy(key_file: Path) -> None:
    assert keys.exposed(key_file) == ""
    key_file.chmod(0o644)
    assert f"chmod o-rwx {key_file}" in keys.exposed(key_file)


@pytest.fixture(scope="module")
def service(short_export: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceProcess]:
    """A service with a key of the environment and one of a file that everyone can read."""
    path = tmp_path_factory.mktemp("keys") / "keys"
    path.write_text(SECOND)
    path.chmod(0o644)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CHATBOT_API_KEYS", FIRST)
        with ServiceProcess("--model", short_export, "--api-keys-file", path) as process:
            yield process.wait_ready()


class TestLive:
    def test_the_openai_client_raises_its_authentication_error(self, service: ServiceProcess) -> None:
        with (
            openai.OpenAI(base_url=f"{service.url}/v1", api_key="wrong-key-0123456789") as client,
            pytest.raises(openai.AuthenticationError) as refusal,
        ):
            client.models.list()
        assert refusal.value.code == "invalid_api_key"
        with openai.OpenAI(base_url=f"{service.url}/v1", api_key=SECOND) as client:
            assert [model.id for model in client.models.list()] == ["tiny"]

    def test_curl_is_answered_with_a_key(self, service: ServiceProcess) -> None:
        answer = service.curl("-H", f"Authorization: Bearer {FIRST}", "-d", '{"prompt": "Hello"}')
        assert answer.status == 200
        refused = service.curl("-d", '{"prompt": "Hello"}')
        assert (refused.status, refused.headers["Www-Authenticate"]) == (401, "Bearer")

    def test_the_log_warns_of_the_file_and_holds_no_key(self, service: ServiceProcess) -> None:
        service.curl("-H", "Authorization: Bearer wrong-key-0123456789", path=f"/v1/models?key={FIRST}")
        assert "WARNING Every user of this machine can read or change the API keys in " in service.log
        for key in (FIRST, SECOND, "wrong-key"):
            assert key not in service.log


@pytest.mark.parametrize(
    ("host", "told"), [("127.0.0.1", 0), ("::1", 0), ("localhost", 0), ("0.0.0.0", 1), ("chat", 1)]
)
def test_an_address_that_others_reach_is_a_concern_by_number_or_by_name(host: str, told: int) -> None:
    assert len(list(keys.concerns(ServiceConfig(), host))) == told
    assert not list(keys.concerns(ServiceConfig(api_keys=("0123456789abcdef",)), host))
