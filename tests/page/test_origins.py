"""Pages of other sites and origins, in the browser of somebody who has a conversation."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from playwright.sync_api import Browser, BrowserContext, Page

from tests.page.site import Site
from tests.service.visitor import ask, turns

FORM = """<form method=post enctype=text/plain action="{url}/chatbot" target="{target}">
    <input name='{head}' value='{tail}'></form>"""
SUBMIT = "<script>document.forms[0].submit()</script>"
FETCH = """<script>
    fetch("{url}/chatbot", {{method: "POST", mode: "no-cors", credentials: "include", body: '{body}'}})
</script>"""
BEACON = """<script>navigator.sendBeacon("{url}/chatbot", '{body}')</script>"""
PAGES = {
    "form": FORM + SUBMIT,
    "form in a frame": """<iframe name=frame></iframe>""" + FORM + SUBMIT,
    "form in another window": FORM + SUBMIT,
    "fetch": FETCH,
    "beacon": BEACON,
}
TARGETS = {"form in a frame": "frame", "form in another window": "_blank"}


class _Pages(BaseHTTPRequestHandler):
    """A page at `/`, and a frame around it at `/frame`."""

    html = ""

    def do_GET(self) -> None:
        html = "<iframe src=/></iframe>" if self.path == "/frame" else self.html
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(html.encode())

    def log_message(self, format: str, *arguments: object) -> None:
        pass


@pytest.fixture
def stranger() -> Iterator[ThreadingHTTPServer]:
    """Serves a page of somebody else on another port of this machine."""
    with ThreadingHTTPServer(("127.0.0.1", 0), type("Pages", (_Pages,), {})) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    context = browser.new_context()
    yield context
    context.close()


def say(page: Page, words: str) -> str:
    """A message by a page of our own, which relies on the cookie; returns the conversation's id."""
    script = """async (words) => {
        const body = JSON.stringify({prompt: words});
        return (await fetch("/chatbot", {method: "POST", body})).headers.get("X-Session-Id");
    }"""
    return str(page.evaluate(script, words))


def attack(kind: str, url: str, body: str) -> str:
    """A page that sends a body; forms put `=` between two halves of it, which stands in a field that is not read."""
    head, tail = f'{body[:-1]}, "x": "', '"}'
    return PAGES[kind].format(url=url, body=body, head=head, tail=tail, target=TARGETS.get(kind, "_self"))


def cookies(context: BrowserContext) -> list[str]:
    return [cookie["value"] for cookie in context.cookies() if cookie["name"].endswith("session_id")]


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "chat.test"], ids=["cross-site", "same-site", "other name"])
@pytest.mark.parametrize("path", ["/", "/frame"])
@pytest.mark.parametrize("kind", PAGES)
def test_pages_of_strangers_change_nothing(
    context: BrowserContext, served: Site, stranger: ThreadingHTTPServer, kind: str, path: str, host: str
) -> None:
    attacker = served.app.test_client()
    theirs = ask(attacker, "I am the attacker").headers["X-Session-Id"]
    victim = context.new_page()
    victim.goto(served.url)
    mine = say(victim, "I am the victim")
    assert cookies(context) == [mine]
    body = json.dumps({"prompt": "I am written by another site", "session_id": theirs})
    stranger.RequestHandlerClass.html = attack(kind, served.url, body)  # type: ignore[attr-defined]
    before = len(served.engine.model.sources)
    context.new_page().goto(f"http://{host}:{stranger.server_port}{path}")
    victim.wait_for_timeout(300)
    assert len(served.engine.model.sources) > before, "the attack did not arrive"
    assert cookies(context) == [mine]
    assert say(victim, "my PIN is 1234") == mine
    assert turns(attacker, mine)[0::2] == ["I am the victim", "my PIN is 1234"]
    assert "my PIN is 1234" not in turns(attacker, theirs)


@pytest.mark.parametrize("kind", PAGES)
def test_pages_of_strangers_leave_no_cookie(
    context: BrowserContext, served: Site, stranger: ThreadingHTTPServer, kind: str
) -> None:
    body = json.dumps({"prompt": "I am written by another site"})
    stranger.RequestHandlerClass.html = attack(kind, served.url, body)  # type: ignore[attr-defined]
    page = context.new_page()
    page.goto(f"http://127.0.0.1:{stranger.server_port}/")
    page.wait_for_timeout(300)
    assert cookies(context) == []
