from __future__ import annotations

import os
import shutil
import signal
import sys
from pathlib import Path

import pytest

from benchmarks.errors import BackendError
from benchmarks.process import BackendProcess, worker_command
from tests.benchmarks.fake_worker import DEATH_CODE

GENERATE = {"ids": [5, 6, 2], "beams": 1, "new_tokens": 4}


def fake(mode: str) -> BackendProcess:
    return BackendProcess("fake", (sys.executable, "-m", "tests.benchmarks.fake_worker", mode))


def loaded(process: BackendProcess) -> BackendProcess:
    process.request("load", path="anywhere", threads=1)
    return process


def test_requests_are_answered_in_turn() -> None:
    with fake("honest") as process:
        assert process.request("load", path="anywhere", threads=1) == {"import_s": 0.25, "load_s": 0.5}
        assert process.request("warm_up", **GENERATE) == {}
        reply = process.request("generate", **GENERATE)
        assert reply["tokens"] == [2, 6, 5, 2]
        assert reply["seconds"] >= 0
        assert process.request("memory")["peak_bytes"] > 1_000_000
    assert not Path(f"/proc/{process.pid}").exists()


def test_error_in_the_backend_is_told_in_one_line() -> None:
    with fake("refuses") as process, pytest.raises(BackendError) as caught:
        loaded(process).request("generate", **GENERATE)
    assert str(caught.value) == "The fake process could not generate: RuntimeError: the beams are tired."


def test_request_before_load_is_refused() -> None:
    with fake("honest") as process, pytest.raises(BackendError, match="no model is loaded"):
        process.request("generate", **GENERATE)


def test_unknown_request_is_refused() -> None:
    with fake("honest") as process, pytest.raises(BackendError, match="unknown op dance"):
        process.request("dance")


def test_worker_that_ends_is_reported_with_its_code_and_last_words() -> None:
    with fake("dies") as process:
        loaded(process).request("warm_up", **GENERATE)
        process.request("warm_up", **GENERATE)
        with pytest.raises(BackendError, match=f"ended with exit code {DEATH_CODE}; its last words: out of luck while"):
            process.request("generate", **GENERATE)
        with pytest.raises(BackendError, match=f"ended with exit code {DEATH_CODE}"):
            process.request("generate", **GENERATE)


def test_killed_worker_is_reported_as_killed() -> None:
    with fake("honest") as process:
        loaded(process)
        os.kill(process.pid, signal.SIGKILL)
        with pytest.raises(BackendError, match="was killed"):
            process.request("memory")


def test_answer_that_is_no_json_is_refused() -> None:
    with fake("babbles") as process, pytest.raises(BackendError, match="'hello\\\\n', which is no JSON"):
        process.request("memory")


def test_worker_ends_when_an_exception_leaves_the_block() -> None:
    process = fake("honest")
    with pytest.raises(KeyboardInterrupt), process:
        raise KeyboardInterrupt
    assert not Path(f"/proc/{process.pid}").exists()


def test_unknown_backend_ends_the_worker() -> None:
    with BackendProcess("fax", worker_command("fax")) as process, pytest.raises(BackendError, match="KeyError: 'fax'"):
        process.request("memory")


def test_broken_export_is_told_in_one_line(tiny_export: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(tiny_export, broken)
    (broken / "encoder_model.onnx").write_bytes(b"nonsense")
    process = BackendProcess("onnx int8", worker_command("stock"))
    with process, pytest.raises(BackendError) as caught:
        process.request("load", path=str(broken), threads=1)
    assert str(caught.value).startswith("The onnx int8 process could not load: ")
    assert len(str(caught.value).splitlines()) == 1
