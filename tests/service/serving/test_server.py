"""The running process, spoken to from outside."""

from __future__ import annotations

import contextlib
import http.client
import json
import shutil
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.service.process import ROOT, Answer, ServiceProcess

BODY = json.dumps({"prompt": "Hello there"}).encode()


@pytest.fixture(scope="module")
def service(short_export: Path) -> Iterator[ServiceProcess]:
    """A service that most tests share; nothing they do may leave a stack trace in its log."""
    with ServiceProcess("--model", short_export) as process:
        yield process.wait_ready()
        assert "Traceback" not in process.log


@pytest.fixture
def slow_service(long_export: Path) -> Iterator[ServiceProcess]:
    """A service whose replies take a while, one thread at work."""
    with ServiceProcess("--model", long_export, "--threads", "1") as process:
        yield process.wait_ready()


def request_bytes(body: bytes = BODY, *, length: object = None, more: str = "") -> bytes:
    """A POST as it stands on the wire; `length` is what Content-Length says."""
    said = len(body) if length is None else length
    return f"POST /chatbot HTTP/1.1\r\nHost: localhost\r\nContent-Length: {said}\r\n{more}\r\n".encode() + body


def connect(service: ServiceProcess) -> socket.socket:
    return socket.create_connection(("127.0.0.1", service.port), timeout=30)


def status_of(connection: socket.socket) -> int:
    with http.client.HTTPResponse(connection) as response:
        response.begin()
        response.read()
        return response.status


@contextlib.contextmanager
def crowd(service: ServiceProcess, count: int) -> Iterator[list[http.client.HTTPConnection]]:
    """Send the messages of as many visitors at once, their replies to be read later."""
    with contextlib.ExitStack() as stack:
        connections = []
        for _ in range(count):
            connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=60)
            stack.callback(connection.close)
            connection.request("POST", "/chatbot", BODY)
            connections.append(connection)
        time.sleep(0.5)
        yield connections


def answer_to(connection: http.client.HTTPConnection) -> Answer:
    with connection.getresponse() as response:
        return Answer(response.status, dict(response.headers), response.read().decode())


