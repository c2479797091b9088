"""Pages of another origin in real browsers: replies, streams and errors reach them, whatever headers they send."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clients.browsers import BROWSERS, talk_in
from tests.page.site import Site, site

CLIENT = Path(__file__).parent / "js" / "plain.mjs"


@pytest.fixture(scope="module")
def served(tiny_checkpoint: Path) -> Iterator[Site]:
    with site(tiny_checkpoint) as served:
        served.model.say("Hello you.")
        yield served


@pytest.mark.parametrize("browser", BROWSERS)
def test_a_page_of_another_origin_talks_with_headers_of_its_own(served: Site, browser: str) -> None:
    task = {"base_url": f"{served.url}/v1", "texts": ["Hi", "And you?", "Really?"], "long": "word " * 500}
    talked = talk_in(browser, CLIENT, task)
    assert talked["turns"] == ["Hello you."] * 3
    assert "".join(talked["pieces"]) == "Hello you."
    assert "2500 characters and the limit is 2000" in talked["error"]
    assert "/v1 stands there twice" in talked["error"]
