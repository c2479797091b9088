"""The chat page in a browser, as a visitor uses it."""

from __future__ import annotations

import os
import shutil
import time
from typing import Any

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, Locator, Playwright, expect

from tests.page.site import Script

COUNTED = "One two three four five six seven eight."
# What the console says of every refused request, planned ones as well.
REFUSED = "Failed to load resource"
# What this browser remembers of the conversation that is open.
RECORD = """
() => {
  const id = sessionStorage.getItem("conversation");
  const key = Object.keys(localStorage).find((key) => key.endsWith(`conversation ${id}`));
  return key ? JSON.parse(localStorage.getItem(key)) : null;
}
"""
# Notes what is announced, each time that it changes.
LISTEN = """
() => {
  window.heard = [];
  const announcer = document.getElementById("announcer");
  new MutationObserver(() => window.heard.push(announcer.textContent)).observe(announcer, {childList: true});
}
"""


def launch(playwright: Playwright) -> Browser:
    """Start the system's Chromium without a window; for it, `chat.test` is this machine."""
    arguments = ["--host-resolver-rules=MAP chat.test 127.0.0.1"]
    # As root, Chromium runs only outside of its sandbox.
    if os.getuid() == 0:
        arguments.append("--no-sandbox")
    return playwright.chromium.launch(executable_path=shutil.which("chromium"), args=arguments)


class Visit:
    """One tab.

    Attributes:
        page: the tab.
        complaints: what the console said was wrong, and addresses of others that were asked for something.
    """

    def __init__(self, context: BrowserContext, url: str) -> None:
        self.page = context.new_page()
        self.complaints: list[str] = []
        self._url = url
        self.page.on("console", lambda message: self._hear(message.type, message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", lambda request: self._see(request.url))
        self.page.goto(url)

    @property
    def prompt(self) -> Locator:
        return self.page.get_by_role("textbox", name="Your message")

    @property
    def users(self) -> Locator:
        """What the visitor said."""
        return self.page.locator(".user .text")

    @property
    def replies(self) -> Locator:
        return self.page.locator(".bot .text")

    @property
    def log(self) -> Locator:
        return self.page.get_by_role("log")

    @property
    def note(self) -> Locator:
        return self.page.locator(".note")

    @property
    def record(self) -> dict[str, Any] | None:
        """What the browser remembers of the conversation; None for one that has not begun."""
        found: dict[str, Any] | None = self.page.evaluate(RECORD)
        return found

    @property
    def session(self) -> str:
        """The id of the conversation at the service."""
        assert self.record is not None, "the conversation has not begun"
        return str(self.record["session"])

    def stored(self) -> list[str]:
        """The turns of the conversation, as the service has them."""
        answer = self.page.request.get(f"{self._url}/sessions/{self.session}")
        return [turn["text"] for turn in answer.json()["turns"]]

    def button(self, name: str) -> Locator:
        return self.page.get_by_role("button", name=name, exact=True)

    def say(self, text: str) -> None:
        """Write a message and send it with Enter."""
        self.prompt.fill(text)
        self.prompt.press("Enter")

    def say_and_read(self, text: str, reply: str) -> None:
        """Send a message and wait until its reply is complete."""
        count = self.users.count()
        self.say(text)
        expect(self.users).to_have_count(count + 1)
        expect(self.replies.last).to_have_text(reply)
        expect(self.page.locator(".writing")).to_have_count(0)

    def say_and_pause(self, model: Script, text: str = "Count", reply: str = COUNTED) -> None:
        """Send a message and read the first half of its reply; the model's gate lets the rest come."""
        model.say(reply, pause=True)
        self.say(text)
        model.wait_paused()
        expect(self.replies.last).not_to_have_text("")

    def stop(self) -> None:
        """Press Stop, and wait until the service knows, so that it does not write the reply to its end."""
        before, end = self._cancelled(), time.monotonic() + 10
        self.button("Stop").click()
        while self._cancelled() == before:
            assert time.monotonic() < end, "the service goes on with what was stopped"
            time.sleep(0.02)

    def _cancelled(self) -> str:
        """How many requests the service has given up, as its metrics say it."""
        lines = self.page.request.get(f"{self._url}/metrics").text().splitlines()
        return next(line for line in lines if line.startswith("chatbot_cancelled_total"))

    def listen(self) -> None:
        """Begin to note what is announced."""
        self.page.evaluate(LISTEN)

    def heard(self) -> list[str]:
        heard: list[str] = self.page.evaluate("window.heard")
        return heard

    def overflow(self) -> int:
        """Pixels that the page is wider than its window."""
        width: int = self.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        return width

    def settled(self) -> float:
        """Where the conversation is scrolled to, once it has come to rest."""
        top = -1.0
        while top != (top := self.log.evaluate("node => node.scrollTop")):
            self.page.wait_for_timeout(150)
        return top

    def barriers(self) -> list[str]:
        """What axe finds seriously wrong for people with disabilities."""
        found: list[dict[str, Any]] = Axe().run(self.page).response["violations"]
        return [
            f"{rule['id']}: {[node['html'] for node in rule['nodes']]}"
            for rule in found
            if rule["impact"] in {"serious", "critical"}
        ]

    def _hear(self, kind: str, text: str) -> None:
        if kind == "error" and not text.startswith(REFUSED):
            self.complaints.append(text)

    def _see(self, url: str) -> None:
        if not url.startswith((f"{self._url}/", f"blob:{self._url}/")):
            self.complaints.append(url)
