"""What the page says before a limit is met: of the model's memory, and of the service."""

from __future__ import annotations

from pathlib import Path

from playwright.sync_api import expect

from tests.page.conftest import Visitor
from tests.page.site import Site, site
from tests.page.visit import Visit

LIMIT = 2000


def test_the_meter_says_how_much_of_its_memory_the_conversation_takes(served: Site, visit: Visit) -> None:
    meter = visit.page.get_by_role("meter", name="The model's memory")
    expect(meter).to_be_hidden()
    visit.say_and_read("My name is Anna.", "Hello you.")
    told = visit.page.request.post(f"{served.url}/tokenize", data={"session_id": visit.session}).json()
    expect(meter).to_have_text(f"{told['prompt_tokens']} of 128 tokens")
    expect(meter).to_have_attribute("aria-valuenow", str(told["prompt_tokens"]))
    assert visit.barriers() == []
    visit.page.reload()
    expect(meter).to_have_text(f"{told['prompt_tokens']} of 128 tokens")
    visit.prompt.fill("What is my name?")
    draft = {"session_id": visit.session, "prompt": "What is my name?"}
    with_draft = visit.page.request.post(f"{served.url}/tokenize", data=draft).json()["prompt_tokens"]
    assert with_draft > told["prompt_tokens"]
    expect(meter).to_have_text(f"{with_draft} of 128 tokens")
    visit.button("New conversation").click()
    expect(meter).to_be_hidden()


def test_a_message_that_will_be_cut_says_so_before_it_is_sent(served: Site, visit: Visit) -> None:
    long = "word " * 200
    visit.prompt.fill(long)
    told = visit.page.request.post(f"{served.url}/tokenize", data={"prompt": long.strip()}).json()
    sentence = f"it will not read the first {told['truncated_tokens']} tokens of this."
    expect(visit.page.locator("#cut")).to_contain_text(sentence)
    assert visit.barriers() == []
    visit.prompt.fill("short")
    expect(visit.page.locator("#cut")).to_be_hidden()


def test_characters_are_counted_near_the_limit_and_more_are_not_sent(served: Site, visit: Visit) -> None:
    counter = visit.page.locator("#counter")
    visit.prompt.fill("a" * 1599)
    expect(counter).to_be_hidden()
    visit.prompt.fill("🙂" * 1600)
    expect(counter).to_have_text("1,600 of 2,000")
    visit.prompt.fill("a" * 2001)
    expect(counter).to_have_text("1 character over the limit")
    expect(visit.button("Send")).to_be_disabled()
    visit.listen()
    text = "b" * 2500
    visit.prompt.fill(text)
    visit.prompt.press("Enter")
    assert visit.heard() == ["500 characters over the limit"]
    expect(visit.prompt).to_have_value(text)
    expect(visit.users).to_have_count(0)
    assert visit.barriers() == []
    visit.page.reload()
    expect(visit.prompt).to_have_value(text)
    visit.prompt.fill("🙂" * LIMIT)
    visit.prompt.press("Enter")
    expect(visit.users).to_have_text("🙂" * LIMIT)
    expect(visit.replies).to_have_text("Hello you.")


def test_the_limit_is_the_one_of_the_service(tiny_checkpoint: Path, visitor: Visitor) -> None:
    with site(tiny_checkpoint, max_prompt_chars=100) as served:
        visit = visitor(served.url)
        visit.prompt.fill("a" * 101)
        expect(visit.page.locator("#counter")).to_have_text("1 character over the limit")
