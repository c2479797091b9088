from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from benchmarks import contestants, process
from benchmarks.cache import Cache
from benchmarks.checkpoints import QUANTIZATIONS, Checkpoint, named_checkpoint
from benchmarks.contestants import CONTESTANTS, prepare
from benchmarks.heat import Heat
from benchmarks.machine import WEIGHT_BITS
from benchmarks.rivals.__main__ import CONVERTERS
from benchmarks.schema import Sizes
from benchmarks.session import Session
from benchmarks.venvs import python_with
from benchmarks.worker import LOADERS


@pytest.fixture
def checkpoint(tiny_checkpoint: Path) -> Checkpoint:
    return named_checkpoint(str(tiny_checkpoint))


@pytest.fixture
def session(tmp_path: Path) -> Session:
    return Session(cache=Cache(tmp_path / "cache"))


def test_every_contestant_has_what_it_names() -> None:
    for contestant in CONTESTANTS.values():
        assert contestant.loader in LOADERS
        assert contestant.precision in WEIGHT_BITS
        assert not contestant.export or contestant.precision in QUANTIZATIONS
        if contestant.recipe:
            assert (contestants.RIVALS / f"{contestant.recipe}.py").is_file()
            apart = contestant.recipe in ("openvino", "ctranslate2")
            assert (contestant.requirements is not None) == apart
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
    checkpoint: Checkpoint, tiny_export: Path, session: Session
) -> None:
    names = ("ours-int8", "torch-fp32", "ours-int8")
    ready = prepare(names, checkpoint, session, {"int8": tiny_export})
    assert session.missing == {}
    assert [(contestant.label, contestant.name, contestant.folder) for contestant in ready] == [
        ("ours-int8", "ours-int8", tiny_export),
        ("ours-int8 (again)", "ours-int8", tiny_export),
        ("torch-fp32", "torch-fp32", checkpoint.folder),
    ]
    assert [contestant.rival for contestant in ready] == [False] * 3
    assert not session.cache.folder.exists()


def test_rival_that_cannot_be_installed_is_missing(
    checkpoint: Checkpoint,
    session: Session,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    rivals = tmp_path / "rivals"
    rivals.mkdir()
    (rivals / "openvino.txt").write_text("--no-index\nno-such-package==1\n")
    monkeypatch.setattr(contestants, "RIVALS", rivals)
    monkeypatch.setenv("PIP_FIND_LINKS", str(rivals))
    ready = prepare(["torch-fp32", "openvino-int8"], checkpoint, session)
    assert [contestant.label for contestant in ready] == ["torch-fp32"]
    ((name, reason),) = session.missing.items()
    assert name == "openvino-int8"
    assert reason.startswith("openvino.txt cannot be installed: pip ended with exit code 1; its last line: ERROR: No ")
    assert "no-such-package==1" in reason
    shown = capsys.readouterr().err.splitlines()
    assert shown == ["installing openvino.txt (once)", f"openvino-int8 is missing: {reason}"]
    assert not (session.cache.folder / "venvs" / "openvino").exists()


def test_environment_of_a_rival_is_made_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    requirements = tmp_path / "rival.txt"
    requirements.write_text("--no-index\n")
    python = python_with(requirements, Cache(tmp_path / "cache"))
    assert python == tmp_path / "cache" / "venvs" / "rival" / "bin" / "python"
    assert python.exists()
    assert python_with(requirements, Cache(tmp_path / "cache")) == python
    assert capsys.readouterr().err == "installing rival.txt (once)\n"


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
    python_with(requirements, Cache(tmp_path / "cache"))
    _, by_uv, by_pip, rest = commands
    assert by_uv[-3:] == ["--torch-backend", "cpu", "torch==1.2.3"]
    assert by_pip[-1] == "torch==1.2.3"
    assert "--no-deps" not in by_pip
    assert rest[-3:] == ["--no-deps", "-r", str(requirements)]


def test_rival_that_cannot_be_converted_is_missing(tiny_checkpoint: Path, session: Session, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(tiny_checkpoint, broken)
    checkpoint = named_checkpoint(str(broken))
    (broken / "model.safetensors").write_bytes(b"nonsense")
    assert prepare(["stock-dynamic-int8"], checkpoint, session) == []
    reason = session.missing["stock-dynamic-int8"]
    assert reason.startswith("The checkpoint cannot be converted: the conversion ended with exit code 1")
    assert list((session.cache.folder / "models").iterdir()) == []


def test_conversion_that_does_not_fit_into_memory_is_not_begun(
    checkpoint: Checkpoint, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.engine.machine.available_memory", lambda: 2_000_000)
    prepare(["stock-dynamic-int8"], checkpoint, session)
    reason = session.missing["stock-dynamic-int8"]
    assert reason.startswith("The conversion needs 0.0 GB of memory and 0.0 GB are available")


def test_dynamic_quantisation_runs_with_the_settings_of_the_checkpoint(
    checkpoint: Checkpoint, session: Session
) -> None:
    names = ["torch-fp32", "stock-dynamic-int8"]
    ready = prepare(names, checkpoint, session)
    folder = ready[1].folder
    assert sorted(path.name for path in folder.glob("*.onnx")) == [
        "decoder_model.onnx",
        "decoder_with_past_model.onnx",
        "encoder_model.onnx",
    ]
    sizes = Sizes(beams=2, source_tokens=7, new_tokens=6, threads=1)
    race, _ = Heat(ready, sizes, 1, session).run()
    assert session.missing == {}
    assert [timing.label for timing in race.timings] == names
    settings = json.loads((folder / "generation_config.json").read_text())
    assert settings["no_repeat_ngram_size"] == 3
    settings["no_repeat_ngram_size"] = 0
    (folder / "generation_config.json").write_text(json.dumps(settings))
    Heat(ready, sizes, 1, session).run()
    (reason,) = session.missing.values()
    assert reason.endswith("no_repeat_ngram_size is None where the reference has 3")
