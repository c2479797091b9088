"""Nothing that was typed is lost and nothing is said twice, whatever happens to tab, browser, service and store."""

from __future__ import annotations

from playwright.sync_api import Request, expect

from service.errors import Overloaded
from tests.page.site import Site
from tests.page.visit import COUNTED, Visit

RAPID = 300
SEND_ALL = """
count => {
  const prompt = document.getElementById("prompt");
  for (let i = 0; i < count; i++) {
    prompt.value = `Message ${i}`;
    prompt.dispatchEvent(new Event("input"));
    prompt.dispatchEvent(new KeyboardEvent("keydown", {key: "Enter", bubbles: true, cancelable: true}));
  }
}
"""


def keys(visit: Visit) -> list[str]:
    """The keys of the messages that are sent from now on."""
    found: list[str] = []

    def see(request: Request) -> None:
        if request.url.endswith("/chatbot"):
            found.append(request.headers["idempotency-key"])

    visit.page.on("request", see)
    return found


def second_tab(visit: Visit) -> Visit:
    """Another tab of the same browser, with the same conversation open."""
    other = Visit(visit.page.context, visit.page.url.rstrip("/"))
    other.page.locator("#list .open").first.click()
    expect(other.users).to_have_count(visit.users.count())
    return other


def test_a_draft_outlives_a_reload_and_stays_with_its_conversation(visit: Visit) -> None:
    visit.say_and_read("Hi", "Hello you.")
    visit.prompt.fill("Half a thou")
    visit.button("New conversation").click()
    expect(visit.prompt).to_have_value("")
    visit.prompt.fill("Another one")
    visit.page.reload()
    expect(visit.prompt).to_have_value("Another one")
    visit.button("Hi").click()
    expect(visit.prompt).to_have_value("Half a thou")


def test_a_draft_outlives_its_tab(visit: Visit) -> None:
    visit.prompt.fill("Half a thou")
    other = Visit(visit.page.context, visit.page.url.rstrip("/"))
    visit.page.close()
    other.page.locator("#list .open").click()
    expect(other.prompt).to_have_value("Half a thou")


def test_stopped_and_failed_messages_outlive_a_reload(served: Site, visit: Visit) -> None:
    visit.say_and_pause(served.model)
    visit.button("Stop").click()
    served.engine.error = Overloaded("Too many requests are waiting.", retry_after_s=0)
    visit.say("Hi")
    expect(visit.note).to_have_count(2)
    visit.page.reload()
    expect(visit.users).to_have_text(["Count", "Hi"])
    expect(visit.note.first).to_contain_text("Stopped.")
    expect(visit.note.last).to_contain_text("Too many requests are waiting.")
    served.engine.error = None
    served.model.say("Hello you.")
    visit.button("Try again").click()
    expect(visit.button("Copy")).to_have_count(1)
    visit.button("Send again").click()
    expect(visit.button("Copy")).to_have_count(2)
    assert visit.stored()[0::2] == ["Hi", "Count"]


def test_a_message_can_be_discarded(served: Site, visit: Visit) -> None:
    visit.say_and_pause(served.model)
    visit.button("Stop").click()
    visit.button("Discard").click()
    expect(visit.users).to_have_count(0)
    visit.page.reload()
    expect(visit.users).to_have_count(0)


def test_a_reload_in_the_middle_of_a_reply_sends_the_message_again_and_it_is_said_once(
    served: Site, visit: Visit
) -> None:
    visit.say_and_read("Hi", "Hello you.")
    visit.say_and_pause(served.model)
    visit.page.reload()
    served.model.say(COUNTED)
    expect(visit.replies).to_have_text(["Hello you.", COUNTED])
    expect(visit.note).to_have_count(0)
    assert visit.stored() == ["Hi", "Hello you.", "Count", COUNTED]


def test_a_first_message_that_was_reloaded_is_said_in_one_conversation(served: Site, visit: Visit) -> None:
    sent = keys(visit)
    visit.say_and_pause(served.model)
    visit.page.reload()
    served.model.say(COUNTED)
    expect(visit.replies).to_have_text([COUNTED])
    assert len(set(sent)) == 1
    assert visit.stored() == ["Count", COUNTED]


def test_offline_is_noticed_and_what_was_written_goes_out_once_when_the_browser_is_back(
    served: Site, visit: Visit
) -> None:
    visit.say_and_read("Hi", "Hello you.")
    sent = keys(visit)
    visit.page.context.set_offline(True)
    band = visit.page.locator("#state")
    expect(band).to_have_text("You are offline. What you send is kept here, and goes out when you are back.")
    for text in ("One", "Two"):
        visit.say(text)
    expect(visit.note).to_have_count(2)
    expect(visit.note.first).to_contain_text("Not sent yet. It goes out as soon as the service can answer.")
    assert visit.barriers() == []
    visit.page.context.set_offline(False)
    expect(visit.button("Copy")).to_have_count(3)
    expect(band).to_be_hidden()
    assert visit.stored()[0::2] == ["Hi", "One", "Two"]
    assert len(set(sent)) == 2


