"""The balancer before the machines of a cluster: a real HAProxy with its configuration, and machines that misbehave."""

from __future__ import annotations

import http.client
import json
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from deploy import balancer
from service.errors import ConfigurationError
from tests.service.process import ROOT, free_port

START_TIMEOUT_S = 20.0
KEY = {"Idempotency-Key": "one"}
BURST = 100


class Proxy(ThreadingHTTPServer):
    """The proxy of one machine.

    Attributes:
        answer: status of its answers to messages; 0 for a connection that is closed in place of one.
        leaving: whether its machine is about to leave the cluster.
        took: headers of the messages that reached it.
        gate: while it is shut, messages wait for their answers.
        before_answer: called before each answer.
    """

    request_queue_size = BURST
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answer = 200
        self.leaving = False
        self.took: list[dict[str, str]] = []
        self.gate = threading.Event()
        self.gate.set()
        self.before_answer: Callable[[], None] = lambda: None

    @property
    def port(self) -> int:
        return int(self.server_address[1])


class _Handler(BaseHTTPRequestHandler):
    server: Proxy
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        if self.path == "/sessions/one":
            self._answer()
        else:
            self._say(503 if self.path == "/-/healthz" and self.server.leaving else 200)

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self._answer()

    def _answer(self) -> None:
        self.server.took.append({name.lower(): value for name, value in self.headers.items()})
        self.server.gate.wait(START_TIMEOUT_S)
        self.server.before_answer()
        if self.server.answer:
            self._say(self.server.answer)
        else:
            self.close_connection = True

    def _say(self, status: int) -> None:
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def handle(self) -> None:
        try:
            super().handle()
        except ConnectionError:
            self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:
        pass


Balanced = tuple[int, list[Proxy]]


@contextmanager
def balanced(count: int, folder: Path, *lost: int) -> Iterator[Balanced]:
    """A balancer before so many machines, and ports at which nothing listens; gives its own port, and the machines."""
    port = free_port()
    with ExitStack() as stack:
        proxies = [stack.enter_context(serving()) for _ in range(count)]
        ports = [*lost, *(proxy.port for proxy in proxies)]
        text = balancer.configuration([f"127.0.0.1:{name}" for name in ports])
        path = folder / "haproxy.cfg"
        path.write_text(text.replace("bind :8080", f"bind 127.0.0.1:{port}"), encoding="utf-8")
        running = stack.enter_context(subprocess.Popen(["haproxy", "-f", path], stderr=subprocess.DEVNULL))
        stack.callback(running.kill)
        wait_until(lambda: ask(port, "GET", "/readyz") == 200)
        yield port, proxies


@contextmanager
def serving() -> Iterator[Proxy]:
    with Proxy() as proxy:
        thread = threading.Thread(target=proxy.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield proxy
        proxy.shutdown()
        thread.join()


def wait_until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + START_TIMEOUT_S
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def ask(port: int, method: str = "POST", path: str = "/chatbot", headers: dict[str, str] | None = None) -> int:
    """The status of an answer; 0 when there is none."""
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=30)) as opened:
        try:
            body = json.dumps({"prompt": "Hello"}) if method == "POST" else None
            opened.request(method, path, body, headers or {})
            return opened.getresponse().status
        except OSError:
            return 0


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Balanced]:
    with balanced(2, tmp_path) as running:
        yield running


