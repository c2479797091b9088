"""Containers behind a proxy, as far as can be told without a container engine: the file of compose, and the proxy's own
configuration in a real HAProxy before two real services with one real Redis."""

from __future__ import annotations

import http.client
import json
import re
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from service.chat.prompt import PromptFormat
from service.conversations.redis import NEEDS
from service.settings import OPTIONS, parse
from tests.redis_server import RedisServer
from tests.service import echo
from tests.service.process import ROOT, ServiceProcess, free_port
from tests.service.soak import converse, insist_while

DEPLOY = ROOT / "deploy"
START_TIMEOUT_S = 20.0
# More than the service itself allows, so that it says what kept it.
DRAIN_TIMEOUT_S = 60.0
# More than run at once, so that some wait for others.
LEAVERS = 16


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text(encoding="utf-8"))["services"]
    return found


def environment(services: dict[str, Any]) -> dict[str, str]:
    """What a service gets when nothing is set outside."""
    pairs = [entry.partition("=") for entry in services["chatbot"]["environment"]]
    return {name: re.sub(r"\$\{\w+:-(\w*)\}", r"\1", value) for name, is_set, value in pairs if is_set}


def test_the_services_settings_are_right(services: dict[str, Any]) -> None:
    known = {option.variable for option in OPTIONS.values()}
    named = {entry.partition("=")[0] for entry in services["chatbot"]["environment"]}
    assert named <= known
    config = parse([], environment(services))
    assert config.store == "redis://redis:6379/0"
    assert config.threads == 2
    assert int(services["chatbot"]["stop_grace_period"].removesuffix("s")) > config.drain_timeout_s


def test_redis_keeps_what_it_acknowledges(services: dict[str, Any]) -> None:
    command = services["redis"]["command"].split()
    given = {command[at].removeprefix("--"): command[at + 1] for at in range(1, len(command), 2)}
    assert given == {name: needed for name, (needed, _) in NEEDS.items()}


def test_what_is_mounted_or_built_is_there(services: dict[str, Any]) -> None:
    assert (DEPLOY / services["chatbot"]["build"] / "Dockerfile").is_file()
    source = services["proxy"]["volumes"][0].split(":")[0]
    assert (DEPLOY / source).is_file()


def test_only_this_machine_reaches_the_proxy_and_only_the_services_reach_redis(services: dict[str, Any]) -> None:
    assert all(port.startswith("127.0.0.1:") for service in services.values() for port in service.get("ports", []))
    networks = yaml.safe_load((DEPLOY / "compose.yaml").read_text(encoding="utf-8"))["networks"]
    assert services["redis"]["networks"] == ["store"]
    assert networks["store"]["internal"]


def test_containers_can_write_their_volumes_alone_and_gain_no_rights(services: dict[str, Any]) -> None:
    for service in services.values():
        assert service["read_only"]
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]


class Deployment(NamedTuple):
    """Two services and the proxy before them."""

    port: int
    services: list[ServiceProcess]


@pytest.fixture(scope="module")
def deployment(short_export: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """One that tests share and leave as it is."""
    with deployed(short_export, tmp_path_factory.mktemp("deployment")) as shared:
        yield shared


@pytest.fixture
def doomed(short_export: Path, tmp_path: Path) -> Iterator[Deployment]:
    """One that loses a service."""
    with deployed(short_export, tmp_path) as own:
        yield own


@contextmanager
def deployed(model: Path, folder: Path) -> Iterator[Deployment]:
    with RedisServer(folder) as redis:
        flags = ("--model", model, "--store", redis.url())
        with (
            ServiceProcess(*flags, planted=echo.PLANTED) as first,
            ServiceProcess(*flags, planted=echo.PLANTED) as second,
        ):
            both = [first.wait_ready(), second.wait_ready()]
            with proxy([service.port for service in both], folder) as port:
                yield Deployment(port, both)


@contextmanager
def proxy(ports: list[int], folder: Path, *, request_timeout: str = "30s") -> Iterator[int]:
    """HAProxy with our configuration, its names replaced by addresses of this machine; gives its port."""
    port = free_port()
    text = (DEPLOY / "haproxy.cfg").read_text(encoding="utf-8")
    text = replace_once(r"bind :8080", f"bind 127.0.0.1:{port}", text)
    text = replace_once(r"timeout http-request 30s", f"timeout http-request {request_timeout}", text)
    servers = "\n    ".join(f"server at-{name} 127.0.0.1:{name}" for name in ports)
    path = folder / "haproxy.cfg"
    path.write_text(replace_once(r"server-template .*", servers, text), encoding="utf-8")
    checked = subprocess.run(["haproxy", "-c", "-f", path], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stderr
    assert "WARNING" not in checked.stderr, checked.stderr
    with subprocess.Popen(["haproxy", "-f", path], stderr=subprocess.DEVNULL) as running:
        end = time.monotonic() + START_TIMEOUT_S
        try:
            while ask(port, "GET", "/readyz").status != 200:
                assert time.monotonic() < end, "the proxy finds no service"
                time.sleep(0.1)
            yield port
        finally:
            running.kill()


class Reply(NamedTuple):
    """What came back; status 0 when nothing listens."""

    status: int
    body: str


def ask(port: int, method: str, path: str, body: str | None = None) -> Reply:
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=10)) as opened:
        try:
            opened.request(method, path, body)
        except ConnectionRefusedError:
            return Reply(0, "")
        response = opened.getresponse()
        return Reply(response.status, response.read().decode())


