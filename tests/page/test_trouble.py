"""What the page says when something goes wrong, and how one goes on from there."""

from __future__ import annotations

import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Response, request
from playwright.sync_api import expect

from service.errors import InvalidPrompt, NotReady, Overloaded
from service.http.errors import render
from tests.page.conftest import Visitor
from tests.page.site import Site, site
from tests.page.visit import COUNTED, Visit
from tests.service.process import ServiceProcess, free_port

# Replies of a real model that take two seconds and come token by token.
SLOW = """
import time
from service.engine.batch import Batch
from service.engine.settings import DecodingSettings
step = Batch.step
def planted(self):
    time.sleep(0.05)
    return step(self)
Batch.step = planted
DecodingSettings.from_generation_config = staticmethod(lambda _: DecodingSettings(min_length=40, max_length=41))
"""
# The model is loaded once the file exists.
HELD = """
import time
from pathlib import Path
from service.serving.model_host import ModelHost
load = ModelHost.load
def planted(self):
    while not Path({path!r}).exists():
        time.sleep(0.05)
    load(self)
ModelHost.load = planted
"""


def test_a_stopped_reply_is_not_kept_and_the_page_says_so(served: Site, visit: Visit) -> None:
    visit.say_and_read("Hi", "Hello you.")
    visit.say_and_pause(served.model)
    visit.button("Stop").click()
    expect(visit.note).to_contain_text("Stopped. Neither your message nor this reply is kept in the conversation.")
    expect(visit.prompt).to_be_focused()
    assert visit.stored() == ["Hi", "Hello you."]


def test_a_stopped_message_can_be_sent_again(served: Site, visit: Visit) -> None:
    visit.say_and_pause(served.model)
    visit.stop()
    served.model.say(COUNTED)
    visit.button("Send again").click()
    expect(visit.replies).to_have_text(COUNTED)
    expect(visit.prompt).to_be_focused()
    expect(visit.note).to_have_count(0)
    assert visit.stored() == ["Count", COUNTED]


def test_a_stopped_message_can_be_changed(served: Site, visit: Visit) -> None:
    visit.say_and_pause(served.model)
    visit.stop()
    visit.button("Edit").click()
    expect(visit.prompt).to_have_value("Count")
    expect(visit.prompt).to_be_focused()
    expect(visit.users).to_have_count(0)
    served.model.say(COUNTED)
    visit.prompt.press_sequentially(" to three")
    visit.prompt.press("Enter")
    expect(visit.replies).to_have_text(COUNTED)
    assert visit.stored() == ["Count to three", COUNTED]


def test_what_is_stopped_does_not_count_among_what_the_model_has_read(served: Site, visit: Visit) -> None:
    visit.say_and_read("Hi", "Hello you.")
    visit.say_and_pause(served.model, "This message is stopped")
    visit.stop()
    served.model.say("It is a long reply of many little words.")
    for number in range(4):
        visit.say_and_read(f"This is message number {number}", "It is a long reply of many little words.")
    unread = visit.page.locator(".turn.unread .text").all_inner_texts()
    assert unread == visit.stored()[: len(unread)]
    assert len(unread) > 2


def test_a_full_service_is_tried_again_when_it_says_so(served: Site, visit: Visit) -> None:
    served.engine.error = Overloaded("Too many requests are waiting; try again in 2 seconds.", retry_after_s=2)
    visit.say("Hi")
    expect(visit.note).to_contain_text("Too many requests are waiting; try again in 2 seconds.")
    expect(visit.button("Try again in 2 s")).to_be_disabled()
    served.engine.error = None
    expect(visit.button("Try again")).to_be_enabled()
    visit.button("Try again").click()
    expect(visit.replies).to_have_text("Hello you.")
    expect(visit.users).to_have_count(1)


def test_a_retry_carries_the_same_key(served: Site, visit: Visit) -> None:
    keys: list[str] = []
    visit.page.on("request", lambda asked: keys.append(asked.headers.get("idempotency-key", "")))
    served.engine.error = Overloaded("Full.", retry_after_s=0)
    visit.say("Hi")
    expect(visit.note).to_be_visible()
    served.engine.error = None
    visit.button("Try again").click()
    expect(visit.replies).to_have_text("Hello you.")
    visit.say_and_read("Hi again", "Hello you.")
    first, second, third = filter(None, keys)
    assert first == second != third


