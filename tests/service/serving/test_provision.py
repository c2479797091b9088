"""Which model is served when none is named, and what it says about itself."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from models import manifest
from models.folder import DEFAULT_MODEL, ModelFolderError
from service import check
from service.serving.provision import ExportFailed, Provider, demo_folder
from service.serving.runtime import Runtime
from service.settings import ServiceConfig
from tests.service.process import ROOT, ServiceProcess

DEMO = "demo model"
FEWEST_WORDS = 6


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project as in a fresh clone, with no exported model in it."""
    root = tmp_path_factory.mktemp("clone")
    for package in ("service", "export"):
        shutil.copytree(ROOT / package, root / package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "models" / "demo" / "checkpoint", root / "models" / "demo" / "checkpoint")
    for module in (ROOT / "models").glob("*.py"):
        shutil.copy(module, root / "models")
    return root


@pytest.fixture(scope="module")
def service(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceProcess]:
    """`--model auto` where the Hub is out of reach and nothing is cached."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_HOME", str(tmp_path_factory.mktemp("hub")))
        with ServiceProcess("--model", "auto", root=tree) as process:
            yield process.wait_ready()


def test_without_the_hub_the_demo_model_answers_in_words(service: ServiceProcess) -> None:
    answer = service.curl("-d", '{"prompt": "Hello, how are you today?"}')
    assert answer.status == 200
    assert len(answer.body.split()) >= FEWEST_WORDS, answer.body


def test_the_log_the_page_and_the_model_list_say_that_it_is_the_demo_model_and_why(service: ServiceProcess) -> None:
    entry = json.loads(service.get("/v1/models").body)["data"][0]
    assert entry["id"] == "demo"
    for text in (service.log, service.get("/").body, entry["notice"]):
        assert DEMO in text
        assert DEFAULT_MODEL in text
        assert "Hub" in text


def test_the_demo_model_remembers_a_name_two_turns_later(service: ServiceProcess, tmp_path: Path) -> None:
    jar = str(tmp_path / "jar")
    said = ["Hi, my name is Sam.", "I had pasta for lunch today.", "What is my name?"]
    answers = [service.curl("-c", jar, "-b", jar, "-d", json.dumps({"prompt": line})) for line in said]
    assert "Sam" in answers[-1].body, [answer.body for answer in answers]


def test_a_second_start_serves_the_export_of_the_first(service: ServiceProcess, tree: Path) -> None:
    manifest_of_first = demo_folder(tree / "models") / "manifest.json"
    before = manifest_of_first.stat().st_mtime_ns
    with ServiceProcess("--model", "demo", root=tree) as again:
        again.wait_ready()
        assert json.loads(again.get("/v1/models").body)["data"][0]["id"] == "demo"
    assert manifest_of_first.stat().st_mtime_ns == before


def test_an_export_of_another_release_is_made_anew(tree: Path, tmp_path: Path) -> None:
    root = tmp_path / "clone"
    shutil.copytree(tree, root)
    path = demo_folder(root / "models") / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"format": 1}))
    with ServiceProcess("--model", "demo", root=root) as process:
        assert process.wait_ready().curl("-d", '{"prompt": "Hello"}').status == 200
    assert json.loads(path.read_text())["format"] == manifest.FORMAT


def test_another_demo_model_is_exported_anew(tree: Path, tmp_path: Path) -> None:
    root = tmp_path / "clone"
    shutil.copytree(tree, root)
    settings = root / "models" / "demo" / "checkpoint" / "generation_config.json"
    settings.write_text(json.dumps(json.loads(settings.read_text()) | {"min_length": 40}))
    with ServiceProcess("--model", "demo", root=root) as process:
        answer = process.wait_ready().curl("-d", '{"prompt": "Hello", "stream": true}')
    usage = json.loads(answer.body.rpartition("data: ")[2])["usage"]
    assert usage["completion_tokens"] > 35


def test_sigterm_during_an_export_ends_it_and_leaves_nothing_behind(tree: Path, tmp_path: Path) -> None:
    root = tmp_path / "clone"
    shutil.copytree(tree, root, ignore=shutil.ignore_patterns("demo-int8-*"))
    before = sorted(root.joinpath("models").iterdir())
    with ServiceProcess("--model", "demo", root=root) as process:
        assert process.get("/livez").status == 200
        assert process.get("/readyz").status == 503
        process.signal(signal.SIGTERM)
        assert process.wait() == 0
    assert sorted(root.joinpath("models").iterdir()) == before


def test_an_exported_400m_model_is_preferred_to_everything(tmp_path: Path) -> None:
    folder = tmp_path / "blenderbot-400M-distill-int4"
    folder.mkdir()
    (folder / "manifest.json").touch()
    assert Provider(print, tmp_path).provide("auto") == (folder, "")


def test_a_hub_model_that_cannot_be_exported_is_an_error_with_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_self: Provider, _arguments: list[str]) -> None:
        raise ExportFailed("The Hub cannot be reached.")

    monkeypatch.setattr(Provider, "_run", refuse)
    with pytest.raises(ModelFolderError, match="The Hub cannot be reached"):
        Provider(print, tmp_path).provide("somebody/some-model")


def test_a_hub_model_is_not_mistaken_for_another_of_the_same_name(tiny_export: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_export, tmp_path / "some-model-int8")
    with pytest.raises(ModelFolderError, match="not from somebody/some-model"):
        Provider(print, tmp_path).provide("somebody/some-model")


def test_the_progress_of_an_export_stays_off_a_log_of_json_lines(capfd: pytest.CaptureFixture[str]) -> None:
    Provider(print)._run(["--help"])
    assert "usage: python -m export" in capfd.readouterr().out
    Provider(print, quiet=True)._run(["--help"])
    assert capfd.readouterr().out == ""


def test_of_several_services_one_exports_and_the_others_wait_for_it(tiny_export: Path, tmp_path: Path) -> None:
    runs: list[list[str]] = []
    begun, finish = threading.Event(), threading.Event()

    class Exporting(Provider):
        def _run(self, arguments: list[str]) -> None:
            runs.append(arguments)
            begun.set()
            assert finish.wait(30)
            shutil.copytree(tiny_export, tmp_path / "tiny-int8")

    told: list[str] = []
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(Exporting(print, tmp_path).provide, "somebody/tiny")
        assert begun.wait(30)
        second = pool.submit(Exporting(told.append, tmp_path).provide, "somebody/tiny")
        while not told:
            time.sleep(0.01)
        assert told == ["Another service is exporting a model; waiting for it."]
        finish.set()
        assert first.result() == second.result()
    assert len(runs) == 1


def test_a_service_that_waits_for_anothers_export_can_be_stopped(tmp_path: Path) -> None:
    folder = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(folder, fcntl.LOCK_EX)
    provider = Provider(lambda _: provider.cancel(), tmp_path)
    with pytest.raises(ModelFolderError, match="stopped before it had a model"):
        provider.provide("somebody/tiny")
    os.close(folder)


def test_to_be_stopped_while_there_is_no_model_yet_is_no_failure(tmp_path: Path) -> None:
    folder = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(folder, fcntl.LOCK_EX)
    runtime = Runtime(ServiceConfig(model="somebody/tiny", models_dir=tmp_path, store="memory"))
    failures: list[str] = []
    runtime.host.load_in_background(failures.append)
    (loader,) = (thread for thread in threading.enumerate() if thread.name == "loader")
    assert runtime.drain(timeout_s=1)
    loader.join(30)
    os.close(folder)
    assert not loader.is_alive()
    assert failures == []


def test_models_are_exported_to_and_found_in_the_folder_that_is_named(tmp_path: Path) -> None:
    asked: list[list[str]] = []

    class Exporting(Provider):
        def _run(self, arguments: list[str]) -> None:
            asked.append(arguments)

    assert Exporting(print, tmp_path).provide("somebody/some-model") == (tmp_path / "some-model-int8", "")
    assert asked == [["--model", "somebody/some-model", "--output-dir", str(tmp_path / "some-model-int8")]]


def test_an_export_that_cannot_be_started_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path))
    with pytest.raises(ModelFolderError, match=f"{tmp_path} cannot be run \\(Permission denied\\)"):
        Provider(print, tmp_path / "models").provide("demo")
    (finding,) = check.model(ServiceConfig(model="demo", models_dir=tmp_path / "models"))
    assert f"{tmp_path} cannot be run (Permission denied)" in finding.sentence
