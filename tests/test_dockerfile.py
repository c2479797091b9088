"""The container image, as far as can be told without building it."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from service import healthcheck
from tests.service.process import ROOT, ServiceProcess

PROXIES = {
    f"{scheme}_{word}": "http://127.0.0.1:1" for word in ("proxy", "PROXY") for scheme in ("http", "https", "all")
}
IMAGE_ONLY = re.compile(r"--from=")


class Instruction(NamedTuple):
    """One instruction, its lines joined."""

    name: str
    arguments: str


def instructions() -> list[Instruction]:
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    return [Instruction(*line.split(" ", 1)) for line in joined.splitlines() if line]


def last_stage() -> list[Instruction]:
    """What the image itself is made by."""
    begins = [place for place, found in enumerate(instructions()) if found.name == "FROM"]
    return instructions()[begins[-1] :]


def last(name: str) -> str:
    return [found.arguments for found in instructions() if found.name == name][-1]


def copied(stage: list[Instruction]) -> list[tuple[Path, Path]]:
    """Source and target of each COPY from the build context, relative to the root and the working directory."""
    pairs = []
    for found in stage:
        if found.name == "COPY" and not IMAGE_ONLY.match(found.arguments):
            *sources, target = found.arguments.split()
            for source in sources:
                place = Path(target) / Path(source).name if target.endswith("/") else Path(target)
                pairs.append((Path(source), place))
    return pairs


def environment() -> dict[str, str]:
    return dict(word.split("=", 1) for word in shlex.split(last("ENV")))


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that holds what the image's working directory holds."""
    root = tmp_path_factory.mktemp("image") / "app"
    for source, target in copied(last_stage()):
        place = root / target
        place.parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / source).is_dir():
            shutil.copytree(ROOT / source, place, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copyfile(ROOT / source, place)
    return root


def health(port: int | str, image: Path, **environment: str) -> int:
    command = json.loads(last("HEALTHCHECK").partition("CMD ")[2])
    return subprocess.run(
        [sys.executable, *command[1:]],
        cwd=image,
        env=os.environ | {"CHATBOT_PORT": str(port)} | environment,
        capture_output=True,
        timeout=30,
        check=False,
    ).returncode


def test_what_is_copied_is_there_is_committed_and_is_not_ignored() -> None:
    kept = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert {str(source) for source, _ in copied(instructions())} == kept
    for source in kept:
        tracked = subprocess.run(["git", "ls-files", source], cwd=ROOT, capture_output=True, text=True, check=False)
        assert (ROOT / source).exists()
        assert tracked.returncode != 0 or tracked.stdout, source


def test_it_runs_as_a_user_of_its_own_and_gets_its_signals_itself() -> None:
    assert int(last("USER")) > 0
    assert json.loads(last("ENTRYPOINT")) == ["python", "-m", "service"]
    names = [found.name for found in instructions()]
    assert names.index("USER") < names.index("ENTRYPOINT")
    assert "CMD" not in names


def test_models_and_data_are_volumes_that_the_user_may_write() -> None:
    volumes = json.loads(last("VOLUME"))
    assert environment()["CHATBOT_MODELS_DIR"] in volumes
    owned = [found.arguments for found in instructions() if "chown" in found.arguments]
    assert all(volume in owned[0].partition("chown")[2] for volume in volumes)


@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("setpriv") is None, reason="users cannot be changed here")
@pytest.mark.parametrize(
    ("user", "group", "writable"), [(10001, 10001, True), (1000770000, 0, True), (1000770000, 1000770000, False)]
)
def test_any_user_of_group_0_may_write_there_and_no_other_but_its_own(
    tmp_path: Path, user: int, group: int, writable: bool
) -> None:
    commands = next(found.arguments for found in instructions() if "chown" in found.arguments).split("&&")
    made = [command.strip().replace("chatbot", "10001") for command in commands if "useradd" not in command]
    root = tmp_path / "root"
    root.mkdir()
    tmp_path.chmod(0o755)
    for parent in (*root.parents[:4], root):
        parent.chmod(parent.stat().st_mode | 0o055)
    for command in made:
        placed = [f"{root}{word}" if word.startswith("/") else word for word in shlex.split(command)]
        subprocess.run(placed, check=True)
    for volume in json.loads(last("VOLUME")):
        identity = ["setpriv", f"--reuid={user}", f"--regid={group}", "--clear-groups"]
        tried = subprocess.run([*identity, "touch", f"{root}{volume}/file"], capture_output=True, check=False)
        assert (tried.returncode == 0) is writable, tried.stderr


@pytest.mark.parametrize(
    ("settings", "address"),
    [
        ({}, "127.0.0.1:5000"),
        ({"CHATBOT_HOST": "0.0.0.0", "CHATBOT_PORT": "8080"}, "127.0.0.1:8080"),
        ({"CHATBOT_HOST": "::"}, "[::1]:5000"),
        ({"CHATBOT_HOST": "10.1.2.3"}, "10.1.2.3:5000"),
        ({"CHATBOT_PORT": "tcp://10.96.7.21:5000"}, "127.0.0.1:5000"),
        ({"CHATBOT_PORT": "tcp://10.96.7.21:80"}, "127.0.0.1:5000"),
    ],
)
def test_the_health_check_asks_where_the_service_listens(settings: dict[str, str], address: str) -> None:
    assert healthcheck.address(settings) == f"http://{address}/readyz"


def test_a_service_whose_settings_are_wrong_is_not_healthy(capsys: pytest.CaptureFixture[str]) -> None:
    assert healthcheck.main({"CHATBOT_PORT": "http"}) == 1
    assert "CHATBOT_PORT" in capsys.readouterr().err


def test_its_files_suffice_to_serve_on_all_addresses_and_its_health_is_told(
    image: Path, tiny_export: Path, tmp_path: Path
) -> None:
    settings = {name: value for name, value in environment().items() if name.startswith("CHATBOT_")}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in settings.items():
            patch.setenv(name, f"{tmp_path}{value}" if value.startswith("/") else value)
        with ServiceProcess("--model", tiny_export, root=image) as process:
            assert "http://0.0.0.0:" in process.url
            process.url = process.url.replace("0.0.0.0", "127.0.0.1")
            process.wait_ready()
            assert health(process.port, image) == 0
            assert health(process.port, image, CHATBOT_HOST="0.0.0.0", **PROXIES) == 0
            assert health(process.port, image, CHATBOT_HOST="::1") != 0
            process.signal(signal.SIGTERM)
            assert process.wait() == 0
            assert health(process.port, image) != 0


def test_the_export_runs_from_its_files_too(image: Path, tmp_path: Path) -> None:
    checked = subprocess.run(
        [sys.executable, "-m", "service", "--check", "--model", "demo", "--port", "0", "--models-dir", tmp_path],
        cwd=image,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert checked.returncode == 0, checked.stderr
    assert "Serves demo, once it has been exported" in checked.stdout
