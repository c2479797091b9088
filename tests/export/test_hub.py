"""Checkpoints on the Hub: downloaded, taken from the cache, or refused in one sentence when it does not answer."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from tests.export.fake_hub import COMMIT, FakeHub
from tests.export_child import refusal, run_export

MODEL = "owner/tiny"
TOKEN = "hf_expired0000"
LOCAL_WAY = "python -m export --model FOLDER"
DECISION_S = 10.0


@pytest.fixture
def closed_port() -> int:
    """A port of this machine on which nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
    return port


def test_a_hub_id_is_downloaded_and_exported_with_its_commit_in_the_manifest(
    hub: FakeHub, tmp_path: Path, target: Path, tiny_export: Path
) -> None:
    finished = run_export(
        *("--model", MODEL, "--output-dir", target, "--no-verify"), environment=hub.environment(tmp_path / "home")
    )
    assert (finished.returncode, finished.stderr) == (0, "")
    manifest = json.loads((target / "manifest.json").read_text())
    assert (manifest["source"], manifest["revision"], manifest["name"]) == (MODEL, COMMIT, "tiny")
    assert (target / "weights.bin").read_bytes() == (tiny_export / "weights.bin").read_bytes()


def test_only_the_files_that_an_export_needs_are_downloaded_each_once(
    hub: FakeHub, tmp_path: Path, target: Path
) -> None:
    hub.files["pytorch_model.bin"] = b"the same weights again"
    hub.files["onnx/model.onnx"] = b"somebody's export"
    assert _export_until_conversion(hub, tmp_path, target).returncode == 1
    assert sorted(hub.downloaded) == [
        "added_tokens.json",
        "config.json",
        "generation_config.json",
        "merges.txt",
        "model.safetensors",
        "special_tokens_map.json",
        "tokenizer.json",
        "tokenizer_config.json",
        "vocab.json",
    ]


def test_a_check_downloads_no_weights_and_writes_nothing(hub: FakeHub, tmp_path: Path, target: Path) -> None:
    command = ("--model", MODEL, "--output-dir", target, "--check")
    environment = hub.environment(tmp_path / "home")
    assert run_export(*command, environment=environment).returncode == 0
    assert "config.json" in hub.downloaded
    assert "model.safetensors" not in hub.downloaded
    assert not target.parent.exists()
    planted = "import export.resources; export.resources.available_memory = lambda: 1000"
    assert "of memory" in refusal(run_export(*command, environment=environment, planted=planted))


@pytest.mark.parametrize("pattern", ["model-0000{}-of-00002.safetensors", "pytorch_model-0000{}-of-00002.bin"])
def test_weights_in_several_files_are_all_downloaded(hub: FakeHub, tmp_path: Path, target: Path, pattern: str) -> None:
    del hub.files["model.safetensors"]
    shards = [pattern.format(1), pattern.format(2)]
    index = f"{'model' if 'safetensors' in pattern else 'pytorch_model'}.{pattern.rsplit('.')[-1]}.index.json"
    hub.files |= {name: name.encode() for name in [*shards, index]}
    hub.files["onnx/model.safetensors"] = b"no weights of this model"
    _export_until_conversion(hub, tmp_path, target)
    assert {*shards, index} <= set(hub.downloaded)
    assert "onnx/model.safetensors" not in hub.downloaded


def test_a_second_export_uses_the_cache_when_the_hub_is_gone(hub: FakeHub, tmp_path: Path, target: Path) -> None:
    _export_until_conversion(hub, tmp_path, target)
    hub.close()
    finished = _export_until_conversion(hub, tmp_path, target)
    assert refusal(finished) == "stopped before the conversion"
    assert f"checkpoint of {MODEL} at {COMMIT}" in finished.stdout


@pytest.mark.parametrize("revision", ["main", COMMIT])
def test_a_revision_that_exists_is_exported(hub: FakeHub, tmp_path: Path, target: Path, revision: str) -> None:
    message = refusal(_export_until_conversion(hub, tmp_path, target, "--revision", revision))
    assert message == "stopped before the conversion"


