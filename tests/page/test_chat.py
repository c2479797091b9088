"""A conversation on the page."""

from __future__ import annotations

from playwright.sync_api import expect

from tests.page.conftest import Visitor
from tests.page.site import NAME, NOTICE, Site
from tests.page.visit import COUNTED, Visit

HOSTILE = "<b onclick=alert(1)>bold</b> <img src=x onerror=alert(1)> & &amp;"


def test_a_message_is_answered(visit: Visit) -> None:
    visit.say_and_read("Hi there", "Hello you.")
    visit.say_and_read("And again", "Hello you.")
    expect(visit.users).to_have_text(["Hi there", "And again"])
    expect(visit.prompt).to_have_value("")
    expect(visit.prompt).to_be_focused()


def test_the_page_names_the_model_and_shows_its_notice(visit: Visit) -> None:
    expect(visit.page.get_by_role("heading", level=1)).to_have_text(f"Chatbot {NAME}")
    expect(visit.page).to_have_title(f"Chatbot · {NAME}")
    expect(visit.page.get_by_role("note")).to_have_text(NOTICE)


def test_an_empty_page_offers_examples_that_are_sent_at_once(visit: Visit) -> None:
    visit.button("Tell me a joke.").click()
    expect(visit.replies).to_have_text("Hello you.")
    expect(visit.users).to_have_text("Tell me a joke.")
    expect(visit.page.locator("#welcome")).to_be_hidden()
    expect(visit.prompt).to_be_focused()


def test_text_grows_while_the_reply_is_written(served: Site, visit: Visit) -> None:
    visit.say_and_pause(served.model)
    first = visit.replies.inner_text()
    assert COUNTED.startswith(first)
    assert first != COUNTED
    expect(visit.button("Stop")).to_be_visible()
    served.model.gate.set()
    expect(visit.replies).to_have_text(COUNTED)
    expect(visit.button("Stop")).to_be_hidden()


def test_markup_in_a_message_and_in_a_reply_is_text(served: Site, visit: Visit) -> None:
    served.model.say(HOSTILE)
    visit.say_and_read(HOSTILE, HOSTILE)
    visit.page.reload()
    expect(visit.replies).to_have_text(HOSTILE)
    expect(visit.users).to_have_text(HOSTILE)
    assert visit.page.locator("#turns :is(b, img)").count() == 0


def test_lines_of_a_message_stay_lines(visit: Visit) -> None:
    visit.prompt.press_sequentially("one")
    visit.prompt.press("Shift+Enter")
    visit.prompt.press_sequentially("two")
    visit.prompt.press("Enter")
    expect(visit.replies).to_have_text("Hello you.")
    assert visit.users.inner_text() == "one\ntwo"


def test_a_message_of_nothing_is_not_sent(visit: Visit) -> None:
    visit.say("  \n ")
    visit.say_and_read("Hi", "Hello you.")
    expect(visit.users).to_have_count(1)


def test_a_conversation_is_there_after_a_reload(visit: Visit) -> None:
    visit.say_and_read("Hi there", "Hello you.")
    visit.page.reload()
    expect(visit.users).to_have_text("Hi there")
    expect(visit.replies).to_have_text("Hello you.")
    visit.say_and_read("Still there?", "Hello you.")
    expect(visit.users).to_have_text(["Hi there", "Still there?"])


def test_the_conversation_goes_on_where_it_was(served: Site, visit: Visit) -> None:
    visit.say_and_read("My name is Eve", "Hello you.")
    visit.page.reload()
    expect(visit.replies).to_have_count(1)
    before = len(served.model.sources[-1])
    visit.say_and_read("Who am I?", "Hello you.")
    assert len(served.model.sources[-1]) > before


def test_a_new_conversation_knows_nothing_of_the_old_one(served: Site, visit: Visit) -> None:
    visit.say_and_read("Hi", "Hello you.")
    alone = len(served.model.sources[-1])
    visit.button("New conversation").click()
    expect(visit.users).to_have_count(0)
    expect(visit.button("Tell me a joke.")).to_be_visible()
    expect(visit.prompt).to_be_focused()
    visit.say_and_read("Hi", "Hello you.")
    assert len(served.model.sources[-1]) == alone
    visit.page.reload()
    expect(visit.users).to_have_count(1)


