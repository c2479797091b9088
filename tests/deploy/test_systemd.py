"""The example of a systemd unit, as far as can be told without installing it."""

from __future__ import annotations

import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from service.settings import OPTIONS, parse
from tests.service.process import ROOT

UNIT = ROOT / "deploy" / "chatbot.service"
INSTALLED = "/opt/chatbot"


def values(name: str) -> list[str]:
    lines = (line.partition("=") for line in UNIT.read_text(encoding="utf-8").splitlines())
    return [value for key, _, value in lines if key == name]


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd here")
def test_systemd_takes_it(tmp_path: Path) -> None:
    unit = tmp_path / UNIT.name
    unit.write_text(UNIT.read_text(encoding="utf-8").replace(INSTALLED, str(ROOT)), encoding="utf-8")
    ended = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")
    unit.write_text(unit.read_text(encoding="utf-8").replace("Restart=on-failure", "Restart=sometimes"))
    ended = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True, check=False)
    assert "sometimes" in ended.stderr


def test_its_settings_are_right_and_what_they_write_is_in_its_own_folder() -> None:
    environment = dict(value.split("=", 1) for value in values("Environment"))
    known = {option.variable for option in OPTIONS.values()}
    assert {name for name in environment if name.startswith("CHATBOT_")} <= known
    config = parse([], environment)
    (folder,) = values("StateDirectory")
    written = (Path(config.store), config.models_dir, Path(environment["HF_HOME"]))
    assert all(Path("/var/lib", folder) in path.parents for path in written if path is not None)
    assert float(values("TimeoutStopSec")[0]) > config.drain_timeout_s


def test_it_starts_the_service_of_its_folder() -> None:
    (command,) = values("ExecStart")
    (folder,) = values("WorkingDirectory")
    python, *arguments = shlex.split(command)
    assert folder == INSTALLED
    assert python == f"{INSTALLED}/.venv/bin/python"
    assert arguments == ["-m", "service"]