def test_a_revision_that_does_not_exist_is_named(hub: FakeHub, tmp_path: Path, target: Path) -> None:
    message = refusal(_export_until_conversion(hub, tmp_path, target, "--revision", "v9"))
    assert "no revision v9" in message


def test_a_repository_that_does_not_exist_is_named(hub: FakeHub, tmp_path: Path, target: Path) -> None:
    environment = hub.environment(tmp_path / "home")
    message = refusal(run_export("--model", "owner/absent", "--output-dir", target, environment=environment))
    assert "owner/absent" in message
    assert "no model" in message
    assert not target.parent.exists()


@pytest.mark.parametrize("model", ["owner/a b", "owner/tiny.git", "-x/y"])
def test_a_name_that_no_repository_can_have_is_refused(tmp_path: Path, target: Path, model: str, hub: FakeHub) -> None:
    environment = hub.environment(tmp_path / "home")
    message = refusal(run_export(f"--model={model}", "--output-dir", target, environment=environment))
    assert "neither a folder nor a Hub id" in message


def test_a_repository_without_pytorch_weights_is_refused_before_anything_is_downloaded(
    hub: FakeHub, tmp_path: Path, target: Path
) -> None:
    del hub.files["model.safetensors"]
    assert "no PyTorch weights" in refusal(_export_until_conversion(hub, tmp_path, target))
    assert hub.downloaded == []


def test_a_repository_of_another_model_is_refused_before_its_weights_are_downloaded(
    hub: FakeHub, tmp_path: Path, target: Path
) -> None:
    hub.files["config.json"] = b'{"model_type": "bart"}'
    message = refusal(_export_until_conversion(hub, tmp_path, target))
    assert "owner/tiny is not a Blenderbot checkpoint" in message
    assert "model.safetensors" not in hub.downloaded


def test_a_hub_that_refuses_connections_is_reported_with_the_local_way(
    closed_port: int, tmp_path: Path, target: Path
) -> None:
    message = refusal(_export_from(f"http://127.0.0.1:{closed_port}", tmp_path, target))
    assert "cannot be reached" in message
    assert LOCAL_WAY in message
    assert not target.parent.exists()


def test_a_hub_that_accepts_and_never_answers_is_given_up_within_ten_seconds(
    closed_port: int, tmp_path: Path, target: Path
) -> None:
    began = time.monotonic()
    refusal(_export_from(f"http://127.0.0.1:{closed_port}", tmp_path, target))
    start_of_a_process = time.monotonic() - began
    with socket.create_server(("127.0.0.1", 0)) as server:
        began = time.monotonic()
        message = refusal(_export_from(f"http://127.0.0.1:{server.getsockname()[1]}", tmp_path, target))
        took = time.monotonic() - began
    assert LOCAL_WAY in message
    assert took < DECISION_S + start_of_a_process
    assert not target.parent.exists()


def test_a_hub_that_drips_its_answer_is_given_up_as_well(tmp_path: Path, target: Path) -> None:
    with _dripping_server() as endpoint:
        began = time.monotonic()
        message = refusal(
            run_export(
                *("--model", MODEL, "--output-dir", target),
                planted="import export.hub; export.hub.DEADLINE_S = 1.0",
                environment=_environment(endpoint, tmp_path),
            )
        )
        assert time.monotonic() - began < DECISION_S
    assert LOCAL_WAY in message


@pytest.mark.parametrize("variable", ["HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"])
def test_offline_mode_is_reported_with_the_local_way(tmp_path: Path, target: Path, variable: str) -> None:
    environment = {"HF_HOME": str(tmp_path / "home"), variable: "1"}
    message = refusal(run_export("--model", MODEL, "--output-dir", target, environment=environment))
    assert LOCAL_WAY in message
    assert not target.parent.exists()


def test_a_hub_that_fails_is_reported_with_its_status(hub: FakeHub, tmp_path: Path, target: Path) -> None:
    hub.status = 503
    message = refusal(_export_until_conversion(hub, tmp_path, target))
    assert "answered 503" in message
    assert LOCAL_WAY in message