def test_a_failure_in_the_middle_of_a_reply_is_told_and_can_be_tried_again(served: Site, visit: Visit) -> None:
    visit.say_and_pause(served.model)
    served.model.break_down()
    expect(visit.note).to_contain_text("The reply could not be computed; try again.")
    served.model.say(COUNTED)
    visit.button("Try again").click()
    expect(visit.replies).to_have_text(COUNTED)
    assert visit.stored() == ["Count", COUNTED]


def test_a_message_that_the_service_refuses_is_in_the_box_again(served: Site, visit: Visit) -> None:
    served.engine.error = InvalidPrompt("The prompt is not liked; send another one.")
    visit.say("Hello there")
    expect(visit.page.locator("#refusal")).to_have_text("The prompt is not liked; send another one.")
    expect(visit.prompt).to_have_value("Hello there")
    expect(visit.prompt).to_be_focused()
    expect(visit.users).to_have_count(0)
    served.engine.error = None
    visit.say_and_read("Short", "Hello you.")
    expect(visit.page.locator("#refusal")).to_be_hidden()


def test_a_visitor_over_the_limit_is_told_when_to_come_back(tiny_checkpoint: Path, visitor: Visitor) -> None:
    with site(tiny_checkpoint, client_limit=1) as served:
        served.model.say("Hello you.")
        visit = visitor(served.url)
        visit.say_and_read("Hi", "Hello you.")
        visit.say("Hi again")
        expect(visit.note).to_contain_text("More than 1 messages a minute came from your address")
        expect(visit.page.get_by_role("button", name="Try again in")).to_be_disabled()


def test_a_conversation_that_the_service_has_lost_goes_on_as_a_new_one(served: Site, visit: Visit) -> None:
    visit.say_and_read("Hi", "Hello you.")
    assert visit.page.request.delete(f"{served.url}/sessions/{visit.session}").ok
    visit.say("Are you there?")
    expect(visit.note).to_contain_text("The service no longer has this conversation")
    expect(visit.page.locator(".unread")).to_have_count(2)
    visit.button("Try again").click()
    expect(visit.replies).to_have_count(2)
    expect(visit.page.locator(".turn, .divider")).to_have_text(
        [
            re.compile("^Hi"),
            re.compile("^Hello you"),
            "The model no longer reads what is above this line",
            re.compile("^Are you there"),
            re.compile("^Hello you"),
        ]
    )
    assert visit.stored() == ["Are you there?", "Hello you."]


def test_a_tab_that_comes_back_too_late_begins_anew(served: Site, visit: Visit) -> None:
    visit.page.evaluate("sessionStorage.setItem('session_id', 'gone')")
    visit.page.reload()
    expect(visit.note).to_have_text("The service no longer has this conversation; it may have expired.")
    visit.say_and_read("Hi", "Hello you.")
    assert visit.stored() == ["Hi", "Hello you."]


def test_a_service_that_is_killed_and_started_again_goes_on_with_the_same_message(
    tiny_export: Path, visitor: Visitor, tmp_path: Path
) -> None:
    arguments = ("--model", tiny_export, "--port", str(free_port()), "--store", tmp_path / "conversations.sqlite3")
    with ServiceProcess(*arguments, planted=SLOW) as process:
        visit = visitor(process.wait_ready().url)
        visit.say("Hello")
        expect(visit.button("Copy")).to_have_count(1)
        visit.say("Are you there?")
        expect(visit.replies).to_have_count(2)
        expect(visit.replies.last).not_to_have_text("")
        process.signal(signal.SIGKILL)
        expect(visit.note).to_contain_text("It goes out as soon as the service can answer.")
    expect(visit.page.locator("#state")).to_have_text("The service cannot be reached.")
    with ServiceProcess(*arguments) as process:
        process.wait_ready()
        expect(visit.button("Copy")).to_have_count(2, timeout=20_000)
        expect(visit.note).to_have_count(0)
        kept = visit.stored()
        assert kept[0::2] == ["Hello", "Are you there?"]
        assert kept[1::2] == visit.replies.all_text_contents()


