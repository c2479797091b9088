"""Conversations are kept apart, in order, and within their bounds, wherever they are kept."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from service.chat.turn_order import TurnOrder
from service.conversations.conversation import Conversation, Exchange, turns
from service.conversations.store import KEPT_EXCHANGES, Page, Store
from service.errors import ConversationChanged, UnknownConversation
from tests.service.conversations.conftest import Clock, MakeStore, said, say


def messages(store: Store, conversation_id: str) -> list[str]:
    return [exchange.message for exchange in store.read(conversation_id).exchanges]


def test_turns_come_back_in_order(store: Store) -> None:
    say(store, "a", "one", "two")
    say(store, "a", "three", "four")
    assert turns(store.read("a").exchanges) == ["one", "two", "three", "four"]


def test_everything_about_an_exchange_comes_back(store: Store) -> None:
    odd = Exchange(
        "left\0right \u202e 🙂 '; DROP TABLE exchanges; --",
        '{"a": "\\n"}\r\n\uffff',
        128,
        60,
        7,
        'key "{}" \\',
        9,
        '{"temperature": 0.5}',
        "k1 k2",
    )
    store.append("a", odd, version=0)
    assert store.read("a") == Conversation((odd,), 1)


@pytest.mark.parametrize("name", ["", "a b", "é", "'\"; --", "\0", "x" * 4000, "turns:a", "../a", "*"])
def test_any_text_may_be_asked_for(store: Store, name: str) -> None:
    say(store, "a", "one")
    assert name not in store
    with pytest.raises(UnknownConversation):
        store.read(name)
    with pytest.raises(UnknownConversation):
        store.delete(name)
    assert messages(store, "a") == ["one"]


def test_conversations_are_separate(store: Store) -> None:
    say(store, "a", "one")
    say(store, "b", "two")
    assert (messages(store, "a"), messages(store, "b")) == (["one"], ["two"])
    assert len(store) == 2


def test_an_unknown_conversation_is_said_so_with_the_way_to_a_new_one(store: Store) -> None:
    for forget in (store.read, store.delete):
        with pytest.raises(UnknownConversation, match="leave the id out"):
            forget("nowhere")
    assert "nowhere" not in store


def test_a_deleted_conversation_is_gone(store: Store) -> None:
    say(store, "a", "one")
    store.delete("a")
    assert "a" not in store
    assert len(store) == 0
    say(store, "a", "two")
    assert store.read("a") == Conversation((said("two"),), 1)


def test_an_untouched_conversation_is_forgotten_after_its_time(store: Store, clock: Clock) -> None:
    say(store, "a", "one")
    clock.now += 100
    assert "a" in store
    clock.now += 0.1
    assert "a" not in store
    assert len(store) == 0
    with pytest.raises(UnknownConversation):
        store.read("a")
    with pytest.raises(UnknownConversation):
        store.delete("a")


def test_a_forgotten_conversation_does_not_come_back(store: Store, clock: Clock) -> None:
    say(store, "a", "one")
    clock.now += 101
    with pytest.raises(UnknownConversation):
        store.append("a", said("two"), version=1)
    store.append("a", said("three"), version=0)
    assert messages(store, "a") == ["three"]


def test_each_exchange_starts_the_time_anew(store: Store, clock: Clock) -> None:
    say(store, "a", "one")
    say(store, "b", "two")
    clock.now += 90
    say(store, "a", "three")
    clock.now += 60
    assert "a" in store
    assert "b" not in store


def test_reading_does_not_lengthen_a_life(store: Store, clock: Clock) -> None:
    say(store, "a", "one")
    clock.now += 90
    store.read("a")
    clock.now += 20
    assert "a" not in store


def test_the_least_recently_answered_conversation_makes_room(store: Store, clock: Clock) -> None:
    for name in "abc":
        clock.now += 1
        say(store, name, name)
    clock.now += 1
    say(store, "a", "again")
    store.read("b")
    clock.now += 1
    say(store, "d", "d")
    assert [name for name in "abcd" if name in store] == ["a", "c", "d"]
    assert len(store) == 3


def test_an_exchange_goes_on_with_the_conversation_that_was_read_or_nowhere(store: Store) -> None:
    say(store, "a", "one")
    for version in (0, 2):
        with pytest.raises(ConversationChanged, match="answered first"):
            store.append("a", said("late"), version=version)
    store.append("a", said("two"), version=1)
    assert store.read("a") == Conversation((said("one"), said("two")), 2)


def test_exchanges_are_numbered_as_they_come(store: Store) -> None:
    say(store, "a", "one")
    say(store, "a", "two")
    assert [exchange.number for exchange in store.read("a").exchanges] == [1, 2]


def test_an_exchange_can_take_the_place_of_the_last_one(store: Store) -> None:
    say(store, "a", "one")
    say(store, "a", "two")
    store.append("a", said("better"), version=2, replace=True)
    assert store.read("a") == Conversation((said("one"), said("better")), 3)
    assert [exchange.number for exchange in store.read("a").exchanges] == [1, 3]
    say(store, "a", "three")
    assert messages(store, "a") == ["one", "better", "three"]
    assert store.read("a").version == 4


def test_the_only_exchange_can_be_replaced(store: Store, clock: Clock) -> None:
    say(store, "a", "one")
    clock.now += 90
    store.append("a", said("better"), version=1, replace=True)
    clock.now += 90
    assert store.read("a") == Conversation((said("better"),), 2)
    assert len(store) == 1


def test_nothing_is_replaced_in_a_conversation_that_went_on_or_is_gone(store: Store) -> None:
    say(store, "a", "one")
    say(store, "a", "two")
    for version in (1, 3):
        with pytest.raises(ConversationChanged):
            store.append("a", said("late"), version=version, replace=True)
    assert store.read("a") == Conversation((said("one"), said("two")), 2)
    store.delete("a")
    with pytest.raises(UnknownConversation):
        store.append("a", said("late"), version=2, replace=True)
    assert "a" not in store


def test_of_those_that_replace_the_same_exchange_at_once_one_succeeds(store: Store) -> None:
    say(store, "a", "one")
    barrier = threading.Barrier(6)

    def work(worker: int) -> bool:
        barrier.wait()
        try:
            store.append("a", said(f"by {worker}"), version=1, replace=worker % 2 == 0)
        except ConversationChanged:
            return False
        return True

    with ThreadPoolExecutor(6) as pool:
        won = list(pool.map(work, range(6)))
    assert sum(won) == 1
    winner = won.index(True)
    assert messages(store, "a") == [f"by {winner}"] if winner % 2 == 0 else ["one", f"by {winner}"]
    assert store.read("a").version == 2


def test_replaced_exchanges_take_no_room_of_those_that_are_kept(store: Store) -> None:
    for version in range(KEPT_EXCHANGES):
        store.append("a", said(str(version)), version=version)
    for version in range(KEPT_EXCHANGES, KEPT_EXCHANGES + 20):
        store.append("a", said("again"), version=version, replace=True)
    store.append("a", said("next"), version=KEPT_EXCHANGES + 20)
    assert messages(store, "a") == [*map(str, range(1, KEPT_EXCHANGES - 1)), "again", "next"]


def test_a_conversation_that_is_gone_is_not_made_anew(store: Store) -> None:
    with pytest.raises(UnknownConversation):
        store.append("a", said("late"), version=1)
    assert "a" not in store


def test_of_two_that_begin_a_conversation_one_succeeds(store: Store) -> None:
    store.append("a", said("one"), version=0)
    with pytest.raises(ConversationChanged):
        store.append("a", said("one"), version=0)
    assert messages(store, "a") == ["one"]


def test_parallel_threads_lose_nothing_and_keep_both_turns_together(make_store: MakeStore) -> None:
    store, lines = make_store(capacity=1000), TurnOrder(max_waiting=8)

    def work(worker: int) -> None:
        for number in range(30):
            name = f"conversation {number % 7}"
            with lines.join(name) as place:
                assert place.first.wait(10)
                before = store.read(name).version if name in store else 0
                say(store, name, f"{worker}.{number} asked", f"{worker}.{number} answered")
                assert store.read(name).version == before + 1

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    conversations = [store.read(f"conversation {number}").exchanges for number in range(7)]
    assert sum(map(len, conversations)) == 8 * 30
    for exchange in (exchange for conversation in conversations for exchange in conversation):
        assert exchange.message.removesuffix(" asked") == exchange.reply.removesuffix(" answered")


def test_of_those_that_race_without_a_line_one_goes_on_and_the_others_hear_so(make_store: MakeStore) -> None:
    store = make_store(capacity=1000)

    def race(worker: int) -> int:
        won = 0
        for version in range(30):
            try:
                store.append("a", said(f"{worker}.{version}"), version=version)
                won += 1
            except (ConversationChanged, UnknownConversation):
                while "a" not in store or store.read("a").version <= version:
                    pass
        return won

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(race, range(4))) == 30
    assert [message.split(".")[1] for message in messages(store, "a")] == [str(version) for version in range(30)]


def test_parallel_threads_keep_within_the_capacity(make_store: MakeStore) -> None:
    store = make_store(capacity=10)

    def work(worker: int) -> None:
        for number in range(40):
            say(store, f"{worker}.{number}", "text")
            assert len(store) <= 10

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    assert len(store) == 10


def test_the_oldest_exchanges_of_a_long_conversation_are_let_go(store: Store) -> None:
    for version in range(KEPT_EXCHANGES + 5):
        store.append("a", said(str(version)), version=version)
    assert messages(store, "a") == [str(number) for number in range(5, KEPT_EXCHANGES + 5)]
    assert store.read("a").version == KEPT_EXCHANGES + 5


def fill(store: Store, exchanges: int, message: str = "") -> None:
    for version in range(exchanges):
        store.append("a", said(f"{version}{message}"), version=version)


@pytest.mark.parametrize(
    ("page", "expected", "earlier"),
    [
        (Page(), range(9), 0),
        (Page(max_exchanges=1), range(8, 9), 8),
        (Page(max_exchanges=4), range(5, 9), 5),
        (Page(max_exchanges=9), range(9), 0),
        (Page(before=9), range(9), 0),
        (Page(before=500), range(9), 0),
        (Page(before=5), range(5), 0),
        (Page(before=5, max_exchanges=2), range(3, 5), 3),
        (Page(before=1), range(1), 0),
        (Page(before=0), range(0), 0),
        (Page(max_bytes=1), range(8, 9), 8),
        (Page(max_bytes=9), range(8, 9), 8),
        (Page(max_bytes=15), range(6, 9), 6),
        (Page(before=6, max_bytes=10), range(4, 6), 4),
        (Page(max_exchanges=2, max_bytes=100), range(7, 9), 7),
    ],
)
def test_a_page_holds_the_latest_before_its_end_within_its_bounds(
    store: Store, page: Page, expected: range, earlier: int
) -> None:
    fill(store, 9)
    found = store.read("a", page)
    assert [int(exchange.message) for exchange in found.exchanges] == list(expected)
    assert (found.version, found.earlier) == (9, earlier)


def test_bytes_of_a_page_are_those_of_the_texts_as_they_are_sent(store: Store) -> None:
    store.append("a", said("🙂é\n"), version=0)
    store.append("a", said("🙂é\n"), version=1)
    assert [len(store.read("a", Page(max_bytes=size)).exchanges) for size in (21, 22)] == [1, 2]


def test_pages_of_a_conversation_that_has_let_its_oldest_go_hold_all_that_is_kept(store: Store) -> None:
    fill(store, KEPT_EXCHANGES + 5)
    read: list[int] = []
    before = KEPT_EXCHANGES
    while before:
        page = store.read("a", Page(before=before, max_exchanges=60))
        read = [int(exchange.message) for exchange in page.exchanges] + read
        before = page.earlier
    assert read == list(range(5, KEPT_EXCHANGES + 5))


def test_no_page_of_an_unknown_conversation_is_read(store: Store, clock: Clock) -> None:
    for page in (Page(before=0), Page(max_exchanges=1)):
        with pytest.raises(UnknownConversation):
            store.read("a", page)
    say(store, "a", "one")
    clock.now += 101
    with pytest.raises(UnknownConversation):
        store.read("a", Page(before=0))


def test_a_page_of_a_long_conversation_costs_what_the_page_does(store: Store) -> None:
    fill(store, KEPT_EXCHANGES, message="x" * 8000)

    def seconds(page: Page) -> float:
        started = time.thread_time()
        for _ in range(5):
            store.read("a", page)
        return time.thread_time() - started

    latest = Page(max_bytes=20_000)
    assert min(seconds(latest) for _ in range(5)) < min(seconds(Page()) for _ in range(5)) / 3


def test_an_exchange_is_found_by_its_key(store: Store, clock: Clock) -> None:
    keys = ["", "k", 'with"quotes"and\\', "k2", "%", "[a-z]"]
    for version, key in enumerate(keys):
        store.append("a", Exchange(f'{version} "key": "k3" \\"key\\": \\"k3\\"', "fine", key=key), version=version)
    assert [found.message[0] for key in keys[1:] if (found := store.find("a", key))] == list("12345")
    assert [store.find("a", key) for key in ("k3", "K", "k\0", ".", "_", "a")] == [None] * 6
    assert store.find("b", "k") is None
    clock.now += 101
    assert store.find("a", "k") is None


def test_a_key_is_forgotten_with_its_exchange(store: Store) -> None:
    for version in range(KEPT_EXCHANGES + 1):
        store.append("a", Exchange("hi", "fine", key=f"key {version}"), version=version)
    assert store.find("a", "key 0") is None
    assert store.find("a", "key 1") is not None
    store.delete("a")
    assert store.find("a", "key 1") is None


def test_an_exchange_is_found_by_the_keys_of_those_it_stands_for(store: Store) -> None:
    store.append("a", Exchange("one", "fine", key="k1"), version=0)
    store.append("a", Exchange("two", "fine", key="k3", replaced="k1 k2"), version=1, replace=True)
    assert [found.message for key in ("k1", "k2", "k3") if (found := store.find("a", key))] == ["two"] * 3
    assert [store.find("a", key) for key in ("k", "1", "k1k2", "3")] == [None] * 4


def test_pages_pass_over_what_was_replaced(store: Store) -> None:
    fill(store, 6)
    for version in (6, 7, 8):
        store.append("a", said(f"{version}"), version=version, replace=True)
    store.append("a", said("9"), version=9)
    page = store.read("a", Page(max_exchanges=3))
    assert ([exchange.message for exchange in page.exchanges], page.version, page.earlier) == (["4", "8", "9"], 10, 4)
    before = store.read("a", Page(before=page.earlier, max_exchanges=2))
    assert ([exchange.message for exchange in before.exchanges], before.earlier) == (["2", "3"], 2)
