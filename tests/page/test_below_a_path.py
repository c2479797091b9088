"""The pages behind a proxy that serves them below a path, which it takes away, and nothing else."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.page.site import Site, site

BELOW = "/bot/"


def below(app: WSGIApplication) -> WSGIApplication:
    """What such a proxy makes of an application."""

    def proxied(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        if not path.startswith(BELOW):
            start_response("404 Not Found", [])
            return []
        return app({**environ, "PATH_INFO": path.removeprefix(BELOW.rstrip("/"))}, start_response)

    return proxied


@pytest.fixture
def proxied(tiny_checkpoint: Path) -> Iterator[Site]:
    with site(tiny_checkpoint) as served:
        served.app.wsgi_app = below(served.app.wsgi_app)  # type: ignore[assignment,method-assign]
        served.model.say("Hello you.")
        yield served


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A tab, which must not miss anything."""
    context = browser.new_context()
    page = context.new_page()
    missed: list[str] = []
    page.on("response", lambda response: missed.append(response.url) if response.status >= 400 else None)
    page.on("pageerror", lambda error: missed.append(str(error)))
    yield page
    context.close()
    assert missed == []


def test_the_chat_is_whole_and_answers(page: Page, proxied: Site) -> None:
    page.goto(proxied.url + BELOW)
    expect(page.locator("h1 img")).to_have_js_property("complete", True)
    assert page.evaluate("document.styleSheets[0].cssRules.length") > 20
    for count in (1, 2):
        page.get_by_role("textbox", name="Your message").fill("Hi")
        page.keyboard.press("Enter")
        expect(page.locator(".bot .text")).to_have_text(["Hello you."] * count)
        expect(page.locator(".writing")).to_have_count(0)
    page.reload()
    expect(page.locator(".bot .text")).to_have_text(["Hello you."] * 2)


def test_the_documentation_is_whole_and_can_be_tried(page: Page, proxied: Site) -> None:
    page.goto(f"{proxied.url}{BELOW}docs")
    operation = page.locator("#operations-default-alive")
    operation.locator(".opblock-summary-control").click()
    operation.get_by_role("button", name="Execute").click()
    expect(operation.locator(".live-responses-table").get_by_text('"alive"')).to_be_visible()


def test_without_scripts_its_link_leads_to_the_document(browser: Browser, proxied: Site) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(f"{proxied.url}{BELOW}docs")
    page.get_by_role("link", name="openapi.json").click()
    assert page.url == f"{proxied.url}{BELOW}openapi.json"
    context.close()
