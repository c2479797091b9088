"""Programs that are run to their end, workers, and servers."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time
from pathlib import Path

import pytest

from benchmarks import process as programs
from benchmarks.client import Client
from benchmarks.contestants import worker_command
from benchmarks.errors import ContestantError, ServerError
from benchmarks.process import PROJECT, Ending, ServerProcess, WorkerProcess, peak_bytes, run, uninterrupted
from tests.benchmarks.fake_server import TOKENS
from tests.benchmarks.fake_worker import DEATH_CODE

GENERATE = {"ids": [5, 6, 2], "beams": 1, "new_tokens": 4}


def fake(mode: str) -> WorkerProcess:
    return WorkerProcess("fake", (sys.executable, "-m", "tests.benchmarks.fake_worker", mode))


def loaded(process: WorkerProcess) -> WorkerProcess:
    process.request("load", path="anywhere", threads=1)
    return process


def test_requests_are_answered_in_turn() -> None:
    with fake("honest") as process:
        assert process.request("load", path="anywhere", threads=1) == {}
        reply = process.request("generate", **GENERATE)
        assert reply["tokens"] == [2, 6, 5, 2]
        assert reply["seconds"] >= 0
        assert peak_bytes(process.pid) > 1_000_000
    assert not Path(f"/proc/{process.pid}").exists()


def test_error_in_the_engine_is_told_in_one_line() -> None:
    with fake("refuses") as process, pytest.raises(ContestantError) as caught:
        loaded(process).request("generate", **GENERATE)
    assert str(caught.value) == "The fake process could not generate: RuntimeError: the beams are tired."


def test_unknown_request_is_refused() -> None:
    with fake("honest") as process, pytest.raises(ContestantError, match="unknown op dance"):
        process.request("dance")


def test_worker_that_ends_is_reported_with_its_code_and_last_line() -> None:
    with fake("dies") as process:
        loaded(process).request("generate", **GENERATE)
        process.request("generate", **GENERATE)
        with pytest.raises(ContestantError, match=f"exit code {DEATH_CODE}; its last line: out of luck while"):
            process.request("generate", **GENERATE)
        with pytest.raises(ContestantError, match=f"ended with exit code {DEATH_CODE}"):
            process.request("generate", **GENERATE)


def test_killed_worker_is_reported_as_killed() -> None:
    with fake("honest") as process:
        loaded(process)
        os.kill(process.pid, signal.SIGKILL)
        with pytest.raises(ContestantError, match="was killed"):
            process.request("describe")


def test_answer_that_is_no_json_is_refused() -> None:
    with fake("babbles") as process, pytest.raises(ContestantError, match="'hello\\\\n', which is no JSON"):
        process.request("load", path="anywhere", threads=1)


def test_worker_ends_when_an_exception_leaves_the_block() -> None:
    process = fake("honest")
    with pytest.raises(KeyboardInterrupt), process:
        raise KeyboardInterrupt
    assert not Path(f"/proc/{process.pid}").exists()


def test_unknown_loader_ends_the_worker() -> None:
    with (
        WorkerProcess("fax", worker_command("fax")) as process,
        pytest.raises(ContestantError, match="KeyError: 'fax'"),
    ):
        process.request("describe")


def test_broken_export_is_told_in_one_line(tiny_export: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(tiny_export, broken)
    (broken / "encoder_model.onnx").write_bytes(b"nonsense")
    process = WorkerProcess("onnx int8", worker_command("stock"))
    with process, pytest.raises(ContestantError) as caught:
        process.request("load", path=str(broken), threads=1)
    assert str(caught.value).startswith("The onnx int8 process could not load: ")
    assert len(str(caught.value).splitlines()) == 1


def python(program: str) -> Ending:
    return run([sys.executable, "-c", program])


def test_ending_tells_code_and_last_line() -> None:
    assert python("print('one'); print('two')") == Ending(0, "two")
    assert str(python("import sys; print('out of wool.', file=sys.stderr); sys.exit(3)")) == (
        "ended with exit code 3; its last line: out of wool"
    )
    assert str(python("import os; os.kill(os.getpid(), 9)")) == "was killed (signal 9: often a lack of memory)"
    assert str(python("import os; os.kill(os.getpid(), 15)")) == "was ended by signal 15"


def test_child_imports_the_project_and_leaves_the_hub_alone() -> None:
    program = "import os, benchmarks; print(os.environ['HF_HUB_OFFLINE'], os.path.dirname(benchmarks.__file__))"
    assert python(program).last_line == f"1 {PROJECT / 'benchmarks'}"


def test_shown_output_goes_to_stderr(capfd: pytest.CaptureFixture[str]) -> None:
    assert run([sys.executable, "-c", "print('hello')"], show=True) == Ending(0, "")
    assert capfd.readouterr() == ("", "hello\n")


def test_time_and_memory_of_a_program_are_measured() -> None:
    ending = python("import time; taken = b'x' * 200_000_000; time.sleep(0.2)")
    assert ending.seconds >= 0.2
    assert 200_000_000 <= ending.peak_bytes < 400_000_000


def test_memory_of_a_program_is_that_of_its_children_as_well() -> None:
    child = "import time; taken = b'x' * 200_000_000; time.sleep(0.3)"
    ending = python(f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])")
    assert 200_000_000 <= ending.peak_bytes < 400_000_000


def test_interrupt_ends_the_child(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[int] = []

    def interrupted(pid: int) -> int:
        started.append(pid)
        raise KeyboardInterrupt

    monkeypatch.setattr(programs, "peak_bytes", interrupted)
    with pytest.raises(KeyboardInterrupt):
        python("import time; time.sleep(60)")
    assert not Path(f"/proc/{started[0]}").exists()


def server(mode: str) -> ServerProcess:
    return ServerProcess("fake", (sys.executable, "-m", "tests.benchmarks.fake_server", mode))


def test_server_is_ready_at_its_address_and_gone_afterwards() -> None:
    with server("honest") as process:
        process.wait_ready(20)
        assert process.host == "127.0.0.1"
        assert process.port > 0
        assert process.ending() is None
        assert process.wait_idle(20)
    assert not Path(f"/proc/{process.pid}").exists()


def test_server_that_does_not_start_is_told_in_one_sentence() -> None:
    with server("stillborn") as process, pytest.raises(ServerError) as caught:
        process.wait_ready(20)
    assert str(caught.value) == (
        f"The fake server did not become ready: it ended with exit code {DEATH_CODE}; its last line: no wool left."
    )


def test_server_that_never_becomes_ready_is_told_in_one_sentence() -> None:
    with server("unready") as process:
        end = time.monotonic() + 20
        while not process.port:
            assert time.monotonic() < end
            with pytest.raises(ServerError) as caught:
                process.wait_ready(0.2)
    assert str(caught.value) == (
        f"The fake server was not ready after 0.2 s; it last said: Listening on http://127.0.0.1:{process.port}."
    )


def test_exception_ends_the_server_at_once() -> None:
    with pytest.raises(KeyboardInterrupt), server("unready") as process:
        raise KeyboardInterrupt
    assert not Path(f"/proc/{process.pid}").exists()


def test_settings_of_our_service_do_not_come_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHATBOT_PORT", "5000")
    program = "import os, sys; sys.exit(f'{sorted(name for name in os.environ if name.startswith(\"CHATBOT_\"))}')"
    with ServerProcess("fake", (sys.executable, "-c", program)) as process, pytest.raises(ServerError, match=r"\[\]"):
        process.wait_ready(20)


def test_server_that_goes_on_working_does_not_come_to_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(programs, "IDLE_S", 0.1)
    with server("restless") as process:
        process.wait_ready(20)
        assert process.wait_idle(20)
        assert Client(process.host, process.port, 1, TOKENS, 5.0).ask("hello", time.perf_counter()).error == ""
        assert not process.wait_idle(0.2)


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
