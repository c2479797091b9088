"""`python -m tests.page.screenshots [FOLDER]`: pictures of the page with the demo model, as the README shows them."""

from __future__ import annotations

import sys
from pathlib import Path

from playwright.sync_api import Browser, expect, sync_playwright

from tests.page.visit import Visit, launch
from tests.service.process import ServiceProcess

FOLDER = Path(__file__).parent / "screenshots"
TALK = ["Hi, my name is Anna.", "Tell me a joke.", "Do you remember my name?"]
DESK = {"width": 860, "height": 720}
PHONE = {"width": 390, "height": 760}


def shoot(browser: Browser, url: str, path: Path, *, messages: list[str], scheme: str, size: dict[str, int]) -> None:
    """Hold the conversation and take the picture."""
    context = browser.new_context(viewport=size, color_scheme=scheme, device_scale_factor=1.5)  # type: ignore[arg-type]
    visit = Visit(context, url)
    for number, message in enumerate(messages, 1):
        visit.say(message)
        expect(visit.button("Copy")).to_have_count(number)
    visit.page.screenshot(path=path)
    context.close()


def main(folder: Path = FOLDER) -> None:
    """Take all pictures."""
    folder.mkdir(exist_ok=True)
    with ServiceProcess("--model", "demo") as service, sync_playwright() as playwright:
        service.wait_ready()
        browser = launch(playwright)
        shoot(browser, service.url, folder / "light.png", messages=TALK, scheme="light", size=DESK)
        shoot(browser, service.url, folder / "dark.png", messages=TALK, scheme="dark", size=DESK)
        shoot(browser, service.url, folder / "phone.png", messages=TALK[:2], scheme="light", size=PHONE)
        browser.close()


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