@pytest.mark.parametrize("code", ["", "RepoNotFound"])
def test_a_public_model_is_exported_although_the_hub_refuses_the_token(
    hub: FakeHub, tmp_path: Path, target: Path, code: str
) -> None:
    hub.accepts_tokens, hub.code = False, code
    environment = hub.environment(tmp_path / "home") | {"HF_TOKEN": TOKEN}
    finished = run_export("--model", MODEL, "--output-dir", target, "--check", environment=environment)
    assert (finished.returncode, finished.stdout, finished.stderr) == (0, "", "")


def test_a_token_that_the_hub_refuses_is_named_where_the_model_cannot_be_had_without(
    hub: FakeHub, tmp_path: Path, target: Path
) -> None:
    hub.accepts_tokens = False
    environment = hub.environment(tmp_path / "home") | {"HF_TOKEN": TOKEN}
    message = refusal(run_export("--model", "owner/absent", "--output-dir", target, environment=environment))
    assert "The Hub refuses your token (HF_TOKEN, or the one saved by hf auth login)" in message
    assert TOKEN not in message


@pytest.mark.parametrize("token", [{}, {"HF_TOKEN": "hf_expired0000"}])
@pytest.mark.parametrize("status", [401, 403])
def test_a_gated_model_is_named_with_what_to_do(
    hub: FakeHub, tmp_path: Path, target: Path, status: int, token: dict[str, str]
) -> None:
    hub.status, hub.code = status, "GatedRepo"
    environment = hub.environment(tmp_path / "home") | token
    message = refusal(run_export("--model", MODEL, "--output-dir", target, "--check", environment=environment))
    assert f"{MODEL} is gated; ask for access" in message


def test_a_download_that_breaks_off_is_one_sentence_and_the_next_export_completes_it(
    hub: FakeHub, tmp_path: Path, target: Path
) -> None:
    hub.broken.add("model.safetensors")
    message = refusal(_export_until_conversion(hub, tmp_path, target))
    assert "broke off" in message
    assert LOCAL_WAY in message
    hub.broken.clear()
    assert refusal(_export_until_conversion(hub, tmp_path, target)) == "stopped before the conversion"


def test_half_a_download_is_not_taken_for_a_checkpoint_when_the_hub_is_gone(
    hub: FakeHub, tmp_path: Path, target: Path
) -> None:
    hub.broken.add("model.safetensors")
    refusal(_export_until_conversion(hub, tmp_path, target))
    hub.close()
    message = refusal(_export_until_conversion(hub, tmp_path, target))
    assert "cannot be reached" in message


def _environment(endpoint: str, tmp_path: Path) -> dict[str, str]:
    return {"HF_ENDPOINT": endpoint, "HF_HOME": str(tmp_path / "home"), "HF_HUB_OFFLINE": "0"}


def _export_from(endpoint: str, tmp_path: Path, target: Path) -> CompletedProcess[str]:
    return run_export("--model", MODEL, "--output-dir", target, environment=_environment(endpoint, tmp_path))


def _export_until_conversion(hub: FakeHub, tmp_path: Path, target: Path, *arguments: str) -> CompletedProcess[str]:
    """Run an export that ends as soon as the checkpoint is there, without the libraries of a conversion."""
    planted = (
        "import sys, types\n"
        "from export.errors import ExportError\n"
        "def stop(checkpoint, *_):\n"
        "    print('checkpoint of', checkpoint.source, 'at', checkpoint.revision)\n"
        "    raise ExportError('stopped before the conversion')\n"
        "sys.modules['export.exporter'] = types.SimpleNamespace(export=stop)"
    )
    return run_export(
        "--model",
        MODEL,
        "--output-dir",
        target,
        *arguments,
        planted=planted,
        environment=hub.environment(tmp_path / "home") | {"USE_TORCH": "0"},
    )


@contextlib.contextmanager
def _dripping_server() -> Iterator[str]:
    """Answers every connection with a byte of a header now and then, for ever."""
    done = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:

        def drip() -> None:
            connection, _ = server.accept()
            with connection, contextlib.suppress(OSError):
                connection.sendall(b"HTTP/1.1 200 OK\r\nX-Slow: ")
                while not done.wait(0.2):
                    connection.sendall(b"x")

        thread = threading.Thread(target=drip, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
        done.set()
        thread.join()
