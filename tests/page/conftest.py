"""A browser, and the page in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, expect, sync_playwright

from tests.page.site import Site, site
from tests.page.visit import Visit, launch

Visitor = Callable[..., Visit]


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """The system's Chromium, without a window."""
    expect.set_options(timeout=10_000)
    with sync_playwright() as playwright:
        browser = launch(playwright)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def shared_site(tiny_checkpoint: Path) -> Iterator[Site]:
    with site(tiny_checkpoint) as served:
        yield served


@pytest.fixture
def served(shared_site: Site) -> Iterator[Site]:
    """A service whose model says "Hello you." until it is told something else."""
    shared_site.model.say("Hello you.")
    shared_site.engine.error = None
    yield shared_site
    shared_site.model.gate.set()


@pytest.fixture
def visitor(browser: Browser) -> Iterator[Visitor]:
    """Makes visitors of a page, each with a browser profile of their own; the page must give no cause for complaint."""
    visits: list[Visit] = []

    def visit(url: str, **profile: Any) -> Visit:
        context = browser.new_context(**profile)
        visits.append(Visit(context, url))
        return visits[-1]

    yield visit
    for visit_ in visits:
        visit_.page.context.close()
    assert [visit_.complaints for visit_ in visits] == [[]] * len(visits)


@pytest.fixture
def visit(visitor: Visitor, served: Site) -> Visit:
    """A visitor of the service that says "Hello you."."""
    return visitor(served.url)
