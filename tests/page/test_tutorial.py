"""A page written for the tutorial's app: it posts a prompt, shows whatever text comes back, and knows no session."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from flask import Response, send_file
from playwright.sync_api import Browser, Page, expect

from tests.page.site import Site, site

PAGE = Path(__file__).parent / "tutorial.html"


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *arguments: object) -> None:
        pass


@pytest.fixture
def other_origin() -> Iterator[str]:
    """Address of another server, which holds the page."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(PAGE.parent))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    context = browser.new_context()
    yield context.new_page()
    context.close()


@pytest.fixture
def own_site(tiny_checkpoint: Path) -> Iterator[Site]:
    """A service of the same origin as the page."""

    def serve() -> Response:
        response = send_file(PAGE)
        response.headers["Content-Security-Policy"] = "default-src * 'unsafe-inline'"
        return response

    with site(tiny_checkpoint) as served:
        served.app.add_url_rule("/tutorial.html", "tutorial", serve)
        served.model.say("Hello you.")
        yield served


def talk(page: Page, words: str) -> None:
    bubbles = page.locator("#bubbles p")
    count = bubbles.count()
    page.get_by_label("Words").fill(words)
    page.get_by_role("button", name="Go").click()
    expect(bubbles).to_have_count(count + 1)


def read(site: Site) -> list[int]:
    """How many tokens the model read for each message."""
    return [len(source) for source in site.engine.model.sources]


def test_it_works_from_another_origin(page: Page, served: Site, other_origin: str) -> None:
    page.goto(f"{other_origin}/tutorial.html?service={served.url}")
    before = len(read(served))
    talk(page, 'Hi "there"\nand\t<b>you</b>')
    talk(page, "And again")
    assert page.locator("#bubbles p").all_text_contents() == ["Hello you.", "Hello you."]
    first, second = read(served)[before:]
    assert second < first + 10


def test_of_another_origin_it_remembers_where_the_history_is_shared(
    page: Page, tiny_checkpoint: Path, other_origin: str
) -> None:
    with site(tiny_checkpoint, shared_history=True) as shared:
        shared.model.say("Hello you.")
        page.goto(f"{other_origin}/tutorial.html?service={shared.url}")
        for words in ("My name is Anna.", "Who am I?", "Really?"):
            talk(page, words)
        lengths = read(shared)
    assert lengths == sorted(set(lengths))


def test_of_the_same_origin_it_remembers_by_its_cookie(page: Page, own_site: Site) -> None:
    page.goto(f"{own_site.url}/tutorial.html?service={own_site.url}")
    for words in ("My name is Anna.", "Who am I?", "Really?"):
        talk(page, words)
    lengths = read(own_site)
    assert lengths == sorted(set(lengths))


def test_what_goes_wrong_reads_as_one_short_sentence(page: Page, served: Site, other_origin: str) -> None:
    page.goto(f"{other_origin}/tutorial.html?service={served.url}")
    talk(page, "   ")
    talk(page, "a" * 5000)
    served.engine.error = RuntimeError("the secret reason")
    talk(page, "Hello")
    for text in page.locator("#bubbles p").all_text_contents():
        assert text.endswith((".", "}."))
        assert len(text) < 160
        assert "\n" not in text
        assert "secret" not in text
        assert not text.startswith(json.dumps({})[0])


def test_two_tabs_of_it_at_once_are_both_answered(browser: Browser, served: Site, other_origin: str) -> None:
    contexts = [browser.new_context() for _ in range(2)]
    pages = [context.new_page() for context in contexts]
    for tab in pages:
        tab.goto(f"{other_origin}/tutorial.html?service={served.url}")
    for tab in pages:
        tab.get_by_label("Words").fill("Hello")
        tab.get_by_role("button", name="Go").dblclick()
    for tab, context in zip(pages, contexts, strict=True):
        expect(tab.locator("#bubbles p")).not_to_have_count(0)
        context.close()
