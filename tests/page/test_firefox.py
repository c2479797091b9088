"""The main things that the page does, in Firefox."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import axe_playwright_python
import pytest

from tests.page.firefox import Firefox, FirefoxTab
from tests.page.site import Script, Site
from tests.page.visit import COUNTED, RECORD
from tests.service.visitor import turns

USERS, REPLIES = ".user .text", ".bot .text"
AXE = Path(axe_playwright_python.__file__).parent / "axe.min.js"
BARRIERS = """axe.run().then(({violations}) => violations
  .filter(({impact}) => impact === "serious" || impact === "critical")
  .map(({id, nodes}) => id + ": " + nodes.map(({html}) => html).join(" ")))"""


@pytest.fixture(scope="module")
def firefox() -> Iterator[Firefox]:
    with Firefox() as browser:
        yield browser


@pytest.fixture
def tab(firefox: Firefox, served: Site) -> FirefoxTab:
    """A page that nothing has been said to."""
    tab = firefox.tab(served.url)
    tab.evaluate("(localStorage.clear(), sessionStorage.clear())")
    tab.reload()
    tab.resize(1100, 760)
    return tab


def read(tab: FirefoxTab, text: str, *replies: str) -> None:
    """Send a message and wait for the replies that there are then."""
    tab.say(text)
    tab.wait(tab.texts(REPLIES), list(replies))
    tab.wait("document.querySelectorAll('.writing').length", 0)


def stored(served: Site, tab: FirefoxTab) -> list[str]:
    return turns(served.app.test_client(), tab.evaluate(f"({RECORD.strip()})()")["session"])


def pause(model: Script, tab: FirefoxTab) -> None:
    """Send a message and let its reply come to its middle."""
    model.say(COUNTED, pause=True)
    tab.say("Count")
    model.wait_paused()


def barriers(tab: FirefoxTab) -> list[str]:
    tab.run(AXE)
    found: list[str] = tab.evaluate(BARRIERS)
    return found


def test_conversations_are_listed_and_gone_back_to(served: Site, tab: FirefoxTab) -> None:
    read(tab, "What do whales eat?", "Hello you.")
    tab.click("New conversation")
    read(tab, "And who are you?", "Hello you.")
    tab.wait(tab.texts("#list .open span"), ["And who are you?", "What do whales eat?"])
    tab.click("What do whales eat?")
    tab.wait(tab.texts(USERS), ["What do whales eat?"])
    assert barriers(tab) == []
    tab.click("Forget")
    tab.click("Forget it")
    tab.wait(tab.texts("#list .open span"), ["And who are you?"])


def test_the_last_message_is_edited_and_the_last_reply_written_anew(served: Site, tab: FirefoxTab) -> None:
    read(tab, "Hi", "Hello you.")
    served.model.say(COUNTED)
    tab.click("Another reply")
    tab.wait(tab.texts(REPLIES), [COUNTED])
    tab.wait("document.querySelectorAll('.writing').length", 0)
    tab.click("Edit")
    tab.press(" there")
    tab.press("Enter")
    tab.wait(tab.texts(USERS), ["Hi there"])
    tab.wait("document.querySelectorAll('.stored').length", 1)
    assert stored(served, tab) == ["Hi there", COUNTED]


def test_drafts_and_stopped_messages_outlive_a_reload(served: Site, tab: FirefoxTab) -> None:
    pause(served.model, tab)
    tab.press("Escape")
    tab.wait("document.querySelectorAll('.note.stopped').length", 1)
    tab.press("A draft")
    tab.reload()
    tab.wait(tab.texts(USERS), ["Count"])
    assert tab.evaluate("document.getElementById('prompt').value") == "A draft"
    served.model.say(COUNTED)
    tab.click("Send again")
    tab.wait(tab.texts(REPLIES), [COUNTED])
    tab.wait("document.querySelectorAll('.stored').length", 1)
    assert stored(served, tab) == ["Count", COUNTED]


def test_a_reload_in_the_middle_of_a_reply_says_nothing_twice(served: Site, tab: FirefoxTab) -> None:
    pause(served.model, tab)
    tab.reload()
    served.model.say(COUNTED)
    tab.wait(tab.texts(REPLIES), [COUNTED])
    tab.wait("document.querySelectorAll('.stored').length", 1)
    assert stored(served, tab) == ["Count", COUNTED]


def test_two_tabs_on_one_conversation_see_the_same(firefox: Firefox, served: Site, tab: FirefoxTab) -> None:
    read(tab, "First", "Hello you.")
    other = firefox.tab(served.url)
    other.resize(1100, 760)
    other.click("First")
    other.wait(other.texts(USERS), ["First"])
    read(other, "Second", "Hello you.", "Hello you.")
    tab.wait(tab.texts(USERS), ["First", "Second"])


def test_the_meter_and_the_counter_warn_in_time(served: Site, tab: FirefoxTab) -> None:
    read(tab, "Hi", "Hello you.")
    tab.wait("document.getElementById('meter').ariaValueNow > 5", True)
    tab.evaluate("document.getElementById('prompt').value = 'word '.repeat(500)")
    tab.press("x")
    tab.wait(tab.texts("#counter"), ["501 characters over the limit"])
    tab.press("Enter")
    assert tab.evaluate("document.getElementById('prompt').value.length") == 2501
    assert barriers(tab) == []


def test_on_a_narrow_screen_the_list_is_a_sheet(served: Site, tab: FirefoxTab) -> None:
    read(tab, "Hi", "Hello you.")
    tab.resize(400, 700)
    tab.click("Conversations")
    tab.wait("document.getElementById('sheet').open", True)
    assert barriers(tab) == []
    tab.click("Hi")
    tab.wait("document.getElementById('sheet').open", False)
    assert tab.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") == 0