def test_while_the_model_loads_the_page_says_so_and_goes_on_by_itself(
    tiny_export: Path, visitor: Visitor, tmp_path: Path
) -> None:
    go = tmp_path / "go"
    with ServiceProcess("--model", tiny_export, planted=HELD.format(path=str(go))) as process:
        visit = visitor(process.url)
        expect(visit.page.get_by_text("The model is being loaded.").first).to_be_visible()
        visit.say("Hello there")
        expect(visit.note).to_contain_text("Not sent yet. It goes out as soon as the service can answer.")
        go.touch()
        expect(visit.page.locator("#state")).to_be_hidden(timeout=30_000)
        expect(visit.page.locator("#model")).not_to_have_text("")
        expect(visit.button("Copy")).to_be_visible(timeout=20_000)
        expect(visit.users).to_have_text("Hello there")


def test_a_service_that_begins_to_restart_is_waited_for(served: Site, visit: Visit) -> None:
    served.engine.error = NotReady("The service is shutting down; try again in a moment.", retry_after_s=1)
    visit.say("Hi")
    expect(visit.note).to_contain_text("Not sent yet. It goes out as soon as the service can answer.")
    served.engine.error = None
    expect(visit.replies).to_have_text("Hello you.")


def test_an_answer_that_is_not_of_the_service_is_told_by_its_status(tiny_checkpoint: Path, visitor: Visitor) -> None:
    with site(tiny_checkpoint) as served:
        page = "<h1>Bad gateway</h1>"
        served.app.before_request(lambda: Response(page, 502) if request.path == "/chatbot" else None)
        visit = visitor(served.url)
        visit.say("Hi")
        expect(visit.note).to_contain_text("The service answered with status 502.")
        expect(visit.button("Try again")).to_be_enabled()


@pytest.fixture
def locked(tiny_checkpoint: Path) -> Iterator[Site]:
    """A service that wants a key."""
    with site(tiny_checkpoint) as served:
        served.model.say("Hello you.")

        def refuse() -> Response | None:
            if not request.path.startswith(("/chatbot", "/sessions")):
                return None
            if request.headers.get("Authorization") == "Bearer open-sesame":
                return None
            return render("This service needs an API key.", 401, "unauthorized")

        served.app.before_request(refuse)
        yield served


def test_a_key_is_asked_for_once_and_the_message_sent_again(locked: Site, visitor: Visitor) -> None:
    visit = visitor(locked.url)
    visit.say("Hi")
    gate = visit.page.get_by_role("dialog", name="This service asks for a key")
    expect(gate).to_contain_text("Whoever runs the service can give you one.")
    field = visit.page.get_by_label("API key")
    expect(field).to_be_focused()
    expect(field).to_have_attribute("type", "password")
    field.fill("wrong")
    field.press("Enter")
    expect(gate).to_contain_text("That key was not accepted; try another one.")
    expect(field).to_have_value("")
    field.fill("open-sesame")
    visit.button("Continue").click()
    expect(visit.replies).to_have_text("Hello you.")
    expect(visit.prompt).to_be_focused()
    visit.page.reload()
    expect(visit.replies).to_have_text("Hello you.")
    visit.say_and_read("Again", "Hello you.")


def test_who_has_no_key_is_told_so_and_keeps_the_message(locked: Site, visitor: Visitor) -> None:
    visit = visitor(locked.url)
    visit.say("Hi")
    expect(visit.page.get_by_role("dialog")).to_be_visible()
    visit.page.keyboard.press("Escape")
    expect(visit.note).to_contain_text("This service needs an API key.")
    expect(visit.prompt).to_be_focused()
    visit.button("Try again").click()
    visit.page.get_by_label("API key").fill("open-sesame")
    visit.page.get_by_label("API key").press("Enter")
    expect(visit.replies).to_have_text("Hello you.")
