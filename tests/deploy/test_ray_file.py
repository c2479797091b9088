"""The file for a cluster, run by Ray's own command."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import psutil
import yaml

from deploy import state
from tests.service.process import ROOT, free_port

START_TIMEOUT_S = 90.0


def test_it_serves(short_export: Path, tmp_path: Path) -> None:
    content = yaml.safe_load((ROOT / "deploy" / "ray_serve.yaml").read_text(encoding="utf-8"))
    port = free_port()
    content["http_options"] |= {"host": "127.0.0.1", "port": port}
    here = {
        "model": str(short_export),
        "store": str(tmp_path / "store"),
        "threads": 1,
        "replicas": 1,
        "host": "127.0.0.1",
    }
    content["applications"][0]["args"] |= {**here, "metrics-port": 0}
    path = tmp_path / "serve.yaml"
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    command = [sys.executable, "-m", "ray.serve.scripts", "run", str(path)]
    with (tmp_path / "log").open("w") as log, subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log) as process:
        try:
            end = time.monotonic() + START_TIMEOUT_S
            while not answers(port):
                assert time.monotonic() < end, (tmp_path / "log").read_text()
                time.sleep(0.2)
            body = b'{"prompt": "Hello"}'
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/chatbot", body, timeout=30) as response:
                assert response.read()
            # No Redis was named for it.
            assert state.FORGETFUL in (tmp_path / "log").read_text()
        finally:
            family = psutil.Process(process.pid).children(recursive=True)
            process.send_signal(signal.SIGINT)
            _, left = psutil.wait_procs([psutil.Process(process.pid), *family], timeout=30)
            for one in left:
                one.kill()


def answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5) as response:
            return bool(response.status == 200)
    except OSError:
        return False
