"""What stands in the log, in both formats, and what must never stand there."""

from __future__ import annotations

import io
import json
import logging
import re
import signal
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Iterator
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from service import logs
from service.errors import EngineFault
from service.serving.model_host import ServedModel
from tests.service import streams
from tests.service.conftest import Application
from tests.service.fakes import FakeEngine
from tests.service.process import ServiceProcess
from tests.service.visitor import ask

HOSTILE = "one\r\ntwo\x1b[31m\x00\x85\u2028three"
LINE = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} (INFO|WARNING|ERROR|CRITICAL) ")


@pytest.fixture
def log(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    """What a configured log writes; the format is the fixture's parameter, JSON unless one is given."""
    root = logging.getLogger()
    before = root.handlers[:], root.level, logging.getLogger("service").level, threading.excepthook
    written = io.StringIO()
    monkeypatch.setattr(sys, "stderr", written)
    logs.configure(getattr(request, "param", "json"))
    yield written
    logging.captureWarnings(False)
    root.handlers[:] = before[0]
    root.setLevel(before[1])
    logging.getLogger("service").setLevel(before[2])
    threading.excepthook = before[3]


@pytest.fixture
def client(application: Application, faked: ServedModel) -> FlaskClient:
    return application(faked).test_client()


def entries(log: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in log.getvalue().splitlines()]


@pytest.mark.parametrize("path", ["/chatbot", "/v1/chat/completions"])
@pytest.mark.parametrize("stream", [False, True])
def test_a_line_counts_the_tokens_of_a_message_that_the_model_did_not_read(
    client: FlaskClient, log: io.StringIO, path: str, stream: bool
) -> None:
    text = "word " * 300
    said = {"prompt": text} if path == "/chatbot" else {"messages": [{"role": "user", "content": text}]}
    with client.post(path, data=json.dumps({**said, "stream": stream})) as response:
        assert response.data
    (entry,) = entries(log)
    assert entry["truncated_tokens"] > 100


def test_a_reply_is_one_line_with_its_tokens_and_times(client: FlaskClient, log: io.StringIO) -> None:
    with ask(client, headers={"X-Request-Id": "my-request"}) as response:
        session, size = response.headers["X-Session-Id"], len(response.data)
    (entry,) = entries(log)
    assert entry["message"] == "POST /chatbot 200"
    assert (entry["method"], entry["route"], entry["status"]) == ("POST", "/chatbot", 200)
    assert entry["level"] == "INFO"
    assert entry["request_id"] == "my-request"
    assert entry["client"] == "127.0.0.1"
    assert entry["bytes"] == size
    assert entry["completion_tokens"] == 2
    assert entry["prompt_tokens"] > 0
    assert entry["truncated_tokens"] == 0
    assert 0 < entry["decode_s"] <= entry["duration_s"] < 10
    assert {"queue_s", "encode_s"} <= set(entry)
    assert entry["time"].endswith("+00:00")
    assert session not in log.getvalue()
    assert "Hello there" not in log.getvalue()


def test_a_stream_is_one_line_too_when_it_has_ended(client: FlaskClient, log: io.StringIO) -> None:
    with ask(client, stream=True, headers={"X-Request-Id": "my-stream"}) as response:
        assert not log.getvalue()
        assert streams.read(response.iter_encoded()).done is not None
    (entry,) = entries(log)
    assert (entry["request_id"], entry["status"], entry["completion_tokens"]) == ("my-stream", 200, 2)


def test_what_went_wrong_is_named_in_the_line_of_the_request(
    client: FlaskClient, engine: FakeEngine, log: io.StringIO
) -> None:
    engine.error = EngineFault("The model failed.")
    engine.error.__cause__ = ValueError("the reason")
    ask(client).close()
    client.post("/chatbot", data=b"no JSON").close()
    cause, fault, refusal = entries(log)
    assert "the reason" in cause["message"]
    assert cause["request_id"] == fault["request_id"]
    assert (fault["status"], fault["error"]) == (500, "engine_fault")
    assert (refusal["status"], refusal["error"]) == (400, "bad_request")


def test_a_stored_reply_is_marked_and_counts_no_tokens(client: FlaskClient, log: io.StringIO) -> None:
    for _ in range(2):
        ask(client, headers={"Idempotency-Key": "0123456789abcdef"}).close()
    first, second = entries(log)
    assert "replayed" not in first
    assert second["replayed"] is True
    assert "completion_tokens" not in second
    assert "0123456789abcdef" not in log.getvalue()


def test_the_trace_of_an_error_is_a_field_of_a_line_with_its_request_id(
    client: FlaskClient, engine: FakeEngine, log: io.StringIO
) -> None:
    engine.error = RuntimeError(HOSTILE)
    with ask(client, headers={"X-Request-Id": "broken"}) as response:
        assert response.status_code == 500
    failure, finished = entries(log)
    assert failure["level"] == "ERROR"
    assert failure["request_id"] == finished["request_id"] == "broken"
    assert failure["exception"].startswith("Traceback")
    assert "RuntimeError" in failure["exception"]


@pytest.mark.parametrize("log", ["text"], indirect=True)
def test_the_trace_of_an_error_looks_like_no_other_line(
    client: FlaskClient, engine: FakeEngine, log: io.StringIO
) -> None:
    engine.error = RuntimeError("\n2026-01-01 00:00:00,000 INFO forged\x1b[2J")
    ask(client).close()
    failure, *trace, finished = log.getvalue().splitlines()
    assert LINE.match(failure)
    assert LINE.match(finished)
    assert len(trace) > 2
    assert all(line.startswith("    ") for line in trace)
    assert "\x1b" not in log.getvalue()


@pytest.mark.parametrize(
    "path", ["/livez", "/readyz", "/health", "/metrics", "/static/chat.js", "/static/no-such-file"]
)
def test_what_is_asked_all_the_time_leaves_no_line(client: FlaskClient, log: io.StringIO, path: str) -> None:
    client.get(path).close()
    assert not log.getvalue()


@pytest.mark.parametrize("log", ["text", "json"], indirect=True)
def test_neither_path_nor_headers_can_forge_a_line_or_give_a_conversation_away(
    client: FlaskClient, log: io.StringIO
) -> None:
    with ask(client) as response:
        session = response.headers["X-Session-Id"]
    client.get(f"/sessions/{session}").close()
    client.delete(f"/sessions/{session}").close()
    client.get(f"/sessions/{session}/more?{session}").close()
    client.get("/%0d%0a2026-01-01%20INFO%20forged%1b[31m").close()
    client.open("/chatbot", method="FORGED" * 100).close()
    ask(client, headers={"X-Request-Id": "a b", "X-Session-Id": "forged-id", "X-Forwarded-For": "forged"}).close()
    lines = log.getvalue().splitlines()
    assert len(lines) == 7
    assert session not in log.getvalue()
    assert "forged" not in log.getvalue().lower()
    assert "\x1b" not in log.getvalue()


@pytest.mark.parametrize("log", ["text", "json"], indirect=True)
def test_control_characters_are_written_as_escapes(log: io.StringIO) -> None:
    logging.getLogger("service").info("said: %s", HOSTILE)
    (line,) = log.getvalue().split("\n")[:-1]
    assert not re.search(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]", line)
    assert r"two" in line
    assert r"\x1b" in line or r"\u001b" in line


def test_the_client_is_the_one_that_the_limits_know(
    application: Application, faked: ServedModel, log: io.StringIO
) -> None:
    client = application(faked, trusted_proxies=(ip_network("127.0.0.1"),)).test_client()
    ask(client, headers={"X-Forwarded-For": "192.0.2.7"}).close()
    assert entries(log)[0]["client"] == "192.0.2.7"


@pytest.mark.filterwarnings("default")
def test_libraries_warnings_and_failing_threads_speak_in_the_same_format(log: io.StringIO) -> None:
    from transformers.utils import logging as transformers_logging

    library = logging.getLogger("transformers")
    handlers, propagate = library.handlers[:], library.propagate
    transformers_logging.get_logger("transformers.some_module")
    try:
        logs.adopt_libraries()
        logging.getLogger("transformers.some_module").warning("from transformers")
    finally:
        library.handlers[:], library.propagate = handlers, propagate
    logging.getLogger("waitress").warning("from waitress")
    logging.getLogger("waitress").info("chatter")
    warnings.warn("from Python", UserWarning, stacklevel=1)

    def fail() -> None:
        raise RuntimeError("from a thread")

    thread = threading.Thread(target=fail, name="some-thread")
    thread.start()
    thread.join()
    found = entries(log)
    assert [entry["logger"] for entry in found] == [
        "transformers.some_module",
        "waitress",
        "py.warnings",
        "service.logs",
    ]
    assert "from a thread" in found[-1]["exception"]
    assert "some-thread" in found[-1]["message"]


def test_a_running_service_writes_nothing_but_json_from_start_to_stop(short_export: Path) -> None:
    with ServiceProcess("--model", short_export, "--log-format", "json") as process:
        process.wait_ready()
        process.curl("-H", "X-Request-Id: curl-1", "-d", '{"prompt": "A secret"}')
        process.curl("-H", "X-Request-Id: curl-2", "-d", '{"prompt": "A secret", "stream": true}')
        process.curl("-d", '{"prompt": "A secret", "session_id": "unknown"}')
        # The line of a request is written once its last byte has been sent.
        while "404" not in process.log:
            time.sleep(0.01)
        process.signal(signal.SIGTERM)
        assert process.wait() == 0
        found = [json.loads(line) for line in process.log.splitlines()]
    assert found[0]["message"] == f"Listening on {process.url}"
    requests = [entry for entry in found if "status" in entry]
    assert [entry["status"] for entry in requests] == [200, 200, 404]
    assert [entry["request_id"] for entry in requests[:2]] == ["curl-1", "curl-2"]
    assert "secret" not in process.log
    assert found[-1]["message"].startswith("Shutting down")


def test_an_error_at_the_start_is_json_where_json_is_asked_for(short_export: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "service", "--model", short_export, "--host", "192.0.2.1", "--log-format", "json"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 1
    (line,) = ended.stderr.splitlines()
    assert json.loads(line)["level"] == "ERROR"
