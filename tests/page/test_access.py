"""The page by keyboard, by ear, on a phone, in the dark."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from service.errors import Overloaded
from tests.page.conftest import Visitor
from tests.page.site import Site
from tests.page.visit import COUNTED, Visit

PHONE = {"viewport": {"width": 360, "height": 640}, "has_touch": True, "is_mobile": True}
URL = "https://example.org/" + "a" * 150
INPUT_METHOD = """
node => node.dispatchEvent(
  new KeyboardEvent("keydown", {key: "Enter", isComposing: true, bubbles: true, cancelable: true}))
"""


def focused(visit: Visit) -> str:
    """The name of what has the focus."""
    name: str = visit.page.evaluate(
        "(document.activeElement.ariaLabel || document.activeElement.labels?.[0]?.textContent"
        " || document.activeElement.textContent).trim()"
    )
    return name


def test_everything_is_reached_by_keyboard_and_nothing_loses_the_focus(served: Site, visit: Visit) -> None:
    expect(visit.prompt).to_be_focused()
    served.model.say(COUNTED, pause=True)
    visit.page.keyboard.type("Hi")
    visit.page.keyboard.press("Enter")
    served.model.wait_paused()
    visit.page.keyboard.press("Tab")
    assert focused(visit) == "Stop"
    served.model.gate.set()
    expect(visit.button("Stop")).to_be_hidden()
    expect(visit.prompt).to_be_focused()
    for name in ("Another reply", "Copy", "Edit", "Copy message", "Conversation", "About this model"):
        visit.page.keyboard.press("Shift+Tab")
        assert focused(visit) == name
    for name in ("Forget", "Export", "Rename", "Hi", "New conversation"):
        visit.page.keyboard.press("Shift+Tab")
        assert focused(visit) == name
        outline = visit.page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert outline == "solid"
    visit.page.keyboard.press("Enter")
    expect(visit.prompt).to_be_focused()
    expect(visit.users).to_have_count(0)


def test_escape_stops_and_what_then_can_be_done_is_one_tab_away(served: Site, visit: Visit) -> None:
    visit.say_and_pause(served.model)
    visit.page.keyboard.press("Escape")
    expect(visit.note).to_contain_text("Stopped.")
    expect(visit.prompt).to_be_focused()
    for name in ("Discard", "Edit"):
        visit.page.keyboard.press("Shift+Tab")
        assert focused(visit) == name
    visit.page.keyboard.press("Enter")
    expect(visit.prompt).to_be_focused()
    expect(visit.prompt).to_have_value("Count")


def test_the_next_message_can_be_sent_meanwhile_and_waits_for_its_turn(served: Site, visit: Visit) -> None:
    visit.say_and_pause(served.model, "One")
    visit.say("Two")
    expect(visit.note).to_contain_text("Waits for the reply before it.")
    expect(visit.prompt).to_have_value("")
    expect(visit.users).to_have_text(["One", "Two"])
    served.model.say("Hello you.")
    expect(visit.button("Copy")).to_have_count(2)
    expect(visit.note).to_have_count(0)
    assert visit.stored()[0::2] == ["One", "Two"]


def test_enter_of_an_input_method_does_not_send(visit: Visit) -> None:
    visit.prompt.fill("ni")
    visit.prompt.evaluate(INPUT_METHOD)
    expect(visit.prompt).to_have_value("ni")
    visit.prompt.press("Enter")
    expect(visit.users).to_have_text(["ni"])


def test_a_reply_is_announced_once_when_it_is_complete(served: Site, visit: Visit) -> None:
    visit.listen()
    visit.say_and_pause(served.model)
    assert visit.heard() == ["The reply is being written."]
    served.model.gate.set()
    expect(visit.button("Copy")).to_be_visible()
    assert visit.heard() == ["The reply is being written.", f"Chatbot: {COUNTED}"]
    expect(visit.log).to_have_attribute("aria-live", "off")


def test_the_box_grows_with_what_is_written_and_shrinks_again(visit: Visit) -> None:
    def height() -> float:
        box = visit.prompt.bounding_box()
        assert box is not None
        return box["height"]

    low = height()
    visit.prompt.fill("one\ntwo\nthree\nfour")
    assert height() > 2.5 * low
    visit.prompt.fill("\n" * 60)
    assert height() < 250
    visit.say_and_read("Hi", "Hello you.")
    assert height() == pytest.approx(low, abs=1)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_barrier_stands_in_any_state(served: Site, visitor: Visitor, scheme: str) -> None:
    visit = visitor(served.url, color_scheme=scheme)
    background = visit.page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (background == "rgb(255, 255, 255)") == (scheme == "light")
    assert visit.barriers() == []
    served.model.say("It is a long reply of many little words.")
    for number in range(3):
        visit.say_and_read(f"This is message number {number}", "It is a long reply of many little words.")
    expect(visit.page.locator(".divider")).to_be_visible()
    assert visit.barriers() == []
    visit.say_and_pause(served.model)
    assert visit.barriers() == []
    visit.button("Stop").click()
    served.engine.error = Overloaded("Too many requests are waiting.", retry_after_s=30)
    visit.say("Hi")
    expect(visit.note).to_have_count(2)
    assert visit.barriers() == []
    visit.page.evaluate("document.getElementById('gate').showModal()")
    assert visit.barriers() == []


def test_a_phone_shows_everything_without_scrolling_sideways(served: Site, visitor: Visitor) -> None:
    visit = visitor(served.url, **PHONE)
    assert visit.overflow() == 0
    served.model.say(URL)
    visit.say_and_read(URL, URL)
    served.engine.error = Overloaded("x" * 100, retry_after_s=30)
    visit.say("Hi")
    expect(visit.note).to_be_visible()
    assert visit.overflow() == 0
    assert visit.log.evaluate("node => node.scrollWidth - node.clientWidth") == 0
    for control in (visit.prompt, visit.button("Send"), visit.button("New conversation")):
        expect(control).to_be_in_viewport(ratio=1)
    assert visit.barriers() == []


def test_who_wants_less_motion_gets_none(served: Site, visit: Visit) -> None:
    visit.say_and_pause(served.model)
    assert visit.page.evaluate("document.getAnimations().length") == 1
    visit.page.emulate_media(reduced_motion="reduce")
    assert visit.page.evaluate("document.getAnimations().length") == 0
