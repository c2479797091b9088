"""Firefox and Chromium with a page of a server of its own, which is another origin than the service's."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from queue import Empty, Queue
from tempfile import TemporaryDirectory
from typing import Any

IN_PAGE = Path(__file__).parent / "js" / "in_page.mjs"
PAGE = """<!doctype html>
<meta charset="utf-8">
<script type="importmap">{"imports": {"client": "./client.mjs"}}</script>
<script type="module" src="in_page.mjs"></script>
"""
PATIENCE_S = 90.0


def firefox(profile: str) -> list[str]:
    """The command that opens a page in Firefox without a window."""
    program = shutil.which("firefox-esr") or shutil.which("firefox")
    assert program, "there is no Firefox; tests/install-system-packages brings it"
    return [program, "--headless", "--no-remote", "--profile", profile]


def chromium(profile: str) -> list[str]:
    """The command that opens a page in Chromium without a window."""
    program = shutil.which("chromium")
    assert program, "there is no Chromium; tests/install-system-packages brings it"
    # As root, Chromium runs only outside of its sandbox.
    sandbox = ["--no-sandbox"] if os.getuid() == 0 else []
    return [program, "--headless=new", "--no-first-run", "--disable-gpu", f"--user-data-dir={profile}", *sandbox]


BROWSERS: Mapping[str, Callable[[str], list[str]]] = {"Firefox": firefox, "Chromium": chromium}


def version(browser: str) -> str:
    """What a browser says of itself."""
    program, *_ = BROWSERS[browser]("")
    said = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=60, check=True).stdout
    return said.strip().splitlines()[-1]


def talk_in(browser: str, client: Path, task: Mapping[str, Any]) -> dict[str, Any]:
    """What `talk` of a client's module makes of a task in a page.

    Args:
        browser: a name of `BROWSERS`.
        client: a module without imports of other packages.
        task: given to `talk`.

    Raises:
        RuntimeError: the page failed, or told nothing in time.
    """
    told: Queue[dict[str, Any]] = Queue()
    with _served(client, task, told) as url, TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        process = subprocess.Popen(
            [*BROWSERS[browser](profile), url],
            env=os.environ | {"HOME": profile},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            talked = told.get(timeout=PATIENCE_S)
        except Empty:
            raise RuntimeError(f"The page in {browser} told nothing within {PATIENCE_S:g} seconds.") from None
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(30)
    if "failed" in talked:
        raise RuntimeError(f"The page in {browser} failed: {talked['failed']}")
    return talked


@contextmanager
def _served(client: Path, task: Mapping[str, Any], told: Queue[dict[str, Any]]) -> Iterator[str]:
    """A server of the page; yields its address."""
    scripts = {"/client.mjs": client.read_bytes(), "/in_page.mjs": IN_PAGE.read_bytes()}
    contents = {
        "/": ("text/html", PAGE.encode()),
        "/task": ("application/json", json.dumps(task).encode()),
        **{path: ("text/javascript", script) for path, script in scripts.items()},
    }

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            kind, content = contents.get(self.path, ("text/plain", b""))
            self.send_response(200 if self.path in contents else 404)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def do_POST(self) -> None:
            told.put(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://localhost:{server.server_port}/"
        server.shutdown()
