"""The list of conversations: nothing in it gets lost, and what is forgotten is gone."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Locator, expect

from tests.page.conftest import Visitor
from tests.page.site import Site
from tests.page.visit import COUNTED, Visit
from tests.service.visitor import ask

PHONE = {"viewport": {"width": 360, "height": 640}, "has_touch": True, "is_mobile": True}


def items(visit: Visit) -> Locator:
    return visit.page.locator("#list .open span")


def test_a_new_conversation_leaves_the_old_one_in_the_list(visit: Visit) -> None:
    visit.say_and_read("What do whales eat?", "Hello you.")
    visit.button("New conversation").click()
    visit.say_and_read("And who are you?", "Hello you.")
    expect(items(visit)).to_have_text(["And who are you?", "What do whales eat?"])
    visit.button("What do whales eat?").click()
    expect(visit.users).to_have_text(["What do whales eat?"])
    visit.say_and_read("Do they sleep?", "Hello you.")
    assert visit.stored()[0::2] == ["What do whales eat?", "Do they sleep?"]
    expect(items(visit)).to_have_text(["What do whales eat?", "And who are you?"])


def test_it_is_there_after_a_reload_and_in_another_tab(visit: Visit) -> None:
    visit.say_and_read("What do whales eat?", "Hello you.")
    visit.page.reload()
    expect(items(visit)).to_have_text(["What do whales eat?"])
    expect(visit.button("What do whales eat?")).to_have_attribute("aria-current", "true")
    other = Visit(visit.page.context, visit.page.url.rstrip("/"))
    expect(items(other)).to_have_text(["What do whales eat?"])
    other.button("What do whales eat?").click()
    expect(other.replies).to_have_text("Hello you.")


def test_a_long_first_message_is_named_by_its_first_words(visit: Visit) -> None:
    visit.say_and_read("word\n" * 40 + "end", "Hello you.")
    expect(items(visit)).to_have_text("word " * 11 + "word…")


def test_a_conversation_can_be_renamed(visit: Visit) -> None:
    visit.say_and_read("Hi", "Hello you.")
    visit.button("Rename").click()
    name = visit.page.get_by_role("textbox", name="Name of the conversation")
    expect(name).to_be_focused()
    name.fill("About <b>whales</b>")
    name.press("Enter")
    expect(items(visit)).to_have_text(["About <b>whales</b>"])
    expect(visit.button("About <b>whales</b>")).to_be_focused()
    visit.button("Rename").click()
    name.fill("Something else")
    name.press("Escape")
    visit.page.reload()
    expect(items(visit)).to_have_text(["About <b>whales</b>"])


def test_a_conversation_is_forgotten_here_and_at_the_service(served: Site, visit: Visit) -> None:
    visit.say_and_read("Hi", "Hello you.")
    session = visit.session
    visit.button("Forget").click()
    question = visit.page.get_by_role("dialog", name="Forget this conversation?")
    expect(question).to_contain_text("“Hi” is deleted here and at the service, for good.")
    visit.button("Keep it").click()
    expect(items(visit)).to_have_count(1)
    visit.button("Forget").click()
    visit.button("Forget it").click()
    expect(items(visit)).to_have_count(0)
    expect(visit.users).to_have_count(0)
    expect(visit.prompt).to_be_focused()
    assert visit.page.request.get(f"{served.url}/sessions/{session}").status == 404
    visit.page.reload()
    expect(items(visit)).to_have_count(0)
    assert visit.page.evaluate("Object.keys(localStorage)") == []


def test_what_the_service_could_not_forget_stays_in_the_list(served: Site, visit: Visit) -> None:
    visit.say_and_read("Hi", "Hello you.")
    visit.page.context.set_offline(True)
    visit.button("Forget").click()
    visit.button("Forget it").click()
    expect(visit.note).to_contain_text("The conversation is not forgotten yet. The service cannot be reached.")
    expect(items(visit)).to_have_count(1)
    visit.page.context.set_offline(False)
    visit.button("Forget").click()
    visit.button("Forget it").click()
    expect(items(visit)).to_have_count(0)


def test_a_conversation_is_exported_with_all_its_turns(served: Site, visit: Visit) -> None:
    visit.say_and_read("Hi", "Hello you.")
    messages = [f"Message {number} {'🙂' * 1900}" for number in range(20)]
    for message in messages:
        assert ask(served.app.test_client(), message, session_id=visit.session).status_code == 200
    visit.say_and_pause(served.model, "Not answered")
    visit.button("Stop").click()
    with visit.page.expect_download() as saved:
        visit.button("Export").click()
    assert saved.value.suggested_filename == "Hi.txt"
    text = Path(saved.value.path()).read_text(encoding="utf-8")
    said = "\n\n".join(f"You: {message}\n\nChatbot: Hello you." for message in ["Hi", *messages])
    assert text.startswith("Hi\n\n")
    assert text.endswith(f"\n\n{said}\n\nYou (not sent): Not answered\n")


def test_a_reply_goes_on_while_another_conversation_is_read(served: Site, visit: Visit) -> None:
    visit.say_and_pause(served.model, "Count for me")
    visit.button("New conversation").click()
    expect(visit.page.locator("#list small")).to_have_text("1 not answered")
    served.model.gate.set()
    expect(visit.page.locator("#list small")).to_have_text("")
    visit.button("Count for me").click()
    expect(visit.replies).to_have_text(COUNTED)
    expect(visit.note).to_have_count(0)


def test_on_a_phone_the_list_is_a_sheet(served: Site, visitor: Visitor) -> None:
    visit = visitor(served.url, **PHONE)
    visit.say_and_read("What do whales eat?", "Hello you.")
    expect(items(visit)).to_be_hidden()
    visit.button("Conversations").click()
    sheet = visit.page.get_by_role("dialog", name="Conversations")
    expect(sheet).to_be_visible()
    assert visit.barriers() == []
    visit.page.keyboard.press("Escape")
    expect(sheet).to_be_hidden()
    visit.button("New conversation").click()
    expect(visit.users).to_have_count(0)
    visit.button("Conversations").click()
    visit.button("What do whales eat?").click()
    expect(sheet).to_be_hidden()
    expect(visit.replies).to_have_text("Hello you.")
    assert visit.overflow() == 0


def test_below_each_path_there_is_a_list_of_its_own(served: Site, visit: Visit) -> None:
    visit.say_and_read("Hi", "Hello you.")
    kept = visit.page.evaluate("Object.keys(localStorage)")
    assert kept
    assert all(key.startswith("chatbot / 1 ") for key in kept)


@pytest.mark.parametrize("kept", ["", "null", "[]", '{"schema": 99}', '{"schema": 1}', "\0"])
def test_what_cannot_be_read_is_passed_over(visit: Visit, kept: str) -> None:
    visit.page.evaluate("kept => localStorage.setItem('chatbot / 1 conversation x', kept)", kept)
    visit.page.evaluate("sessionStorage.setItem('conversation', 'x')")
    visit.page.reload()
    visit.say_and_read("Hi", "Hello you.")
    expect(items(visit)).to_have_text(["Hi"])


def test_a_conversation_from_before_there_was_a_list_is_taken_over(visit: Visit) -> None:
    visit.say_and_read("Hi", "Hello you.")
    session = visit.session
    visit.page.evaluate(
        "id => { localStorage.clear(); sessionStorage.clear(); sessionStorage.session_id = id; }", session
    )
    visit.page.reload()
    expect(visit.replies).to_have_text("Hello you.")
    assert visit.session == session


def test_a_browser_without_room_keeps_what_it_can_and_says_so(visit: Visit) -> None:
    visit.page.evaluate("""() => {
      Storage.prototype.setItem = () => { throw new DOMException("full", "QuotaExceededError"); };
    }""")
    visit.say_and_read("Hi", "Hello you.")
    expect(visit.note).to_contain_text("This browser has no room left for this site.")
    visit.say_and_read("Again", "Hello you.")
    expect(items(visit)).to_have_text(["Hi"])
    expect(visit.users).to_have_text(["Hi", "Again"])
