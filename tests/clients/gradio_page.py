"""Gradio's page in a browser: what is seen there of a talk."""

from __future__ import annotations

import json
import os
import re
import subprocess
from dataclasses import asdict
from pathlib import Path

from playwright.sync_api import Page, expect, sync_playwright

from tests.clients.environments import interpreter
from tests.clients.talk import Talk, Task, growth
from tests.export_child import ROOT
from tests.page.visit import launch

REST_MS = 2000
# Notes each text that the newest reply has had.
WATCH = """
() => {
  window.texts = [];
  new MutationObserver(() => {
    const text = [...document.querySelectorAll("[data-testid=bot]")].at(-1)?.innerText.trim();
    if (text && text !== window.texts.at(-1)) window.texts.push(text);
  }).observe(document.body, {childList: true, characterData: true, subtree: true});
}
"""


def talk(task: Task) -> Talk:
    """Hold the talk on the page."""
    command: list[str | Path] = [
        interpreter("gradio"),
        "-m",
        "tests.clients.python.with_gradio",
        json.dumps(asdict(task)),
    ]
    environment = os.environ | {"GRADIO_ANALYTICS_ENABLED": "False", "HF_HUB_OFFLINE": "1"}
    with subprocess.Popen(
        command,
        cwd=ROOT,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as served:
        assert served.stdout is not None
        address = next(line.strip() for line in served.stdout if line.startswith("http"))
        with sync_playwright() as playwright:
            browser = launch(playwright)
            page = browser.new_page()
            page.goto(address)
            page.evaluate(WATCH)
            turns = [_say(page, task.texts[0], 1)]
            seen = [text for text in page.evaluate("window.texts") if turns[0].startswith(text)]
            turns += [_say(page, text, place) for place, text in enumerate(task.texts[1:], start=2)]
            page.goto(address)
            page.locator("textarea").first.fill(task.long)
            page.locator("textarea").first.press("Enter")
            error = page.locator(".toast-body.error").first.inner_text()
            browser.close()
        served.communicate()
    return Talk(turns, list(growth(seen)), error)


def _say(page: Page, text: str, place: int) -> str:
    """Send a message and read the reply, once it has come to rest: the page does not say when it is complete."""
    box = page.locator("textarea").first
    box.fill(text)
    box.press("Enter")
    replies = page.locator("[data-testid=bot]")
    expect(replies).to_have_count(place, timeout=20_000)
    expect(replies.last).to_have_text(re.compile(r"\w"), timeout=20_000)
    text = ""
    while text != (text := replies.last.inner_text().strip()):
        page.wait_for_timeout(REST_MS)
    return text
