"""An export that is stopped half way."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.export_child import ROOT, command, refusal, run_export

READ, CONVERT, COMPARE = "Read the checkpoint", "Convert to ONNX", "Compare with torch"


@pytest.mark.parametrize(
    ("number", "stage"),
    [(signal.SIGTERM, READ), (signal.SIGTERM, CONVERT), (signal.SIGTERM, COMPARE), (signal.SIGINT, CONVERT)],
    ids=lambda value: value.name if isinstance(value, signal.Signals) else value.split()[0].lower(),
)
def test_a_signal_ends_the_export_with_code_130_and_leaves_nothing(
    tiny_checkpoint: Path, target: Path, number: signal.Signals, stage: str
) -> None:
    with _running(tiny_checkpoint, target, stage) as child:
        child.send_signal(number)
        assert "interrupted" in refusal(_ended(child), code=130)
    assert not target.parent.exists()


def test_further_signals_change_nothing_and_an_earlier_export_stays(tiny_checkpoint: Path, target: Path) -> None:
    target.mkdir(parents=True)
    (target / "manifest.json").write_text("{}")
    with _running(tiny_checkpoint, target, CONVERT, "--force") as child:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGINT, signal.SIGTERM):
            child.send_signal(number)
            time.sleep(0.02)
        assert "interrupted" in refusal(_ended(child), code=130)
    assert (target / "manifest.json").read_text() == "{}"
    assert list(target.parent.iterdir()) == [target]


def test_after_a_kill_there_is_no_manifest_and_the_next_export_clears_the_remains(
    tiny_checkpoint: Path, target: Path
) -> None:
    with _running(tiny_checkpoint, target, CONVERT) as child:
        child.kill()
        child.wait()
    assert not target.exists()
    assert len(list(target.parent.iterdir())) == 1
    assert not list(target.parent.rglob("manifest.json"))
    finished = run_export("--model", tiny_checkpoint, "--output-dir", target, "--no-verify")
    assert (finished.returncode, finished.stderr) == (0, "")
    assert list(target.parent.iterdir()) == [target]


@contextmanager
def _running(checkpoint: Path, target: Path, stage: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """An export that has just begun a stage; killed at the end when it still runs."""
    child = subprocess.Popen(
        command("--model", checkpoint, "--output-dir", target, *arguments),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    try:
        assert child.stdout is not None
        for line in child.stdout:
            if stage in line:
                break
        time.sleep(0.2)
        assert child.poll() is None
        yield child
    finally:
        child.kill()
        child.communicate()


def _ended(child: subprocess.Popen[str]) -> subprocess.CompletedProcess[str]:
    output, errors = child.communicate(timeout=60)
    return subprocess.CompletedProcess(child.args, child.returncode, output, errors)
