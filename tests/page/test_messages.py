"""The last message said differently, the last reply written anew, and what a message tells about itself."""

from __future__ import annotations

import json

import pytest
from playwright.sync_api import Request, expect

from tests.page.conftest import Visitor
from tests.page.site import Site
from tests.page.visit import COUNTED, Visit
from tests.service.visitor import ask


def sent(visit: Visit) -> list[dict[str, object]]:
    """What is sent to the service from now on."""
    bodies: list[dict[str, object]] = []

    def see(request: Request) -> None:
        if request.url.endswith("/chatbot"):
            bodies.append(json.loads(request.post_data or "{}"))

    visit.page.on("request", see)
    return bodies


def test_the_last_message_can_be_said_differently(served: Site, visit: Visit) -> None:
    visit.say_and_read("First", "Hello you.")
    visit.say_and_read("Secnod", "Hello you.")
    visit.prompt.fill("A draft")
    visit.page.locator(".user").last.hover()
    visit.button("Edit").click()
    expect(visit.prompt).to_have_value("Secnod")
    expect(visit.prompt).to_be_focused()
    expect(visit.page.locator("#editing")).to_be_visible()
    assert visit.barriers() == []
    served.model.say(COUNTED)
    visit.say("Second")
    expect(visit.users).to_have_text(["First", "Second"])
    expect(visit.replies).to_have_text(["Hello you.", COUNTED])
    expect(visit.prompt).to_have_value("A draft")
    expect(visit.page.locator("#editing")).to_be_hidden()
    assert visit.stored() == ["First", "Hello you.", "Second", COUNTED]


@pytest.mark.parametrize("by_keyboard", [False, True])
def test_to_leave_it_as_it_is_brings_the_draft_back(visit: Visit, by_keyboard: bool) -> None:
    visit.say_and_read("Hi", "Hello you.")
    visit.prompt.fill("A draft")
    visit.page.locator(".user").hover()
    visit.button("Edit").click()
    if by_keyboard:
        visit.page.keyboard.press("Escape")
    else:
        visit.button("Cancel").click()
    expect(visit.prompt).to_have_value("A draft")
    expect(visit.prompt).to_be_focused()
    assert visit.stored() == ["Hi", "Hello you."]


def test_an_edit_outlives_a_reload(served: Site, visit: Visit) -> None:
    visit.say_and_read("Hi", "Hello you.")
    visit.prompt.fill("A draft")
    visit.page.locator(".user").hover()
    visit.button("Edit").click()
    visit.prompt.press_sequentially(" there")
    visit.page.reload()
    expect(visit.prompt).to_have_value("Hi there")
    visit.prompt.press("Enter")
    expect(visit.users).to_have_text(["Hi there"])
    expect(visit.prompt).to_have_value("A draft")
    expect(visit.button("Copy")).to_have_count(1)
    assert visit.stored() == ["Hi there", "Hello you."]


def test_the_last_reply_can_be_written_anew(served: Site, visit: Visit) -> None:
    visit.say_and_read("First", "Hello you.")
    visit.say_and_read("Second", "Hello you.")
    bodies = sent(visit)
    served.model.say(COUNTED, pause=True)
    visit.button("Another reply").click()
    served.model.wait_paused()
    expect(visit.users).to_have_text(["First", "Second"])
    expect(visit.button("Another reply")).to_be_hidden()
    assert visit.barriers() == []
    served.model.gate.set()
    expect(visit.replies).to_have_text(["Hello you.", COUNTED])
    assert visit.stored() == ["First", "Hello you.", "Second", COUNTED]
    assert [(body["replace"], body["temperature"]) for body in bodies] == [(2, 0.9)]
    visit.page.reload()
    expect(visit.replies).to_have_text(["Hello you.", COUNTED])


def test_a_new_reply_that_is_stopped_leaves_the_former_one(served: Site, visit: Visit) -> None:
    visit.say_and_read("Hi", "Hello you.")
    served.model.say(COUNTED, pause=True)
    visit.button("Another reply").click()
    served.model.wait_paused()
    visit.button("Stop").click()
    expect(visit.replies).to_have_text(["Hello you."])
    expect(visit.users).to_have_text(["Hi"])
    expect(visit.note).to_have_count(0)
    served.model.gate.set()
    assert visit.stored() == ["Hi", "Hello you."]


def test_nothing_is_replaced_when_the_conversation_went_on_elsewhere(served: Site, visit: Visit) -> None:
    visit.say_and_read("Hi", "Hello you.")
    visit.page.locator(".user").hover()
    visit.button("Edit").click()
    ask(served.app.test_client(), "From elsewhere", session_id=visit.session)
    visit.say("Hi there")
    expect(visit.page.locator("#refusal")).to_contain_text("nothing was replaced. Your text is here again.")
    expect(visit.prompt).to_have_value("Hi there")
    expect(visit.users).to_have_text(["Hi", "From elsewhere"])
    visit.prompt.press("Enter")
    expect(visit.users).to_have_text(["Hi", "From elsewhere", "Hi there"])
    expect(visit.button("Copy")).to_have_count(3)
    assert visit.stored()[0::2] == ["Hi", "From elsewhere", "Hi there"]


def test_only_the_last_exchange_offers_it(visit: Visit) -> None:
    visit.say_and_read("First", "Hello you.")
    visit.say_and_read("Second", "Hello you.")
    expect(visit.button("Edit")).to_have_count(1)
    expect(visit.button("Another reply")).to_have_count(1)


def test_a_message_shows_its_time_and_can_be_copied_when_it_is_pointed_at(visitor: Visitor, served: Site) -> None:
    visit = visitor(served.url, permissions=["clipboard-read", "clipboard-write"], locale="en-GB")
    visit.say_and_read("Hi there", "Hello you.")
    user = visit.page.locator(".user")
    actions = user.locator(".actions")
    opacity = "node => getComputedStyle(node).opacity"
    visit.page.mouse.move(0, 0)
    assert actions.evaluate(opacity) == "0"
    user.hover()
    assert actions.evaluate(opacity) == "1"
    assert visit.page.evaluate("Math.abs(Date.now() - new Date(document.querySelector('.user time').dateTime)) < 60000")
    visit.page.mouse.move(0, 0)
    visit.button("Copy message").focus()
    assert actions.evaluate(opacity) == "1"
    visit.button("Copy message").click()
    expect(user.get_by_text("Copied")).to_be_visible()
    assert visit.page.evaluate("navigator.clipboard.readText()") == "Hi there"