def run_service(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run a service that is expected to end by itself."""
    return subprocess.run(
        [sys.executable, "-m", "service", *map(str, arguments)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_a_service_that_answers_has_not_loaded_torch(service: ServiceProcess) -> None:
    assert service.curl("-d", BODY).status == 200
    loaded = Path(f"/proc/{service.pid}/maps").read_text()
    assert "onnxruntime" in loaded
    assert "libtorch" not in loaded


class TestConversation:
    def test_curl_gets_a_reply(self, service: ServiceProcess) -> None:
        answer = service.curl("-d", BODY)
        assert answer.status == 200
        assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
        assert answer.body

    def test_json_is_given_to_those_who_ask_for_it(self, service: ServiceProcess) -> None:
        answer = service.curl("-H", "Accept: application/json", "-d", BODY)
        assert answer.status == 200
        assert json.loads(answer.body)["session_id"] == answer.headers["X-Session-Id"]

    def test_a_cookie_jar_remembers_the_conversation(self, service: ServiceProcess, tmp_path: Path) -> None:
        jar = str(tmp_path / "jar")
        answers = [service.curl("-c", jar, "-b", jar, "-d", BODY) for _ in range(2)]
        assert answers[0].headers["X-Session-Id"] == answers[1].headers["X-Session-Id"]
        session = service.get(f"/sessions/{answers[0].headers['X-Session-Id']}")
        assert [turn["text"] for turn in json.loads(session.body)["turns"]] == [
            "Hello there",
            answers[0].body,
            "Hello there",
            answers[1].body,
        ]

    def test_without_a_jar_each_message_is_a_conversation(self, service: ServiceProcess) -> None:
        answers = [service.curl("-d", BODY) for _ in range(2)]
        assert answers[0].headers["X-Session-Id"] != answers[1].headers["X-Session-Id"]
        assert answers[0].body == answers[1].body

    def test_emoji_and_other_scripts_come_through_the_wire(self, service: ServiceProcess) -> None:
        text = "🙂 שלום 日本語 <mask>"
        answer = service.curl("--data-binary", json.dumps({"prompt": text}, ensure_ascii=False).encode())
        assert answer.status == 200
        session = service.get(f"/sessions/{answer.headers['X-Session-Id']}")
        assert json.loads(session.body)["turns"][0]["text"] == text

    def test_the_page_and_its_files_are_served(self, service: ServiceProcess) -> None:
        assert "<title>Chatbot" in service.get("/").body
        assert service.get("/static/chat.js").status == 200
        assert service.curl("-I", path="/").status == 200


class TestWire:
    def test_a_body_in_chunks_is_read(self, service: ServiceProcess) -> None:
        assert service.curl("-H", "Transfer-Encoding: chunked", "-d", BODY).status == 200

    def test_a_body_over_the_limit_is_refused_with_a_sentence(self, service: ServiceProcess, tmp_path: Path) -> None:
        large = tmp_path / "large.json"
        large.write_text(json.dumps({"prompt": "a" * 3_000_000}))
        for header in ("Expect: 100-continue", "Transfer-Encoding: chunked"):
            answer = service.curl("-H", header, "--data-binary", f"@{large}")
            assert answer.status == 413
            assert answer.body == "The body is larger than 65536 bytes; send less text."

    @pytest.mark.parametrize("length", ["many", "-5", "1e2", "0x10", "5, 6"])
    def test_a_content_length_that_is_no_number_is_refused(self, service: ServiceProcess, length: str) -> None:
        with connect(service) as connection:
            connection.sendall(request_bytes(length=length))
            assert status_of(connection) == 400

    def test_a_body_longer_than_it_said_is_read_no_further(self, service: ServiceProcess) -> None:
        with connect(service) as connection:
            connection.sendall(request_bytes(length=5))
            assert status_of(connection) == 400

    def test_a_body_shorter_than_it_said_costs_nothing_but_its_connection(self, service: ServiceProcess) -> None:
        with connect(service) as connection:
            connection.sendall(request_bytes(length=1000))
            connection.shutdown(socket.SHUT_WR)
            assert connection.recv(1000) == b""
        assert service.curl("-d", BODY).status == 200

    @pytest.mark.parametrize(
        "noise",
        [
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 50 + b"\r\n\r\n",
            b"\r\n\r\n\r\n\r\n",
            b"GET\r\n\r\n",
            b"GET / HTTP/9.9\r\n\r\n",
            b"GET " + b"/" * 100_000 + b" HTTP/1.1\r\n\r\n",
            b"GET / HTTP/1.1\r\nX: " + b"a" * 300_000 + b"\r\n\r\n",
            b"POST /chatbot HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
            b"POST /chatbot HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n",
        ],
        ids=["TLS", "empty", "half a line", "a new version", "long path", "long header", "bad chunk", "bad encoding"],
    )
    def test_noise_is_no_server_error(self, service: ServiceProcess, noise: bytes) -> None:
        with connect(service) as connection:
            with contextlib.suppress(OSError):  # it may have been refused before its end
                connection.sendall(noise)
                connection.shutdown(socket.SHUT_WR)
            received = b""
            with contextlib.suppress(ConnectionError):
                received = connection.recv(1000)
        assert not received or int(received.split(b" ")[1]) in {200, 400, 404, 413, 431, 501}
        assert service.get("/livez").status == 200

    def test_slow_senders_hold_up_nobody(self, service: ServiceProcess) -> None:
        with contextlib.ExitStack() as stack:
            slow = [stack.enter_context(connect(service)) for _ in range(100)]
            for connection in slow:
                connection.sendall(request_bytes()[:-10])
            started = time.monotonic()
            assert service.curl("-d", BODY).status == 200
            assert service.get("/livez").status == 200
            assert time.monotonic() - started < 10
            slow[0].sendall(request_bytes()[-10:])
            assert status_of(slow[0]) == 200

    def test_clients_that_leave_early_harm_nobody(self, service: ServiceProcess) -> None:
        for _ in range(10):
            connection = connect(service)
            connection.sendall(request_bytes())
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            connection.close()
        assert service.curl("-d", BODY).status == 200

    def test_a_crowd_in_one_conversation_leaves_the_service_alive(self, long_export: Path) -> None:
        with ServiceProcess("--model", long_export, "--shared-history", "--threads", "1") as process:
            with crowd(process.wait_ready(), 120) as visitors:
                started = time.monotonic()
                assert process.get("/livez").status == 200
                assert process.get("/readyz").status == 200
                assert time.monotonic() - started < 3
                answers = [answer_to(visitor) for visitor in visitors]
            statuses = [answer.status for answer in answers]
            assert set(statuses) == {200, 503}
            assert statuses.count(200) >= 32
            assert all(int(answer.headers["Retry-After"]) > 0 for answer in answers if answer.status == 503)


class TestStart:
    def test_it_is_alive_but_not_ready_until_the_model_is_loaded(self, short_export: Path) -> None:
        with ServiceProcess("--model", short_export) as process:
            loading = process.get("/readyz")
            assert loading.status == 503
            assert int(loading.headers["Retry-After"]) > 0
            assert json.loads(loading.body)["reason"]
            assert process.get("/livez").status == 200
            refused = process.curl("-d", BODY)
            assert refused.status == 503
            assert refused.body.endswith("Try again in a few seconds.")
            ready = process.wait_ready().get("/readyz")
            assert json.loads(ready.body)["status"] == "ready"
            assert process.curl("-d", BODY).status == 200

    def test_the_log_says_what_is_served_and_where_and_nothing_else(self, service: ServiceProcess) -> None:
        started = service.log.splitlines()[:4]
        assert [line.split(" INFO ")[-1] for line in started] == [
            f"Listening on {service.url}",
            f"Conversations are kept in {service.data}/blenderbot-onnx-server/conversations.sqlite3.",
            "The model tiny is being loaded.",
            "Ready: tiny (int8).",
        ]

    def test_a_port_in_use_is_one_line_and_exit_code_1(self, short_export: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as other:
            port = other.getsockname()[1]
            finished = run_service("--model", short_export, "--port", str(port))
        assert finished.returncode == 1
        assert finished.stderr == (
            f"error: Port {port} on 127.0.0.1 is in use; stop the other program or choose another with --port.\n"
        )

    @pytest.mark.parametrize("host", ["no-such-host.invalid", "192.0.2.1", "a..b", "a b"])
    def test_a_wrong_host_is_one_line_and_exit_code_1(self, short_export: Path, host: str) -> None:
        finished = run_service("--model", short_export, "--port", "0", "--host", host)
        assert finished.returncode == 1
        assert finished.stderr.startswith("error: The address ")
        assert host in finished.stderr
        assert finished.stderr.endswith("choose another with --host.\n")
        assert finished.stderr.count("\n") == 1


def flip_byte(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0x10
    path.write_bytes(content)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def empty_object(path: Path) -> None:
    path.write_text("{}")


def without_precision(path: Path) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | {"quantization": {}}))


def wrong_date(path: Path) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | {"created": "yesterday"}))


class TestModelFolder:
    @pytest.mark.parametrize(
        ("name", "damage"),
        [
            ("weights.bin", flip_byte),
            ("config.json", flip_byte),
            ("decoder_model_merged.onnx", truncate),
            ("tokenizer.json", Path.unlink),
            ("manifest.json", Path.unlink),
            ("manifest.json", truncate),
            ("manifest.json", empty_object),
            ("manifest.json", without_precision),
            ("manifest.json", wrong_date),
        ],
    )
    def test_a_damaged_folder_is_named_with_the_way_to_export_it_again(
        self, short_export: Path, tmp_path: Path, name: str, damage: Callable[[Path], None]
    ) -> None:
        folder = tmp_path / "damaged"
        shutil.copytree(short_export, folder)
        damage(folder / name)
        finished = run_service("--model", folder, "--port", "0")
        assert finished.returncode == 1
        assert finished.stdout == ""
        assert "Traceback" not in finished.stderr
        complaint = finished.stderr.splitlines()[-1]
        assert str(folder) in complaint
        assert name in complaint
        assert "python -m export" in complaint

    @pytest.mark.parametrize("name", ["missing", "file", "empty", "checkpoint"])
    def test_what_is_no_exported_folder_is_said_to_be_none(
        self, tiny_checkpoint: Path, tmp_path: Path, name: str
    ) -> None:
        (tmp_path / "file").write_text("text")
        (tmp_path / "empty").mkdir()
        (tmp_path / "checkpoint").symlink_to(tiny_checkpoint)
        finished = run_service("--model", tmp_path / name, "--port", "0")
        assert finished.returncode == 1
        assert "Traceback" not in finished.stderr
        complaint = finished.stderr.splitlines()[-1]
        assert str(tmp_path / name) in complaint
        assert "python -m export" in complaint


# The main thread takes no signal once it serves, so that another one must.
NOT_IN_THE_MAIN_THREAD = """
import signal
from service.serving.server import Server
run = Server.run
def blocked(self):
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    return run(self)
Server.run = blocked
"""


class TestStop:
    def test_a_signal_counts_whichever_thread_takes_it(self, short_export: Path) -> None:
        with ServiceProcess("--model", short_export, planted=NOT_IN_THE_MAIN_THREAD) as process:
            process.wait_ready().signal(signal.SIGTERM)
            assert process.wait(timeout_s=10) == 0

    def test_the_first_sigterm_lets_accepted_replies_finish_and_refuses_new_ones(
        self, slow_service: ServiceProcess
    ) -> None:
        with crowd(slow_service, 24) as accepted:
            slow_service.signal(signal.SIGTERM)
            time.sleep(0.1)
            ready = slow_service.get("/readyz")
            assert ready.status == 503
            assert int(ready.headers["Retry-After"]) > 0
            assert slow_service.get("/livez").status == 200
            refused = slow_service.curl("-d", BODY)
            assert refused.status == 503
            assert int(refused.headers["Retry-After"]) > 0
            assert "shutting down" in refused.body
            answers = [answer_to(connection) for connection in accepted]
        assert [answer.status for answer in answers] == [200] * 24
        assert all(answer.body for answer in answers)
        assert slow_service.wait() == 0

    def test_a_second_sigterm_ends_it_at_once(self, slow_service: ServiceProcess) -> None:
        with crowd(slow_service, 24):
            slow_service.signal(signal.SIGTERM)
            time.sleep(0.1)
            slow_service.signal(signal.SIGTERM)
            assert slow_service.wait(timeout_s=2) != 0

    def test_replies_that_take_longer_than_the_drain_timeout_are_given_up(self, long_export: Path) -> None:
        with (
            ServiceProcess("--model", long_export, "--threads", "1", "--drain-timeout", "0.1") as process,
            crowd(process.wait_ready(), 24),
        ):
            process.signal(signal.SIGTERM)
            assert process.wait(timeout_s=4) == 1
            assert "did not finish within 0.1 seconds" in process.log

    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
    def test_it_can_be_stopped_while_it_loads(self, short_export: Path, number: signal.Signals) -> None:
        with ServiceProcess("--model", short_export) as process:
            assert process.get("/livez").status == 200
            process.signal(number)
            assert process.wait() == 0
            assert "Traceback" not in process.log

    def test_an_open_connection_does_not_hold_up_the_end(self, short_export: Path) -> None:
        with ServiceProcess("--model", short_export) as process, connect(process.wait_ready()) as connection:
            connection.sendall(request_bytes()[:-10])
            started = time.monotonic()
            process.signal(signal.SIGTERM)
            assert process.wait() == 0
            assert time.monotonic() - started < 5
