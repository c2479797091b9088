"""The page is small, there at once, and nothing in it jumps."""

from __future__ import annotations

from pathlib import Path

from playwright.sync_api import expect

from tests.page.conftest import Visitor
from tests.page.site import Site
from tests.page.visit import Visit

STATIC = Path(__file__).parents[2] / "service" / "static"
MOST_BYTES = 60_000
# The machine may be busy with other tests.
MOST_MS = 1500
PHONE = {"viewport": {"width": 390, "height": 700}, "has_touch": True, "is_mobile": True}
LOADED = "performance.getEntriesByType('navigation')[0].loadEventEnd"
SHIFTS = """
new Promise((resolve) => {
  let sum = 0;
  new PerformanceObserver((list) => {
    for (const entry of list.getEntries()) sum += entry.value;
  }).observe({type: "layout-shift", buffered: true});
  setTimeout(() => resolve(sum), 400);
})
"""


def test_its_scripts_are_small() -> None:
    scripts = [path for path in STATIC.glob("*.js") if path.name != "docs.js"]
    assert len(scripts) > 5
    assert sum(path.stat().st_size for path in scripts) < MOST_BYTES


def test_it_names_all_its_scripts_in_the_page(visit: Visit) -> None:
    named = visit.page.locator("link[rel=modulepreload]").evaluate_all("nodes => nodes.map(node => node.href)")
    loaded = visit.page.evaluate(
        "performance.getEntriesByType('resource').map(entry => entry.name).filter(name => name.endsWith('.js'))"
    )
    assert sorted(named) == sorted(set(loaded) - {f"{visit.page.url}static/chat.js"})


def test_it_is_there_at_once_and_nothing_shifts(served: Site, visitor: Visitor) -> None:
    for profile in ({}, PHONE):
        visit = visitor(served.url, **profile)
        assert visit.page.evaluate(LOADED) < MOST_MS
        assert visit.page.evaluate(SHIFTS) == 0
        for number in range(6):
            visit.say_and_read(f"Message {number}", "Hello you.")
        visit.prompt.fill("A draft\nof two lines")
        visit.page.reload()
        expect(visit.button("Copy")).to_have_count(6)
        assert visit.page.evaluate(LOADED) < MOST_MS
        assert visit.page.evaluate(SHIFTS) == 0


def test_the_box_stays_above_the_keyboard_of_a_phone(served: Site, visitor: Visitor) -> None:
    visit = visitor(served.url, **PHONE)
    for number in range(6):
        visit.say_and_read(f"Message {number}", "Hello you.")
    visit.prompt.tap()
    visit.page.set_viewport_size({"width": 390, "height": 380})
    for part in (visit.prompt, visit.button("Send"), visit.replies.last):
        expect(part).to_be_in_viewport(ratio=1)
    assert visit.page.evaluate("document.scrollingElement.scrollTop") == 0


def test_the_notice_makes_room_after_the_first_message_and_can_be_read_again(served: Site, visit: Visit) -> None:
    notice = visit.page.get_by_role("note")
    expect(notice).to_be_visible()
    visit.say_and_read("Hi", "Hello you.")
    expect(notice).to_be_hidden()
    again = visit.page.locator("#about")
    expect(again).to_be_hidden()
    visit.button("About this model").click()
    expect(again).to_have_text("This is a small demo model for trying the service.")
    assert visit.barriers() == []
    visit.page.keyboard.press("Escape")
    expect(again).to_be_hidden()