def test_a_reply_of_the_old_conversation_does_not_come_into_the_new_one(served: Site, visit: Visit) -> None:
    visit.say_and_pause(served.model, "Old", "One two three four five six.")
    visit.button("New conversation").click()
    served.model.say("Hello you.")
    visit.say_and_read("New", "Hello you.")
    expect(visit.users).to_have_text(["New"])


def test_each_tab_has_a_conversation_of_its_own(visit: Visit) -> None:
    visit.say_and_read("Hi", "Hello you.")
    other = Visit(visit.page.context, visit.page.url.rstrip("/"))
    expect(other.button("Tell me a joke.")).to_be_visible()
    other.say_and_read("Me too", "Hello you.")
    visit.page.reload()
    expect(visit.users).to_have_text("Hi")


def test_a_reply_can_be_copied(visitor: Visitor, served: Site) -> None:
    visit = visitor(served.url, permissions=["clipboard-read", "clipboard-write"])
    visit.say_and_read("Hi", "Hello you.")
    visit.listen()
    visit.button("Copy").click()
    expect(visit.button("Copied")).to_be_visible()
    assert visit.heard() == ["Copied"]
    assert visit.page.evaluate("navigator.clipboard.readText()") == "Hello you."
    expect(visit.button("Copy")).to_be_visible()


def test_outside_of_https_the_page_works_without_a_copy_button(visitor: Visitor, served: Site) -> None:
    visit = visitor(served.url.replace("127.0.0.1", "chat.test"))
    assert not visit.page.evaluate("window.isSecureContext")
    visit.say_and_read("Hi", "Hello you.")
    expect(visit.button("Copy")).to_have_count(0)


def test_turns_that_the_model_no_longer_reads_are_marked(served: Site, visit: Visit) -> None:
    reply = "It is a long reply of many little words."
    served.model.say(reply)
    for number in range(3):
        visit.say_and_read(f"This is message number {number}", reply)
    divider = visit.page.get_by_text("The model no longer reads what is above this line")
    expect(divider).to_have_count(1)
    above = visit.page.locator(".turn.unread")
    expect(visit.page.get_by_role("meter")).to_have_text("Memory full")
    read = visit.page.request.post(f"{served.url}/tokenize", data={"session_id": visit.session}).json()
    assert 0 < read["truncated_turns"] < 5
    expect(above).to_have_count(read["truncated_turns"])
    order = "nodes => nodes.map(node => node.matches('.divider') ? 'line' : String(node.matches('.unread')))"
    seen = visit.page.locator(".turn, .divider").evaluate_all(order)
    expected = ["true"] * read["truncated_turns"] + ["line"] + ["false"] * (6 - read["truncated_turns"])
    assert seen == expected
    visit.page.reload()
    expect(divider).to_have_count(1)
    assert visit.page.locator(".turn, .divider").evaluate_all(order) == expected


def test_a_message_that_the_model_read_only_the_end_of_is_marked(served: Site, visit: Visit) -> None:
    visit.say_and_read("Hi", "Hello you.")
    mark = visit.page.locator(".shortened:visible")
    expect(mark).to_have_count(0)
    visit.listen()
    visit.say_and_read("word " * 300, "Hello you.")
    session = visit.session
    turns = visit.page.request.get(f"{served.url}/sessions/{session}").json()["turns"]
    sentence = f"it did not read the first {turns[2]['truncated_tokens']} tokens of this message."
    expect(mark).to_have_count(1)
    expect(visit.page.locator(".user").last).to_contain_text(sentence)
    assert sentence in visit.heard()[-1]
    visit.say_and_read("And now?", "Hello you.")
    visit.page.reload()
    expect(visit.page.locator(".user").nth(1)).to_contain_text(sentence)
    expect(mark).to_have_count(1)
    assert visit.barriers() == []


def test_the_newest_text_is_followed_until_someone_scrolls_up(served: Site, visitor: Visitor) -> None:
    visit = visitor(served.url, viewport={"width": 360, "height": 400})
    reply = "word " * 80 + "end"
    served.model.say(reply)
    position = "node => node.scrollHeight - node.scrollTop - node.clientHeight"
    visit.say_and_read("Go", reply)
    assert visit.log.evaluate(position) < 2
    visit.say_and_pause(served.model, "Go on", reply)
    visit.log.focus()
    visit.log.press("PageUp")
    top = visit.settled()
    served.model.gate.set()
    expect(visit.page.locator(".writing")).to_have_count(0)
    assert visit.log.evaluate("node => node.scrollTop") == top
    assert visit.log.evaluate(position) > 100
