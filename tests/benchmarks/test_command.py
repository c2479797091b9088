"""The commands as users run them, in real processes, on a tiny model."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmarks.models import cached_models
from benchmarks.process import PROJECT
from benchmarks.synthetic import Shape

COMMAND = [sys.executable, "-m", "benchmarks"]


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *map(str, arguments)], cwd=PROJECT, capture_output=True, text=True, timeout=120, check=False
    )


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_latency_measures_torch_against_the_exported_model(
    tiny_checkpoint: Path, tiny_export: Path, tmp_path: Path
) -> None:
    output = tmp_path / "latency.json"
    sizes = ("--beams", "2", "--new-tokens", "5", "--source-tokens", "7", "--rounds", "2", "--threads", "1")
    models = ("--checkpoint", tiny_checkpoint, "--exported", tiny_export)
    finished = run("latency", *models, *sizes, "--output", output)
    assert finished.returncode == 0, finished.stderr
    assert "7 source tokens, 5 generated tokens, 1 threads, 2 rounds" in finished.stdout
    assert "onnx int8 (again)" in finished.stdout
    assert "beam 2: round 2 of 2: torch fp32" in finished.stderr
    content = json.loads(output.read_text())
    assert content["settings"]["random_weights"] is True
    assert content["settings"]["decoding"]["no_repeat_ngram_size"] == 3
    (result,) = content["results"]
    assert result["beams"] == 2
    labels = ["torch fp32", "onnx int8", "onnx int8 (again)"]
    assert [backend["label"] for backend in result["backends"]] == labels
    for backend in result["backends"]:
        assert len(backend["seconds"]) == 2
        assert backend["peak_bytes"] > 50_000_000
        assert backend["load_s"] > 0
    assert result["agreement"]["a_a"] == {"equal": 2, "replies": 2, "shared_tokens": 5}


def test_interrupt_ends_the_workers_and_says_so_in_one_line(
    tiny_checkpoint: Path, tiny_export: Path, tmp_path: Path
) -> None:
    output = tmp_path / "latency.json"
    models = ("--checkpoint", str(tiny_checkpoint), "--exported", str(tiny_export))
    arguments = [*COMMAND, "latency", *models, "--output", str(output)]
    with subprocess.Popen(arguments, cwd=PROJECT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        assert "loading torch fp32" in process.stderr.readline()
        assert "loading onnx int8" in process.stderr.readline()
        workers = children(process.pid)
        process.send_signal(signal.SIGINT)
        rest = process.stderr.read()
    assert process.returncode == 130
    assert rest == "error: Interrupted before the end; no result was written.\n"
    assert workers
    deadline = time.monotonic() + 20
    while any(Path(f"/proc/{worker}").exists() for worker in workers):
        assert time.monotonic() < deadline, "a worker outlived the command"
        time.sleep(0.05)
    assert not output.exists()


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ((), 2, "the following arguments are required: COMMAND"),
        (("latency", "--rounds", "0"), 2, "'0' is not a whole number of at least 1"),
        (("latency", "--beams", "ten"), 2, "'ten' is not a whole number of at least 1"),
        (("latency", "--source-tokens", "1"), 2, "--source-tokens is at least 2"),
        (("latency", "--checkpoint", "{checkpoint}"), 2, "--checkpoint and --exported go together"),
        (("latency", "--output", "{missing}/figures.json"), 1, "There is no folder {missing}"),
        (("latency", "--checkpoint", "{missing}", "--exported", "{export}"), 1, "There is no folder {missing}"),
        (("latency", "--checkpoint", "{checkpoint}", "--exported", "{missing}"), 1, "There is no folder {missing}"),
        (
            ("latency", "--checkpoint", "{checkpoint}", "--exported", "{checkpoint}"),
            1,
            "{checkpoint} is not an exported model: it holds no encoder_model.onnx",
        ),
        (
            ("latency", "--checkpoint", "{checkpoint}", "--exported", "{export}", "--new-tokens", "129"),
            2,
            "--new-tokens is 129, but the model has 128 positions",
        ),
        (("synthetic",), 2, "--output-dir"),
        (("synthetic", "--output-dir", "{checkpoint}"), 1, "{checkpoint} exists already; pass --force to replace it"),
        (("synthetic", "--output-dir", "{missing}", "--seed", "-1"), 2, "'-1' is not a whole number of at least 0"),
    ],
)
def test_mistakes_are_told_in_one_sentence(
    arguments: tuple[str, ...],
    code: int,
    message: str,
    tiny_checkpoint: Path,
    tiny_export: Path,
    tmp_path: Path,
) -> None:
    names = {"checkpoint": tiny_checkpoint, "export": tiny_export, "missing": tmp_path / "missing"}
    finished = run(*(argument.format(**names) for argument in arguments))
    assert finished.returncode == code
    assert message.format(**names) in finished.stderr
    assert "Traceback" not in finished.stderr
    assert code == 2 or len(finished.stderr.splitlines()) == 1


def test_cache_is_filled_once(tmp_path: Path) -> None:
    shape = Shape(vocab_size=280, d_model=32, encoder_layers=1, decoder_layers=2, heads=2, ffn=32, positions=32)
    lines: list[str] = []
    models = cached_models(lines.append, tmp_path / "cache", shape)
    assert models.random_weights
    assert models.precision == "int8"
    assert models.positions == 32
    assert (tmp_path / "cache" / ".gitignore").read_text() == "*\n"
    assert (models.exported / "decoder_model_merged.onnx").is_file()
    made = (models.exported / "manifest.json").stat().st_mtime_ns
    lines.clear()
    assert cached_models(lines.append, tmp_path / "cache", shape) == models
    assert lines == []
    assert (models.exported / "manifest.json").stat().st_mtime_ns == made