def test_two_tabs_on_one_conversation_see_the_same(served: Site, visit: Visit) -> None:
    visit.say_and_read("First", "Hello you.")
    other = second_tab(visit)
    visit.say_and_read("From one tab", "Hello you.")
    expect(other.users).to_have_text(["First", "From one tab"])
    expect(other.button("Copy")).to_have_count(2)
    other.say_and_read("From the other", "Hello you.")
    expect(visit.users).to_have_text(["First", "From one tab", "From the other"])
    visit.say("At once 1")
    other.say("At once 2")
    for tab in (visit, other):
        expect(tab.button("Copy")).to_have_count(5)
        expect(tab.note).to_have_count(0)
    stored = visit.stored()[0::2]
    assert sorted(stored[3:]) == ["At once 1", "At once 2"]
    for tab in (visit, other):
        expect(tab.users).to_have_text(stored)


def test_one_tab_stops_what_the_other_one_sent_and_neither_loses_its_draft(served: Site, visit: Visit) -> None:
    visit.say_and_read("First", "Hello you.")
    other = second_tab(visit)
    visit.say_and_pause(served.model)
    visit.prompt.fill("Draft of one")
    other.prompt.fill("Draft of the other")
    expect(other.button("Stop")).to_be_visible()
    other.stop()
    for tab in (visit, other):
        expect(tab.note).to_contain_text("Stopped.")
    served.model.say("Hello you.")
    for tab, draft in ((visit, "Draft of one"), (other, "Draft of the other")):
        tab.page.reload()
        expect(tab.prompt).to_have_value(draft)
    assert visit.stored() == ["First", "Hello you."]


def test_what_one_tab_replaces_the_other_one_does_not_replace_again(served: Site, visit: Visit) -> None:
    visit.say_and_read("First", "Hello you.")
    other = second_tab(visit)
    other.page.locator(".user").hover()
    other.button("Edit").click()
    served.model.say(COUNTED)
    visit.button("Another reply").click()
    expect(visit.replies).to_have_text([COUNTED])
    expect(other.replies).to_have_text([COUNTED])
    other.say("First, but better")
    expect(other.page.locator("#refusal")).to_contain_text("nothing was replaced")
    expect(other.prompt).to_have_value("First, but better")
    assert visit.stored() == ["First", COUNTED]


def test_a_message_of_a_tab_that_was_closed_can_be_sent_from_another_one(served: Site, visit: Visit) -> None:
    visit.say_and_read("First", "Hello you.")
    other = Visit(visit.page.context, visit.page.url.rstrip("/"))
    visit.say_and_pause(served.model)
    visit.page.close()
    other.page.reload()
    other.page.locator("#list .open").first.click()
    expect(other.note).to_contain_text("The page was closed before the reply came.")
    served.model.say(COUNTED)
    other.button("Try again").click()
    expect(other.replies).to_have_text(["Hello you.", COUNTED])
    assert other.stored() == ["First", "Hello you.", "Count", COUNTED]


def test_many_messages_in_a_moment_are_answered_once_each_in_their_order(served: Site, visit: Visit) -> None:
    served.model.say("Ok")
    visit.page.evaluate(SEND_ALL, RAPID)
    expect(visit.users).to_have_count(RAPID)
    expect(visit.button("Copy")).to_have_count(RAPID, timeout=90_000)
    expect(visit.note).to_have_count(0)
    assert visit.stored() == [text for number in range(RAPID) for text in (f"Message {number}", "Ok")]


def test_a_store_that_was_emptied_takes_nothing_that_is_in_the_browser(served: Site, visit: Visit) -> None:
    visit.say_and_read("First", "Hello you.")
    visit.say_and_pause(served.model, "Stopped one")
    visit.stop()
    served.model.say("Hello you.")
    assert visit.page.request.delete(f"{served.url}/sessions/{visit.session}").ok
    visit.prompt.fill("A draft")
    visit.page.reload()
    expect(visit.prompt).to_have_value("A draft")
    expect(visit.users).to_have_text(["Stopped one"])
    expect(visit.note.first).to_have_text("The service no longer has this conversation; it may have expired.")
    visit.prompt.press("Enter")
    expect(visit.button("Copy")).to_have_count(1)
    visit.button("Send again").click()
    expect(visit.button("Copy")).to_have_count(2)
    assert visit.stored()[0::2] == ["A draft", "Stopped one"]
