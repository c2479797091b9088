"""Conversations are kept apart, in order, and within their bounds."""

from __future__ import annotations

import base64
from concurrent.futures import ThreadPoolExecutor

import pytest

from service.chat.conversation import Exchange, new_id, turns
from service.chat.line import Lines
from service.chat.store import KEPT_EXCHANGES, MemoryStore
from service.errors import UnknownConversation


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(clock: Clock) -> MemoryStore:
    return MemoryStore(capacity=3, ttl_s=100, clock=clock)


def said(message: str, reply: str = "fine") -> Exchange:
    return Exchange(message, reply)


def test_ids_are_different_and_hold_128_random_bits() -> None:
    ids = {new_id() for _ in range(1000)}
    assert len(ids) == 1000
    assert all(len(base64.urlsafe_b64decode(an_id + "==")) == 16 for an_id in ids)


def test_turns_come_back_in_order(store: MemoryStore) -> None:
    store.append("a", said("one", "two"))
    store.append("a", said("three", "four"))
    assert turns(store.exchanges("a")) == ["one", "two", "three", "four"]


def test_changing_what_was_read_changes_nothing(store: MemoryStore) -> None:
    store.append("a", said("one", "two"))
    store.exchanges("a").append(said("three"))
    assert store.exchanges("a") == [said("one", "two")]


def test_conversations_are_separate(store: MemoryStore) -> None:
    store.append("a", said("one"))
    store.append("b", said("two"))
    assert (store.exchanges("a"), store.exchanges("b")) == ([said("one")], [said("two")])


def test_an_unknown_conversation_is_said_so_with_the_way_to_a_new_one(store: MemoryStore) -> None:
    for forget in (store.exchanges, store.delete):
        with pytest.raises(UnknownConversation, match="leave the id out"):
            forget("nowhere")
    assert "nowhere" not in store


def test_a_deleted_conversation_is_gone(store: MemoryStore) -> None:
    store.append("a", said("one"))
    store.delete("a")
    assert "a" not in store
    assert len(store) == 0


def test_an_untouched_conversation_is_forgotten_after_its_time(store: MemoryStore, clock: Clock) -> None:
    store.append("a", said("one"))
    clock.now = 100.0
    assert "a" in store
    clock.now = 100.1
    assert "a" not in store
    assert len(store) == 0
    with pytest.raises(UnknownConversation):
        store.exchanges("a")


def test_each_exchange_starts_the_time_anew(store: MemoryStore, clock: Clock) -> None:
    store.append("a", said("one"))
    store.append("b", said("two"))
    clock.now = 90.0
    store.append("a", said("three"))
    clock.now = 150.0
    assert "a" in store
    assert "b" not in store


def test_the_least_recently_used_conversation_makes_room(store: MemoryStore) -> None:
    for name in "abc":
        store.append(name, said(name))
    store.append("a", said("again"))
    store.append("d", said("d"))
    assert [name for name in "abcd" if name in store] == ["a", "c", "d"]
    assert len(store) == 3


def test_a_conversation_that_is_read_counts_as_used(store: MemoryStore, clock: Clock) -> None:
    for name in "abc":
        store.append(name, said(name))
    clock.now = 90.0
    store.exchanges("a")
    store.append("d", said("d"))
    clock.now = 150.0
    assert [name for name in "abcd" if name in store] == ["a", "d"]


def test_parallel_threads_lose_nothing_and_keep_both_turns_together() -> None:
    store, lines = MemoryStore(capacity=1000, ttl_s=1000), Lines(longest=8)

    def work(worker: int) -> None:
        for number in range(100):
            name = f"conversation {number % 7}"
            with lines.join(name) as place:
                assert place.first.wait(10)
                before = len(store.exchanges(name)) if name in store else 0
                store.append(name, said(f"{worker}.{number} asked", f"{worker}.{number} answered"))
                assert len(store.exchanges(name)) == before + 1

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    conversations = [store.exchanges(f"conversation {number}") for number in range(7)]
    assert sum(map(len, conversations)) == 8 * 100
    for exchange in (exchange for conversation in conversations for exchange in conversation):
        assert exchange.message.removesuffix(" asked") == exchange.reply.removesuffix(" answered")


def test_parallel_threads_keep_within_the_capacity() -> None:
    store = MemoryStore(capacity=10, ttl_s=1000)

    def work(worker: int) -> None:
        for number in range(200):
            store.append(f"{worker}.{number}", said("text"))
            assert len(store) <= 10

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    assert len(store) == 10


def test_the_oldest_exchanges_of_a_long_conversation_are_let_go(store: MemoryStore) -> None:
    for number in range(KEPT_EXCHANGES + 5):
        store.append("a", said(str(number)))
    assert [exchange.message for exchange in store.exchanges("a")] == [str(n) for n in range(5, KEPT_EXCHANGES + 5)]


def test_a_conversation_that_is_gone_is_not_made_anew_unless_it_may_be(store: MemoryStore) -> None:
    store.append("a", said("late"), create=False)
    assert "a" not in store


def test_a_key_opens_the_same_conversation_each_time(store: MemoryStore) -> None:
    opened = {key: store.opened_by(key) for key in ("one key", "another key")}
    assert len(set(opened.values())) == 2
    assert all(store.opened_by(key) == conversation for key, conversation in opened.items())


def test_the_oldest_opening_key_makes_room(store: MemoryStore) -> None:
    first = store.opened_by("first")
    for number in range(3):
        store.opened_by(str(number))
    assert store.opened_by("first") != first
