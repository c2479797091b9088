"""The system's Firefox without a window, spoken to by WebDriver BiDi."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Any, Self

from websockets.sync.client import ClientConnection, connect

ADDRESS = re.compile(r"WebDriver BiDi listening on (ws://\S+)")
START_TIMEOUT_S = 90.0
ANSWER_TIMEOUT_S = 30.0
PATIENCE_S = 20.0
KEYS = {"Enter": "\ue007", "Escape": "\ue00c"}


class Firefox:
    """A browser with a fresh profile; ended when the `with` block ends."""

    def __enter__(self) -> Self:
        program = shutil.which("firefox-esr") or shutil.which("firefox")
        assert program, "there is no Firefox; tests/install-system-packages brings it"
        self._profile = TemporaryDirectory(ignore_cleanup_errors=True)
        self._process = subprocess.Popen(
            [program, "--headless", "--no-remote", "--profile", self._profile.name, "--remote-debugging-port", "0"],
            env=os.environ | {"HOME": self._profile.name},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self._number = 0
        self._reader: threading.Thread | None = None
        self._held = ExitStack()
        try:
            self._connection = self._connect()
            self.ask("session.new", capabilities={})
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def tab(self, url: str) -> FirefoxTab:
        """Open a page in a tab of its own."""
        context = self.ask("browsingContext.create", type="tab")["context"]
        tab = FirefoxTab(self, context)
        tab.open(url)
        return tab

    def ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Give a command and wait for what comes of it.

        Raises:
            RuntimeError: it failed.
        """
        self._number += 1
        self._connection.send(json.dumps({"id": self._number, "method": method, "params": parameters}))
        while True:
            told = json.loads(self._connection.recv(timeout=ANSWER_TIMEOUT_S))
            if told.get("id") == self._number:
                break
        if told["type"] == "error":
            raise RuntimeError(f"{method}: {told['message']}")
        result: dict[str, Any] = told["result"]
        return result

    def _connect(self) -> ClientConnection:
        assert self._process.stderr is not None
        waiting = threading.Timer(START_TIMEOUT_S, self._process.kill)
        waiting.start()
        try:
            found = next((address for line in self._process.stderr if (address := ADDRESS.search(line))), None)
        finally:
            waiting.cancel()
        assert found, "Firefox did not start"
        self._reader = threading.Thread(target=self._process.stderr.read, daemon=True)
        self._reader.start()
        return self._held.enter_context(connect(f"{found[1]}/session", proxy=None, max_size=None))

    def _end(self) -> None:
        self._held.close()
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(30)
        if self._reader:
            self._reader.join(30)
        assert self._process.stderr is not None
        self._process.stderr.close()
        self._profile.cleanup()


class FirefoxTab:
    """One tab."""

    def __init__(self, firefox: Firefox, context: str) -> None:
        self._firefox = firefox
        self._context = context

    def open(self, url: str) -> None:
        self._firefox.ask("browsingContext.navigate", context=self._context, url=url, wait="complete")

    def reload(self) -> None:
        self._firefox.ask("browsingContext.reload", context=self._context, wait="complete")

    def resize(self, width: int, height: int) -> None:
        self._firefox.ask("browsingContext.setViewport", context=self._context, viewport=_size(width, height))

    def evaluate(self, expression: str) -> Any:
        """The value of an expression, or of what it promises."""
        told = self._firefox.ask(
            "script.evaluate",
            expression=f"Promise.resolve({expression}).then(JSON.stringify)",
            target={"context": self._context},
            awaitPromise=True,
        )
        if told["type"] == "exception":
            raise RuntimeError(told["exceptionDetails"]["text"])
        value = told["result"].get("value")
        return None if value is None else json.loads(value)

    def run(self, script: Path) -> None:
        """Run a script file in the page, whatever the page's policy is."""
        self._firefox.ask(
            "script.evaluate",
            expression=f"{script.read_text(encoding='utf-8')}\n;null",
            target={"context": self._context},
            awaitPromise=True,
        )

    def press(self, text: str) -> None:
        """Type into what has the focus; `Enter` and `Escape` are keys."""
        keys = [KEYS[text]] if text in KEYS else list(text)
        strokes = [{"type": kind, "value": key} for key in keys for kind in ("keyDown", "keyUp")]
        actions = [{"type": "key", "id": "keyboard", "actions": strokes}]
        self._firefox.ask("input.performActions", context=self._context, actions=actions)

    def click(self, name: str) -> None:
        """Click the visible button of that name."""
        self.wait(
            f"""(() => {{
              const button = [...document.querySelectorAll("button")].find(
                (one) => (one.ariaLabel || one.textContent.trim()) === {json.dumps(name)} && one.checkVisibility());
              button?.click();
              return Boolean(button);
            }})()""",
            True,
        )

    def say(self, text: str) -> None:
        """Write a message and send it with Enter."""
        self.evaluate('document.getElementById("prompt").focus()')
        self.press(text)
        self.press("Enter")

    def wait(self, expression: str, value: Any) -> None:
        """Wait until an expression has a value."""
        deadline = time.monotonic() + PATIENCE_S
        while (found := self.evaluate(expression)) != value:
            assert time.monotonic() < deadline, f"{expression} is {found!r} and not {value!r}"
            time.sleep(0.05)

    def texts(self, selector: str) -> str:
        """An expression for the visible texts of the elements that a selector names."""
        return (
            f"[...document.querySelectorAll({json.dumps(selector)})]"
            ".filter((one) => one.checkVisibility()).map((one) => one.textContent)"
        )


def _size(width: int, height: int) -> Mapping[str, int]:
    return {"width": width, "height": height}