def test_it_is_the_configuration_of_the_containers_with_a_line_for_each_machine(tmp_path: Path) -> None:
    addresses = ["10.0.0.1", "10.0.0.2:5001", "[fd00::3]", "127.0.0.1"]
    text = balancer.configuration(addresses)
    own = [line for line in text.splitlines() if line not in balancer.TEMPLATE.read_text(encoding="utf-8").splitlines()]
    servers = [line.split()[2] for line in own if line.startswith("    server ")]
    assert servers == ["10.0.0.1:5000", "10.0.0.2:5001", "[fd00::3]:5000", "127.0.0.1:5000"]
    assert all(re.match(r" +(server|option httpchk$|http-check) ?", line) for line in own), own
    assert "resolvers" not in text
    (tmp_path / "haproxy.cfg").write_text(text, encoding="utf-8")
    checked = subprocess.run(
        ["haproxy", "-c", "-f", tmp_path / "haproxy.cfg"], capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stderr
    assert "WARNING" not in checked.stderr, checked.stderr


@pytest.mark.parametrize(
    ("addresses", "told"),
    [
        (["http://10.0.0.1"], "http://10.0.0.1 is no address; name a machine like 10.0.0.1 or 10.0.0.1:5000."),
        (["10.0.0.1:0"], "10.0.0.1:0 is no address"),
        (["10.0.0.1:65536"], "10.0.0.1:65536 is no address"),
        (["a b"], "a b is no address"),
        (["10.0.0.1", "10.0.0.1:5000"], "name each machine once"),
    ],
)
def test_what_is_no_address_is_told_in_a_sentence(addresses: list[str], told: str) -> None:
    with pytest.raises(ConfigurationError) as error:
        balancer.configuration(addresses)
    assert told in str(error.value)
    command = (sys.executable, "-m", "deploy.balancer", *addresses)
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=30, check=False)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr == f"error: {error.value}\n"


def both_took(proxies: list[Proxy]) -> bool:
    return [len(proxy.took) for proxy in proxies] == [1, 1]


@pytest.mark.parametrize("answer", [0, 500, 503])
def test_a_message_with_a_key_that_one_machine_loses_or_refuses_is_answered_by_another(
    pair: Balanced, answer: int
) -> None:
    port, proxies = pair
    lost: list[Proxy] = []

    def lose_once(proxy: Proxy) -> Callable[[], None]:
        def lose() -> None:
            proxy.answer = 200 if lost else answer
            lost.append(proxy)

        return lose

    for proxy in proxies:
        proxy.before_answer = lose_once(proxy)
    assert ask(port, headers=KEY) == 200
    assert both_took(proxies)


@pytest.mark.parametrize(("answer", "told"), [(0, 502), (500, 500), (503, 503)])
def test_a_message_without_a_key_is_sent_once(pair: Balanced, answer: int, told: int) -> None:
    port, proxies = pair
    for proxy in proxies:
        proxy.answer = answer
    assert ask(port) == told
    assert sum(len(proxy.took) for proxy in proxies) == 1


def test_what_only_reads_is_tried_again_without_a_key(pair: Balanced) -> None:
    port, proxies = pair
    for proxy in proxies:
        proxy.answer = 0
    assert ask(port, "GET", "/sessions/one") == 502
    assert all(proxy.took for proxy in proxies)


def test_a_message_that_no_machine_survives_reaches_three_of_them(tmp_path: Path) -> None:
    with balanced(5, tmp_path) as (port, proxies):
        for proxy in proxies:
            proxy.answer = 0
        assert ask(port, headers=KEY) == 502
        assert sum(len(proxy.took) for proxy in proxies) == 3


def test_a_machine_at_which_nothing_listens_costs_no_message(tmp_path: Path) -> None:
    with balanced(2, tmp_path, free_port()) as (port, _):
        assert [ask(port) for _ in range(12)] == [200] * 12


def test_a_machine_that_leaves_gets_no_more_messages(pair: Balanced) -> None:
    port, (first, second) = pair
    first.leaving = True

    def left() -> bool:
        before = len(first.took)
        return [ask(port) for _ in range(4)] == [200] * 4 and len(first.took) == before

    wait_until(left)
    assert len(second.took) >= 4


def test_many_messages_at_once_are_spread_evenly(pair: Balanced) -> None:
    port, proxies = pair
    for proxy in proxies:
        proxy.gate.clear()
    with ThreadPoolExecutor(BURST) as pool:
        asked = [pool.submit(ask, port) for _ in range(BURST)]
        wait_until(lambda: sum(len(proxy.took) for proxy in proxies) == BURST)
        for proxy in proxies:
            proxy.gate.set()
        assert [one.result() for one in asked] == [200] * BURST
    assert min(len(proxy.took) for proxy in proxies) >= 0.4 * BURST


def test_the_client_does_not_set_the_time_that_rays_proxy_waits(pair: Balanced) -> None:
    port, proxies = pair
    assert ask(port, headers={"X-Request-Timeout-Seconds": "100000"}) == 200
    (took,) = (headers for proxy in proxies for headers in proxy.took)
    assert "x-request-timeout-seconds" not in took
