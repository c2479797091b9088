"""The live service against its own OpenAPI document: schemathesis finds no crash and nothing undocumented."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.service.process import ServiceProcess

EXAMPLES = "60"
PROGRAM = "import sys; from schemathesis.cli import schemathesis; sys.exit(schemathesis())"


@pytest.mark.parametrize("key", ["", "a-key-of-the-tests-1"], ids=["open", "with a key"])
def test_schemathesis_finds_nothing(
    short_export: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    if key:
        monkeypatch.setenv("CHATBOT_API_KEYS", key)
    header = ["--header", f"Authorization: Bearer {key}"] if key else []
    with ServiceProcess("--model", short_export, "--threads", "1") as service:
        service.wait_ready()
        command = (sys.executable, "-c", PROGRAM, "run", f"{service.url}/openapi.json", "--checks", "all")
        ended = subprocess.run(
            [*command, "--max-examples", EXAMPLES, "--seed", "7", "--no-color", "--request-timeout", "20", *header],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        assert ended.returncode == 0, ended.stdout[-6000:] + ended.stderr[-2000:]
        assert service.get("/readyz").status == 200
