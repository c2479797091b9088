"""`python -m tests.page.screenshots [FOLDER]`: pictures of the page with the demo model, for the documentation."""

from __future__ import annotations

import json
import sys
import threading
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, expect, sync_playwright

from tests.page.visit import Visit, launch
from tests.service.process import ServiceProcess

FOLDER = Path(__file__).parent / "screenshots"
TALK = ["Hi, my name is Anna.", "Tell me a joke.", "Do you remember my name?"]
OTHERS = ["What should I cook tonight?", "Where do whales sleep?"]
LONG = "The lighthouse keeper wrote down every ship that passed. " * 36
DESK: dict[str, Any] = {"viewport": {"width": 1080, "height": 680}}
PHONE: dict[str, Any] = {
    "viewport": {"width": 390, "height": 760},
    "device_scale_factor": 1.5,
    "has_touch": True,
    "is_mobile": True,
}
# Replies take long enough to be seen in the making, one at a time.
SLOW = """
import time
from service.engine.batch import Batch
step = Batch.step
def planted(self):
    time.sleep(0.04)
    return step(self)
Batch.step = planted
"""


def talk(visit: Visit, messages: list[str]) -> None:
    """Hold a conversation."""
    for number, message in enumerate(messages, 1):
        visit.say(message)
        expect(visit.button("Copy")).to_have_count(number, timeout=60_000)


def with_list(visit: Visit) -> None:
    """Several conversations, and the last one open."""
    for other in OTHERS:
        talk(visit, [other])
        visit.page.locator(".fresh:visible").click()
    talk(visit, TALK)


def edit(visit: Visit) -> None:
    """The last message comes into the box again."""
    with_list(visit)
    visit.page.locator(".user").last.hover()
    visit.button("Edit").click()
    visit.prompt.press_sequentially(" And where I live?")


def regenerate(visit: Visit) -> None:
    """Another reply is written."""
    with_list(visit)
    visit.button("Another reply").click()
    expect(visit.page.locator(".writing .text:visible")).to_be_visible(timeout=30_000)


def meter(visit: Visit) -> None:
    """The conversation is longer than the model's memory."""
    talk(visit, [*TALK, "What do you do all day?", "And at night?", "Do you like the sea?"])
    expect(visit.page.locator(".divider")).to_be_visible()


def limit(visit: Visit) -> None:
    """A message that is too long for the service."""
    with_list(visit)
    visit.prompt.fill(LONG)
    expect(visit.page.locator("#counter")).to_be_visible()


def cut(visit: Visit) -> None:
    """A message that is too long for the model."""
    with_list(visit)
    visit.prompt.fill(LONG[:1700])
    expect(visit.page.locator("#cut")).to_be_visible()


def offline(visit: Visit) -> None:
    """A message waits until the browser is online."""
    with_list(visit)
    visit.page.context.set_offline(True)
    expect(visit.page.locator("#state")).to_contain_text("offline")
    visit.say("Are you still there?")
    expect(visit.note).to_be_visible()


def queue(visit: Visit) -> None:
    """Others are before it."""
    with_list(visit)
    address = visit.page.url + "chatbot"
    for number in range(3):
        body = json.dumps({"prompt": f"Another visitor, number {number}"}).encode()
        threading.Thread(target=urllib.request.urlopen, args=(address, body), daemon=True).start()
    visit.page.wait_for_timeout(300)
    visit.say("What is the weather like at the sea?")
    expect(visit.page.locator(".waiting").last).to_contain_text("before yours")


def phone(visit: Visit) -> None:
    """A conversation on a small screen."""
    talk(visit, TALK)


def sheet(visit: Visit) -> None:
    """The list on a small screen."""
    with_list(visit)
    visit.button("Conversations").click()
    visit.page.wait_for_timeout(200)


PICTURES: dict[str, tuple[Callable[[Visit], None], dict[str, Any]]] = {
    "list": (with_list, DESK),
    "dark": (with_list, {**DESK, "color_scheme": "dark"}),
    "edit": (edit, DESK),
    "regenerate": (regenerate, DESK),
    "meter": (meter, DESK),
    "limit": (limit, DESK),
    "cut": (cut, DESK),
    "offline": (offline, DESK),
    "queue": (queue, DESK),
    "phone": (phone, PHONE),
    "phone-list": (sheet, {**PHONE, "color_scheme": "dark"}),
}


def shoot(browser: Browser, url: str, path: Path, scene: Callable[[Visit], None], profile: dict[str, Any]) -> None:
    """Play a scene and take its picture."""
    context = browser.new_context(**profile)
    visit = Visit(context, url)
    scene(visit)
    visit.page.screenshot(path=path)
    context.close()


def main(folder: Path = FOLDER) -> None:
    """Take all pictures."""
    folder.mkdir(exist_ok=True)
    with ServiceProcess("--model", "demo", "--rows", "10", planted=SLOW) as service, sync_playwright() as playwright:
        service.wait_ready()
        browser = launch(playwright)
        for name, (scene, profile) in PICTURES.items():
            shoot(browser, service.url, folder / f"{name}.png", scene, profile)
        browser.close()


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
