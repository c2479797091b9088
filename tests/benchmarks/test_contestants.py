from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from benchmarks import contestants, process
from benchmarks.cache import Cache
from benchmarks.checkpoints import QUANTIZATIONS, Checkpoint, named_checkpoint
from benchmarks.contestants import CONTESTANTS, default_names, prepare
from benchmarks.journal import Journal
from benchmarks.latency import Grid
from benchmarks.machine import WEIGHT_BITS
from benchmarks.rivals.__main__ import CONVERTERS
from benchmarks.schema import Sizes
from benchmarks.venvs import python_with
from benchmarks.worker import LOADERS


@pytest.fixture
def checkpoint(tiny_checkpoint: Path) -> Checkpoint:
    return named_checkpoint(str(tiny_checkpoint))


def test_usual_line_up_is_torch_the_stock_class_and_ours_twice() -> None:
    short = ("torch-fp32", "stock-int8", "ours-int8", "ours-int8")
    others = (
        "torch-bf16",
        "torch-dynamic-int8",
        "torch-compile",
        "optimum-fp32",
        "stock-dynamic-int8",
        "openvino-int8",
        "openvino-int4",
        "ctranslate2-int8",
    )
    assert default_names("int8", rivals=False) == short
    assert default_names("int8", rivals=True) == (*short, "ours-fp32", "ours-int4", *others)
    small = ("torch-fp32", "stock-int4", "ours-int4", "ours-int4")
    assert default_names("int4", rivals=True) == (*small, "ours-fp32", *others)


def test_every_contestant_has_what_it_names() -> None:
    for contestant in CONTESTANTS.values():
        assert contestant.loader in LOADERS
        assert contestant.precision in WEIGHT_BITS
        assert not contestant.export or contestant.precision in QUANTIZATIONS
        if contestant.recipe:
            assert (contestants.RIVALS / f"{contestant.recipe}.py").is_file()
            assert (contestants.RIVALS / f"{contestant.recipe}.txt").is_file() == contestant.own_environment
    assert CONVERTERS.keys() == {name for name, contestant in CONTESTANTS.items() if contestant.recipe}
    exact = {name for name, contestant in CONTESTANTS.items() if contestant.exact}
    fp32 = {"torch-fp32", "torch-compile", "ours-fp32", "onnxruntime-fp32", "stock-fp32", "optimum-fp32"}
    assert exact == fp32


def test_rivals_pin_every_package_to_one_version() -> None:
    for path in contestants.RIVALS.glob("*.txt"):
        pins = [line for line in path.read_text().splitlines() if not line.startswith("#")]
        assert pins[0].startswith("torch==")
        assert all(pin.count("==") == 1 for pin in pins)


def test_named_exports_are_used_and_a_second_mention_is_told_apart(
    checkpoint: Checkpoint, tiny_export: Path, tmp_path: Path
) -> None:
    names = ("ours-int8", "torch-fp32", "ours-int8")
    ready, missing = prepare(names, checkpoint, {"int8": tiny_export}, Cache(tmp_path), print)
    assert missing == []
    assert [(one.label, one.name, one.folder) for one in ready] == [
        ("ours-int8", "ours-int8", tiny_export),
        ("ours-int8 (again)", "ours-int8", tiny_export),
        ("torch-fp32", "torch-fp32", checkpoint.folder),
    ]
    assert [one.rival for one in ready] == [False] * 3
    assert list(tmp_path.iterdir()) == []


