"""The live service against its own OpenAPI document: schemathesis finds no crash and nothing undocumented."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.service.process import ServiceProcess

EXAMPLES = "60"
PROGRAM = "import sys; from schemathesis.cli import schemathesis; sys.exit(schemathesis())"


def test_schemathesis_finds_nothing(short_export: Path, tmp_path: Path) -> None:
    with ServiceProcess("--model", short_export, "--threads", "1") as service:
        service.wait_ready()
        command = (sys.executable, "-c", PROGRAM, "run", f"{service.url}/openapi.json", "--checks", "all")
        ended = subprocess.run(
            [*command, "--max-examples", EXAMPLES, "--seed", "7", "--no-color", "--request-timeout", "20"],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        assert ended.returncode == 0, ended.stdout[-6000:] + ended.stderr[-2000:]
        assert service.get("/readyz").status == 200