def replace_once(pattern: str, replacement: str, text: str) -> str:
    replaced, count = re.subn(pattern, replacement, text)
    assert count == 1, f"{pattern} is there {count} times"
    return replaced


def test_conversations_go_on_at_whichever_service(deployment: Deployment, prompt_format: PromptFormat) -> None:
    assert converse(deployment.port, prompt_format, conversations=32, clients=8, exchanges=6) == []
    assert all(service.metric("chatbot_prompt_tokens_total") > 0 for service in deployment.services)


def test_nobody_whose_messages_have_keys_notices_that_a_service_is_killed(
    doomed: Deployment, prompt_format: PromptFormat
) -> None:
    outcome = insist_while(
        doomed.port,
        prompt_format,
        clients=16,
        exchanges=60,
        within_s=30.0,
        disturb=lambda: doomed.services[0].signal(signal.SIGKILL),
    )
    assert outcome.mistakes == []
    assert outcome.acknowledged >= 120
    assert outcome.interrupted == 0


def test_a_service_that_drains_finishes_what_it_has_and_soon_gets_no_more(
    doomed: Deployment, prompt_format: PromptFormat
) -> None:
    first = doomed.services[0]

    def drain() -> None:
        first.signal(signal.SIGTERM)
        assert first.wait(DRAIN_TIMEOUT_S) == 0
        time.sleep(3.0)

    outcome = insist_while(doomed.port, prompt_format, clients=8, exchanges=30, within_s=30.0, disturb=drain)
    assert outcome.mistakes == []
    afterwards = insist_while(doomed.port, prompt_format, clients=8, exchanges=30, within_s=0.0, disturb=lambda: None)
    assert (afterwards.interrupted, afterwards.mistakes) == (0, [])


def test_what_a_client_says_of_its_address_is_not_passed_on(deployment: Deployment) -> None:
    with closing(http.client.HTTPConnection("127.0.0.1", deployment.port, timeout=10)) as opened:
        headers = {"X-Forwarded-For": "203.0.113.9", "X-Forwarded-Proto": "https"}
        opened.request("POST", "/chatbot", json.dumps({"prompt": "Hello"}), headers)
        response = opened.getresponse()
        assert response.status == 200
        assert "Secure" not in response.headers["Set-Cookie"]
    assert not any("203.0.113.9" in service.log for service in deployment.services)


@pytest.mark.parametrize("path", ["/metrics", "//metrics", "/%6detrics", "/metrics/", "/metrics?x", "/%2fmetrics"])
def test_metrics_are_not_for_those_who_come_through_the_proxy(deployment: Deployment, path: str) -> None:
    answer = ask(deployment.port, "GET", path)
    assert answer.status == 404
    assert "chatbot_" not in answer.body


def test_a_body_that_trickles_in_is_given_up(deployment: Deployment, tmp_path: Path) -> None:
    ports = [service.port for service in deployment.services]
    with (
        proxy(ports, tmp_path, request_timeout="1s") as port,
        socket.create_connection(("127.0.0.1", port), timeout=10) as slow,
    ):
        slow.sendall(b"POST /chatbot HTTP/1.1\r\nHost: localhost\r\nContent-Length: 30000\r\n\r\n" + b"x" * 20_000)
        assert slow.recv(100).split()[1] == b"408"


@pytest.mark.parametrize("stream", [True, False])
def test_streams_come_through_and_who_leaves_is_noticed(long_export: Path, tmp_path: Path, stream: bool) -> None:
    with ServiceProcess("--model", long_export) as service, proxy([service.wait_ready().port], tmp_path) as port:
        opened = [http.client.HTTPConnection("127.0.0.1", port, timeout=10) for _ in range(LEAVERS)]
        for connection in opened:
            connection.request("POST", "/chatbot", json.dumps({"prompt": "Hello", "stream": stream}))
        if stream:
            assert opened[-1].getresponse().readline().startswith(b": the reply follows")
        while not service.metric("chatbot_queue_size"):
            time.sleep(0.01)
        for connection in opened:
            connection.close()
        service.wait_idle()
        assert service.metric("chatbot_cancelled_total") >= LEAVERS / 2
