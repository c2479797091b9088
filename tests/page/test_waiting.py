"""Waiting looks like waiting."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.page.conftest import Visitor
from tests.page.site import Site, site
from tests.service.visitor import ask


@pytest.fixture
def narrow(tiny_checkpoint: Path) -> Iterator[Site]:
    """A service that writes one reply at a time."""
    with site(tiny_checkpoint, rows=1) as served:
        served.model.say("Hello you.")
        yield served
        served.model.gate.set()


def test_the_page_says_who_writes_and_how_many_are_before(narrow: Site, visitor: Visitor) -> None:
    visit = visitor(narrow.url)
    narrow.model.gate.clear()
    others = [threading.Thread(target=ask, args=(narrow.app.test_client(), f"Other {n}")) for n in range(3)]
    for other in others:
        other.start()
        narrow.engine.wait_begun()
    visit.say("Hi")
    waiting = visit.page.locator(".waiting")
    expect(waiting).to_have_text("2 messages are before yours")
    assert visit.barriers() == []
    narrow.model.gate.set()
    expect(visit.replies).to_have_text("Hello you.")
    expect(waiting).to_be_hidden()
    for other in others:
        other.join()
    narrow.model.gate.clear()
    visit.say("Again")
    expect(waiting.last).to_have_text("Chatbot is writing")
    assert visit.barriers() == []
    narrow.model.gate.set()
    expect(visit.button("Copy")).to_have_count(2)
