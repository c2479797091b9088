from __future__ import annotations

import signal
import sys
import time
from pathlib import Path

import pytest

from benchmarks import server_process
from benchmarks.errors import ServerError
from benchmarks.server_process import ServerProcess, uninterrupted
from tests.benchmarks.fake_server import DEATH_CODE, TOKENS


def fake(mode: str) -> ServerProcess:
    return ServerProcess("fake", (sys.executable, "-m", "tests.benchmarks.fake_server", mode))


def test_server_is_ready_at_its_address_and_gone_afterwards() -> None:
    with fake("honest") as process:
        process.wait_ready(20)
        assert process.host == "127.0.0.1"
        assert process.port > 0
        assert process.ended is None
        assert process.settle(20)
    assert not Path(f"/proc/{process.pid}").exists()


def test_server_that_does_not_start_is_told_in_one_sentence() -> None:
    with fake("stillborn") as process, pytest.raises(ServerError) as caught:
        process.wait_ready(20)
    assert str(caught.value) == (
        f"The fake server did not become ready: it ended with exit code {DEATH_CODE}; its last words: no wool left."
    )


def test_server_that_never_becomes_ready_is_told_in_one_sentence() -> None:
    with fake("unready") as process:
        end = time.monotonic() + 20
        while not process.port:
            assert time.monotonic() < end
            with pytest.raises(ServerError) as caught:
                process.wait_ready(0.2)
    assert str(caught.value) == (
        f"The fake server was not ready after 0.2 s; it last said: Listening on http://127.0.0.1:{process.port}."
    )


def test_exception_ends_the_server_at_once() -> None:
    with pytest.raises(KeyboardInterrupt), fake("unready") as process:
        raise KeyboardInterrupt
    assert not Path(f"/proc/{process.pid}").exists()


def test_settings_of_our_service_do_not_come_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHATBOT_PORT", "5000")
    program = "import os, sys; sys.exit(f'{sorted(name for name in os.environ if name.startswith(\"CHATBOT_\"))}')"
    with ServerProcess("fake", (sys.executable, "-c", program)) as process, pytest.raises(ServerError, match=r"\[\]"):
        process.wait_ready(20)


def test_server_that_goes_on_working_does_not_come_to_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    from benchmarks.client import Client

    monkeypatch.setattr(server_process, "QUIET_S", 0.1)
    with fake("restless") as process:
        process.wait_ready(20)
        assert process.settle(20)
        now = time.perf_counter()
        assert Client(process.host, process.port, 1, TOKENS, 5.0).ask("hello", now, now).error == ""
        assert not process.settle(0.2)


def test_interrupt_is_put_off_and_not_lost() -> None:
    steps: list[str] = []

    def work() -> None:
        with uninterrupted():
            signal.raise_signal(signal.SIGINT)
            steps.append("done")
        steps.append("too late")

    with pytest.raises(KeyboardInterrupt):
        work()
    assert steps == ["done"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