def test_rival_that_cannot_be_installed_is_missing(
    checkpoint: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rivals = tmp_path / "rivals"
    rivals.mkdir()
    (rivals / "openvino.txt").write_text("--no-index\nno-such-package==1\n")
    monkeypatch.setattr(contestants, "RIVALS", rivals)
    monkeypatch.setenv("PIP_FIND_LINKS", str(rivals))
    lines: list[str] = []
    ready, missing = prepare(["torch-fp32", "openvino-int8"], checkpoint, {}, Cache(tmp_path / "cache"), lines.append)
    assert [one.label for one in ready] == ["torch-fp32"]
    ((name, reason),) = [(one.name, one.reason) for one in missing]
    assert name == "openvino-int8"
    assert reason.startswith("openvino.txt cannot be installed: pip ended with exit code 1; its last line: ERROR: No ")
    assert "no-such-package==1" in reason
    assert lines == ["installing openvino.txt (once)", f"openvino-int8 is missing: {reason}"]
    assert not (tmp_path / "cache" / "venvs" / "openvino").exists()


def test_environment_of_a_rival_is_made_once(tmp_path: Path) -> None:
    requirements = tmp_path / "rival.txt"
    requirements.write_text("--no-index\n")
    lines: list[str] = []
    python = python_with(requirements, Cache(tmp_path / "cache"), lines.append)
    assert python == tmp_path / "cache" / "venvs" / "rival" / "bin" / "python"
    assert python.exists()
    assert python_with(requirements, Cache(tmp_path / "cache"), lines.append) == python
    assert lines == ["installing rival.txt (once)"]


def test_torch_is_installed_first_and_by_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commands: list[list[str]] = []

    def run(command: list[object]) -> process.Ending:
        commands.append(list(map(str, command)))
        if "venv" in commands[-1]:
            (tmp_path / "cache" / "venvs" / "rival").mkdir()
        return process.Ending(int(commands[-1][0].endswith("/uv")), "")

    monkeypatch.setattr(process, "run", run)
    monkeypatch.setattr(shutil, "which", lambda name, path=None: "/somewhere/uv")
    requirements = tmp_path / "rival.txt"
    requirements.write_text("torch==1.2.3\nother==4\n")
    python_with(requirements, Cache(tmp_path / "cache"), print)
    _, by_uv, by_pip, rest = commands
    assert by_uv[-3:] == ["--torch-backend", "cpu", "torch==1.2.3"]
    assert by_pip[-1] == "torch==1.2.3"
    assert "--no-deps" not in by_pip
    assert rest[-3:] == ["--no-deps", "-r", str(requirements)]


def test_rival_that_cannot_be_converted_is_missing(tiny_checkpoint: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(tiny_checkpoint, broken)
    checkpoint = named_checkpoint(str(broken))
    (broken / "model.safetensors").write_bytes(b"nonsense")
    _, missing = prepare(["stock-dynamic-int8"], checkpoint, {}, Cache(tmp_path / "cache"), print)
    assert missing[0].reason.startswith("The checkpoint cannot be converted: the conversion ended with exit code 1")
    assert list((tmp_path / "cache" / "models").iterdir()) == []


def test_conversion_that_does_not_fit_into_memory_is_not_begun(
    checkpoint: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.engine.machine.available_memory", lambda: 2_000_000)
    _, missing = prepare(["stock-dynamic-int8"], checkpoint, {}, Cache(tmp_path), print)
    (reason,) = [one.reason for one in missing]
    assert reason.startswith("The conversion needs 0.0 GB of memory and 0.0 GB are available")


def test_dynamic_quantisation_runs_with_the_settings_of_the_checkpoint(checkpoint: Checkpoint, tmp_path: Path) -> None:
    names = ("torch-fp32", "stock-dynamic-int8")
    ready, missing = prepare(names, checkpoint, {}, Cache(tmp_path), print)
    assert missing == []
    folder = ready[1].folder
    assert sorted(path.name for path in folder.glob("*.onnx")) == [
        "decoder_model.onnx",
        "decoder_with_past_model.onnx",
        "encoder_model.onnx",
    ]
    point = ("", Sizes(beams=2, source_tokens=7, new_tokens=6, threads=1))
    journal = Journal()
    grid = Grid(ready, 1, print, journal)
    grid.run([point])
    assert grid.decoding()["no_repeat_ngram_size"] == 3
    replies = journal.get(f"{point[1]}, attempt 0, round 0")
    assert {label: len(reply[2]) for label, reply in replies.items()} == dict.fromkeys(names, 6)
    settings = json.loads((folder / "generation_config.json").read_text())
    settings["no_repeat_ngram_size"] = 0
    (folder / "generation_config.json").write_text(json.dumps(settings))
    grid = Grid(ready, 1, print, Journal())
    grid.run([point])
    (reason,) = grid.missing.values()
    assert reason.endswith("no_repeat_ngram_size is None where the reference has 3")
