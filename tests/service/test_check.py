"""`--check` tells what is wrong with a configuration, all at once, and serves nothing."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from service import check
from service.check import Kind
from service.engine.kernels import library
from service.serving.provision import demo_folder
from service.settings import ServiceConfig
from tests.export.fake_hub import FakeHub
from tests.service.process import ROOT, RUN_MAIN

SECRET = "secret-key-0123456789"
UNTOUCHED = {"HF_HUB_OFFLINE": "1", "CHATBOT_STORE": "memory"}


def run(*arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "service", "--check", *map(str, arguments)],
        cwd=ROOT,
        env=os.environ | UNTOUCHED | environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def sentences(findings: list[check.Finding], kind: Kind) -> list[str]:
    return [finding.sentence for finding in findings if finding.kind is kind]


def test_a_right_configuration_is_summed_up_with_exit_code_0(short_export: Path) -> None:
    flags = ("--model", short_export, "--port", "0", "--rows", "20", "--kernels", "stock")
    ended = run(*flags, CHATBOT_API_KEYS=f"{SECRET},{SECRET}2")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.splitlines() == [
        "Listens on http://127.0.0.1, on any free port.",
        f"Serves tiny (int8) from {short_export}.",
        "Keeps conversations in memory, and gone when the service stops.",
        "Requires one of 2 API keys.",
        "Kernels: stock.",
        f"Settings: --model {short_export}, --kernels stock, --rows 20, --port 0, --store memory, --api-keys 2 keys; "
        "else the defaults.",
    ]


def test_a_folder_whose_name_the_terminal_cannot_show_is_told_in_escapes(short_export: Path, tmp_path: Path) -> None:
    folder = tmp_path / "möd 模型"
    folder.symlink_to(short_export)
    ended = run("--model", folder, "--port", "0", "--kernels", "stock", PYTHONIOENCODING="ascii")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert r"m\xf6d \u6a21\u578b" in ended.stdout


def test_the_kernels_that_would_serve_are_named(short_export: Path) -> None:
    ended = run("--model", short_export, "--port", "0")
    assert ended.returncode == 0
    chosen = library.choose()
    told = ended.stdout if chosen.library else ended.stderr
    assert f"Kernels: {chosen.title}." in told


def test_all_that_is_wrong_is_told_at_once_a_line_each(short_export: Path, tmp_path: Path) -> None:
    damaged = tmp_path / "damaged"
    shutil.copytree(short_export, damaged)
    content = bytearray((damaged / "weights.bin").read_bytes())
    content[100] ^= 1
    (damaged / "weights.bin").write_bytes(content)
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        ended = run(
            "--port",
            str(port),
            "--model",
            damaged,
            "--api-keys-file",
            tmp_path / "missing",
            "--threads",
            "999",
            *("--store", "redis://user:secret@127.0.0.1:1/0"),
        )
    assert (ended.returncode, ended.stdout) == (1, "")
    address, model, store, keys, threads = ended.stderr.splitlines()
    assert address.startswith(f"error: Port {port} on 127.0.0.1 is in use; ")
    assert model.startswith(f"error: {damaged / 'weights.bin'} is not the file that was exported")
    assert store.startswith("error: The conversations cannot be kept in Redis (")
    assert "secret" not in ended.stderr
    assert keys.startswith(f"error: The API keys in {tmp_path / 'missing'} cannot be read")
    assert threads.startswith("warning: --threads 999 is more than the ")


def test_wrong_values_are_told_all_at_once_with_exit_code_2() -> None:
    ended = run("--port", "http", CHATBOT_ROWS="many", CHATBOT_API_KEYS="secret")
    assert ended.returncode == 2
    assert len(ended.stderr.splitlines()) == 3
    assert "secret" not in ended.stderr


def test_it_can_be_asked_for_by_the_environment(short_export: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "service", "--port", "0"],
        cwd=ROOT,
        env=os.environ | {"CHATBOT_CHECK": "on", "CHATBOT_MODEL": str(short_export)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 0
    assert "Serves tiny (int8)" in ended.stdout


def test_a_model_that_is_neither_exported_nor_to_be_had_is_wrong(tmp_path: Path) -> None:
    ended = run(
        "--model", "somebody/some-model", "--port", "0", "--models-dir", tmp_path, HF_HOME=str(tmp_path / "hub")
    )
    assert ended.returncode == 1
    (line,) = ended.stderr.splitlines()
    assert line.startswith("error: The Hub is switched off, so somebody/some-model cannot be downloaded")
    assert not list(tmp_path.glob("some-model*"))


def test_a_model_of_the_hub_is_said_to_be_exported_first_and_is_not_downloaded(
    tiny_checkpoint: Path, tmp_path: Path
) -> None:
    with FakeHub("owner/tiny", tiny_checkpoint) as hub:
        environment = hub.environment(tmp_path / "hub")
        ended = run("--model", "owner/tiny", "--port", "0", "--models-dir", tmp_path / "models", **environment)
    assert (ended.returncode, ended.stderr) == (0, "")
    folder = tmp_path / "models" / "tiny-int8"
    assert f"Serves owner/tiny, once it has been exported to {folder} at the start." in ended.stdout
    assert "model.safetensors" not in hub.downloaded
    assert not folder.exists()


def test_without_the_hub_auto_would_serve_the_demo_model_which_it_says_and_does_not_export(tmp_path: Path) -> None:
    ended = run("--port", "0", "--models-dir", tmp_path / "models", HF_HOME=str(tmp_path / "hub"))
    assert ended.returncode == 0
    assert ended.stderr.startswith(
        "warning: The demo model would be served instead of facebook/blenderbot-400M-distill"
    )
    assert "The Hub is switched off" in ended.stderr
    assert f"Serves demo, once it has been exported to {demo_folder(tmp_path / 'models')} at the start." in ended.stdout
    assert not (tmp_path / "models").exists()


@pytest.mark.parametrize("name", ["missing", "empty"])
def test_what_is_no_model_folder_is_wrong(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    found = list(check.model(ServiceConfig(model=str(tmp_path / name))))
    (sentence,) = sentences(found, Kind.PROBLEM)
    assert str(tmp_path / name) in sentence


def test_too_little_memory_is_wrong(short_export: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = ServiceConfig(model=str(short_export))
    assert not sentences(list(check.model(config)), Kind.PROBLEM)
    monkeypatch.setattr(check, "available_memory", lambda: 100_000_000)
    (sentence,) = sentences(list(check.model(config)), Kind.PROBLEM)
    assert sentence.startswith("Serving tiny takes at least 0.2 GB of memory and 0.1 GB are available; ")


def test_a_host_that_cannot_be_listened_on_is_wrong() -> None:
    (sentence,) = sentences(list(check.address(ServiceConfig(host="192.0.2.1"))), Kind.PROBLEM)
    assert "192.0.2.1" in sentence


@pytest.mark.parametrize(
    ("settings", "warned"),
    [
        ({"host": "127.0.0.1"}, False),
        ({"host": "::1"}, False),
        ({"host": "0.0.0.0"}, True),
        ({"host": "0.0.0.0", "api_keys": (SECRET,)}, False),
        ({"host": "0.0.0.0", "api_keys_file": Path("keys")}, False),
    ],
)
def test_an_open_address_without_keys_is_warned_of(settings: dict[str, object], warned: bool) -> None:
    found = list(check.address(ServiceConfig(port=0, **settings)))  # type: ignore[arg-type]
    assert not sentences(found, Kind.PROBLEM)
    assert bool(sentences(found, Kind.WARNING)) is warned


def test_a_file_of_keys_is_read_and_its_rights_are_looked_at(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    path.write_text(SECRET)
    path.chmod(0o600)
    config = ServiceConfig(api_keys_file=path)
    assert [finding.kind for finding in check.api_keys(config)] == [Kind.FACT]
    path.chmod(0o644)
    assert [finding.kind for finding in check.api_keys(config)] == [Kind.WARNING, Kind.FACT]
    path.write_text("secret")
    (finding,) = check.api_keys(config)
    assert finding.kind is Kind.PROBLEM
    assert "secret" not in finding.sentence


def test_as_many_threads_as_cores_are_right() -> None:
    assert not list(check.threads(ServiceConfig(threads=0)))
    assert not list(check.threads(ServiceConfig(threads=1)))


def test_every_setting_of_another_value_is_listed_with_it() -> None:
    (finding,) = check.settings(
        ServiceConfig(deadline_s=1.5, shared_history=True, cors_origins=(), api_keys=(SECRET,), check=True)
    )
    assert finding.sentence == (
        "Settings: --deadline 1.5, --shared-history on, --api-keys 1 key, --cors-origins none; else the defaults."
    )
    (finding,) = check.settings(ServiceConfig())
    assert finding.sentence == "Settings: the defaults."


def test_the_password_of_a_store_is_not_shown() -> None:
    finding, *_ = check.settings(ServiceConfig(store="redis://user:secret@host/1"))
    assert "--store redis://host/1" in finding.sentence


LINKS = {
    "CHATBOT_PORT": "tcp://10.96.7.21:5000",
    "CHATBOT_SERVICE_HOST": "10.96.7.21",
    "CHATBOT_SERVICE_PORT": "5000",
    "CHATBOT_SERVICE_PORT_HTTP": "5000",
    "CHATBOT_PORT_5000_TCP": "tcp://10.96.7.21:5000",
    "CHATBOT_PORT_5000_TCP_ADDR": "10.96.7.21",
    "CHATBOT_PORT_5000_TCP_PORT": "5000",
    "CHATBOT_PORT_5000_TCP_PROTO": "tcp",
    "CHATBOT_REDIS_SERVICE_HOST": "10.96.7.22",
    "CHATBOT_REDIS_PORT": "tcp://10.96.7.22:6379",
    "CHATBOT_REDIS_PORT_6379_TCP": "tcp://10.96.7.22:6379",
}


def test_of_what_kubernetes_sets_only_what_is_named_like_a_setting_is_told(short_export: Path) -> None:
    ended = run("--model", short_export, **LINKS)
    assert ended.returncode == 0
    (line,) = ended.stderr.splitlines()
    assert line.startswith("warning: CHATBOT_PORT tells where a service is")
    assert "enableServiceLinks: false" in line
    assert "Listens on http://127.0.0.1:5000." in ended.stdout


def test_beside_what_kubernetes_sets_a_misspelt_setting_is_told(short_export: Path) -> None:
    ended = run("--model", short_export, "--port", "0", CHATBOT_PROT="5000", CHATBOT_SERVICE_PORT="5000")
    assert "CHATBOT_PROT" in ended.stderr
    assert "CHATBOT_SERVICE_PORT" not in ended.stderr


def test_without_a_home_folder_each_program_says_so_in_a_sentence(short_export: Path) -> None:
    homeless = {name: value for name, value in os.environ.items() if name not in {"HOME", "XDG_DATA_HOME"}}
    nobody = "import pwd; pwd.getpwuid = lambda _: {}[0]"
    for arguments in (["service", "--check"], ["service"], ["deploy"]):
        program = f"import sys; {nobody}; sys.argv = {arguments!r}\n{RUN_MAIN.format(arguments[0])}"
        ended = subprocess.run(
            [sys.executable, "-c", program],
            cwd=ROOT,
            env=homeless | {"CHATBOT_PORT": "0", "CHATBOT_MODEL": str(short_export)},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert ended.returncode == 1
        (line,) = [line for line in ended.stderr.splitlines() if line.startswith("error: ")]
        assert "there is no home folder here; name a path with --store" in line
        assert "Traceback" not in ended.stderr
