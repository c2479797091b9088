"""The commands as users run them, in real processes, on a tiny model."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmarks import schema
from benchmarks.process import PROJECT

COMMAND = [sys.executable, "-m", "benchmarks"]


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *map(str, arguments)], cwd=PROJECT, capture_output=True, text=True, timeout=120, check=False
    )


def flat(text: str) -> str:
    return " ".join(text.split())


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
    assert "7 source tokens, 5 generated (checked), 1 threads, 2 rounds" in flat(finished.stdout)
    assert "random weights: numeric fidelity only" in flat(finished.stdout)
    assert "A/A pair, ours beside itself: within" in flat(finished.stdout)
    assert "beam 2, 7 to 5 tokens, 1 threads: round 2 of 2: torch-fp32" in finished.stderr
    content = schema.read(output)
    assert isinstance(content, schema.Latency)
    assert content.settings["random_weights"] is True
    assert content.settings["decoding"]["no_repeat_ngram_size"] == 3
    (race,) = content.results
    assert race.sizes.beams == 2
    assert [timing.label for timing in race.timings] == ["torch-fp32", "stock-int8", "ours-int8", "ours-int8 (again)"]
    for timing in race.timings:
        assert len(timing.seconds) == 2
        assert (timing.peak_bytes or 0) > 50_000_000
        assert timing.same_as_torch is not None
    assert race.a_a is not None
    assert race.a_a.same == schema.Agreement(equal=2, replies=2)
    assert content.missing == []
    assert str(tmp_path) not in output.read_text()


def test_load_measures_servers_and_writes_the_raw_values(tiny_checkpoint: Path, tmp_path: Path) -> None:
    output = tmp_path / "load.json"
    sizes = ("--beams", "2", "--new-tokens", "5", "--source-tokens", "7", "--rounds", "1", "--threads", "1")
    lengths = ("--clients", "1", "2", "--seconds", "1")
    chosen = ("--checkpoint", tiny_checkpoint, "--servers", "tutorial")
    finished = run("load", *chosen, *sizes, *lengths, "--output", output)
    assert finished.returncode == 0, finished.stderr
    assert "round 1 of 1: 2 clients: tutorial: " in finished.stderr
    text = "7 source tokens, 5 generated (checked), 1 threads, 1 rounds of 1 s a run"
    assert text in flat(finished.stdout)
    content = schema.read(output)
    assert isinstance(content, schema.Load)
    assert content.settings["counted_tokens"] == 4
    for result in content.results:
        (server,) = result.servers
        assert server.errors == {}
        assert {request.tokens for request in server.runs[0].requests} == {4}


def test_interrupt_ends_the_servers_and_says_so_in_one_line(tiny_checkpoint: Path) -> None:
    arguments = [*COMMAND, "load", "--checkpoint", str(tiny_checkpoint), "--servers", "tutorial", "--seconds", "60"]
    with subprocess.Popen(arguments, cwd=PROJECT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        assert "starting tutorial" in process.stderr.readline()
        deadline = time.monotonic() + 20
        while not (servers := children(process.pid)):
            assert time.monotonic() < deadline, "no server was started"
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        rest = process.stderr.read()
    assert process.returncode == 130
    assert rest == "error: Interrupted before the end; no result was written.\n"
    assert not any(Path(f"/proc/{server}").exists() for server in servers)


def test_interrupt_ends_the_workers_and_says_so_in_one_line(
    tiny_checkpoint: Path, tiny_export: Path, tmp_path: Path
) -> None:
    output = tmp_path / "latency.json"
    models = ("--checkpoint", str(tiny_checkpoint), "--exported", str(tiny_export))
    arguments = [*COMMAND, "latency", *models, "--output", str(output)]
    with subprocess.Popen(arguments, cwd=PROJECT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        assert "measuring the machine" in process.stderr.readline()
        assert "loading torch-fp32" in process.stderr.readline()
        assert "loading stock-int8" in process.stderr.readline()
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
        (("latency", "--source-tokens", "1"), 2, "'1' is not a whole number of at least 2"),
        (("latency", "--exported", "{export}"), 2, "--exported needs --checkpoint"),
        (("latency", "--contestants", "torch-fp32,gpt"), 2, "there is no contestant 'gpt'; choose from torch-fp32, "),
        (("latency", "--contestants", "ctranslate2-int8"), 2, "At least one contestant must run the checkpoint itself"),
        (
            ("latency", "--checkpoint", "{checkpoint}", "--exported", "{export}", "{export}"),
            2,
            "--exported names two folders of one precision",
        ),
        (("latency", "--output", "{missing}/figures.json"), 1, "There is no folder {missing}"),
        (("latency", "--checkpoint", "{missing}", "--exported", "{export}"), 1, "There is no folder {missing}"),
        (("latency", "--checkpoint", "{checkpoint}", "--exported", "{missing}"), 1, "There is no folder {missing}"),
        (
            ("latency", "--checkpoint", "{checkpoint}", "--exported", "{checkpoint}"),
            1,
            "{checkpoint} is not an exported model: it holds no manifest.json",
        ),
        (
            ("latency", "--checkpoint", "{checkpoint}", "--exported", "{export}", "--new-tokens", "129"),
            2,
            "--new-tokens is 129, but the model has 128 positions",
        ),
        (("load", "--clients", "0"), 2, "'0' is not a whole number of at least 1"),
        (("load", "--seconds", "0"), 2, "'0' is not a whole number of at least 1"),
        (("load", "--servers", "ours,gpt"), 2, "there is no server 'gpt'; choose from ours, "),
        (("load", "--servers", "ours,ours,ours"), 2, "a server runs twice at most"),
        (("load", "--exported", "{export}"), 2, "--exported needs --checkpoint"),
        (("load", "--new-tokens", "1"), 2, "'1' is not a whole number of at least 2"),
        (("load", "--checkpoint", "{checkpoint}", "--source-tokens", "129"), 2, "the model has 128 positions"),
        (
            ("load", "--checkpoint", "{checkpoint}", "--new-tokens", "128"),
            2,
            "a reply of our service has one less at the most",
        ),
        (("load", "--output", "{missing}/figures.json"), 1, "There is no folder {missing}"),
        (("load", "--checkpoint", "{checkpoint}", "--exported", "{missing}"), 1, "There is no folder {missing}"),
        (("export-cost", "--ways", "ours-int9"), 2, "there is no way 'ours-int9'; choose from ours-int8, "),
        (("report", "--results", "{missing}"), 1, "{missing} holds no results"),
        (("start", "--output", "{export}"), 1, "{export} is a folder"),
        (("quality", "--checkpoint", "{missing}"), 1, "There is no folder {missing}"),
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
