"""A chat server without a model: `python -m tests.benchmarks.fake_server MODE`, or in a thread of the test.

Every prompt counts one token a word, every reply `TOKENS`. Modes of answering: `honest`; `short` (one token too few);
`deaf` (one prompt token too few); `busy` (503 and a problem object); `broken` (500 and plain text); `babbles` (no
JSON); `mute` (JSON without a reply); `hangs-up` (no answer at all); `silent` (an answer that never comes); `trickles`
(one that never ends). Modes of a process: `stillborn` (ends before it listens); `unready` (never says that it is
ready); `mortal` (ends at the second prompt); `restless` (goes on computing after each reply).
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

TOKENS = 5
DEATH_CODE = 7
PAUSE_S = 0.02
TEXT = "quite so, naïve one"


class FakeServer(ThreadingHTTPServer):
    """Answers in one mode.

    Attributes:
        mode: of the module's.
        pause_s: seconds that a reply takes.
        prompts: what was asked, in the order in which it came.
        at_once: most requests that were under way at the same time.
        over: ends what would go on for ever.
    """

    daemon_threads = True

    def __init__(self, mode: str, pause_s: float = PAUSE_S) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.mode = mode
        self.pause_s = pause_s
        self.prompts: list[str] = []
        self.at_once = 0
        self.under_way = 0
        self.lock = threading.Lock()
        self.over = threading.Event()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that has left is no news."""


class Handler(BaseHTTPRequestHandler):
    server: FakeServer

    def log_message(self, *_: object) -> None:
        """Nothing."""

    def do_GET(self) -> None:
        self.send_error(503 if self.server.mode == "unready" else 200)

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with self.server.lock:
            self.server.prompts.append(body["prompt"])
            self.server.under_way += 1
            self.server.at_once = max(self.server.at_once, self.server.under_way)
        time.sleep(self.server.pause_s)
        # Before the answer: a client that has it may ask again at once.
        with self.server.lock:
            self.server.under_way -= 1
        self.answer(body, self.server.mode)

    def answer(self, body: dict[str, Any], mode: str) -> None:
        reply = {
            "reply": TEXT,
            "usage": {
                "prompt_tokens": len(body["prompt"].split()) - (mode == "deaf"),
                "completion_tokens": TOKENS - (mode == "short"),
            },
        }
        match mode:
            case "busy":
                self.send(503, json.dumps({"title": "Overloaded", "detail": "Too many wait."}))
            case "broken":
                self.send(500, "out of order\n")
            case "babbles":
                self.send(200, "hello")
            case "mute":
                self.send(200, "{}")
            case "hangs-up":
                return
            case "silent":
                self.server.over.wait(30)
            case "trickles":
                self.send(200, "", length=10**6)
                while not self.server.over.wait(0.01):
                    self.wfile.write(b" ")
            case "mortal" if len(self.server.prompts) == 2:
                print("out of luck", file=sys.stderr, flush=True)
                os._exit(DEATH_CODE)
            case _:
                self.send(200, json.dumps(reply))
        if mode == "restless":
            threading.Thread(target=compute, args=(self.server.over,), daemon=True).start()

    def send(self, status: int, body: str, length: int | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(length or len(body.encode())))
        self.end_headers()
        self.wfile.write(body.encode())


def compute(over: threading.Event) -> None:
    while not over.is_set():
        sum(range(1000))


@contextmanager
def running(mode: str, pause_s: float = PAUSE_S) -> Iterator[FakeServer]:
    """A server in a thread of this process."""
    with FakeServer(mode, pause_s) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.over.set()
            server.shutdown()
            thread.join()


def main() -> None:
    mode = sys.argv[1]
    if mode == "stillborn":
        print("no wool left.", file=sys.stderr)
        sys.exit(DEATH_CODE)
    with FakeServer(mode) as server:
        print(f"Listening on http://127.0.0.1:{server.server_port}", file=sys.stderr, flush=True)
        server.serve_forever()


if __name__ == "__main__":
    main()
