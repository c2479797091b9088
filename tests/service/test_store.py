"""Conversations are kept apart, in order, and within their bounds."""

from __future__ import annotations

import base64
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from service.chat.store import MemoryStore, new_id
from service.errors import DeadlineExceeded, UnknownConversation


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


def test_ids_are_different_and_hold_128_random_bits() -> None:
    ids = {new_id() for _ in range(1000)}
    assert len(ids) == 1000
    assert all(len(base64.urlsafe_b64decode(an_id + "==")) == 16 for an_id in ids)


def test_turns_come_back_in_order(store: MemoryStore) -> None:
    store.append("a", "one", "two")
    store.append("a", "three", "four")
    assert store.turns("a") == ["one", "two", "three", "four"]


def test_changing_what_was_read_changes_nothing(store: MemoryStore) -> None:
    store.append("a", "one", "two")
    store.turns("a").append("three")
    assert store.turns("a") == ["one", "two"]


def test_conversations_are_separate(store: MemoryStore) -> None:
    store.append("a", "one")
    store.append("b", "two")
    assert (store.turns("a"), store.turns("b")) == (["one"], ["two"])


def test_an_unknown_conversation_is_said_so_with_the_way_to_a_new_one(store: MemoryStore) -> None:
    for forget in (store.turns, store.delete):
        with pytest.raises(UnknownConversation, match="leave the id out"):
            forget("nowhere")
    assert "nowhere" not in store


def test_a_deleted_conversation_is_gone(store: MemoryStore) -> None:
    store.append("a", "one")
    store.delete("a")
    assert "a" not in store
    assert len(store) == 0


def test_an_untouched_conversation_is_forgotten_after_its_time(store: MemoryStore, clock: Clock) -> None:
    store.append("a", "one")
    clock.now = 100.0
    assert "a" in store
    clock.now = 100.1
    assert "a" not in store
    assert len(store) == 0
    with pytest.raises(UnknownConversation):
        store.turns("a")


def test_each_exchange_starts_the_time_anew(store: MemoryStore, clock: Clock) -> None:
    store.append("a", "one")
    store.append("b", "two")
    clock.now = 90.0
    store.append("a", "three")
    clock.now = 150.0
    assert "a" in store
    assert "b" not in store


def test_the_least_recently_used_conversation_makes_room(store: MemoryStore) -> None:
    for name in "abc":
        store.append(name, name)
    store.append("a", "again")
    store.append("d", "d")
    assert [name for name in "abcd" if name in store] == ["a", "c", "d"]
    assert len(store) == 3


def test_a_conversation_that_is_read_counts_as_used(store: MemoryStore, clock: Clock) -> None:
    for name in "abc":
        store.append(name, name)
    clock.now = 90.0
    store.turns("a")
    store.append("d", "d")
    clock.now = 150.0
    assert [name for name in "abcd" if name in store] == ["a", "d"]


def test_messages_of_one_conversation_are_held_in_the_order_they_came(store: MemoryStore) -> None:
    served: list[int] = []

    def exchange(number: int) -> None:
        with store.turn("a", timeout_s=10):
            served.append(number)
            time.sleep(0.002)

    with store.turn("a", timeout_s=10):
        threads = [threading.Thread(target=exchange, args=(number,)) for number in range(20)]
        for thread in threads:
            thread.start()
            time.sleep(0.005)
    # Comes the moment that the conversation is let go, and still waits for those that came before.
    exchange(20)
    for thread in threads:
        thread.join()
    assert served == list(range(21))


def test_other_conversations_do_not_wait(store: MemoryStore) -> None:
    with store.turn("a", timeout_s=1), store.turn("b", timeout_s=0.1):
        pass


def test_waiting_for_an_earlier_message_ends_at_the_deadline(store: MemoryStore) -> None:
    with store.turn("a", timeout_s=1):
        with pytest.raises(DeadlineExceeded, match="earlier message"), store.turn("a", timeout_s=0.05):
            pass
        with pytest.raises(DeadlineExceeded), store.turn("a", timeout_s=0):
            pass
    with store.turn("a", timeout_s=0):
        pass


def test_a_message_that_gave_up_waiting_does_not_hold_up_the_next(store: MemoryStore) -> None:
    entered = threading.Event()

    def patient() -> None:
        with store.turn("a", timeout_s=10):
            entered.set()

    with store.turn("a", timeout_s=1):
        with pytest.raises(DeadlineExceeded), store.turn("a", timeout_s=0.01):
            pass
        thread = threading.Thread(target=patient)
        thread.start()
        assert not entered.wait(0.05)
    assert entered.wait(5)
    thread.join()


def test_a_failed_exchange_lets_go_of_its_conversation(store: MemoryStore) -> None:
    with pytest.raises(RuntimeError), store.turn("a", timeout_s=1):
        raise RuntimeError
    with store.turn("a", timeout_s=0):
        pass


def test_parallel_threads_lose_nothing_and_keep_both_turns_together() -> None:
    store = MemoryStore(capacity=1000, ttl_s=1000)

    def work(worker: int) -> None:
        for number in range(100):
            name = f"conversation {number % 7}"
            with store.turn(name, timeout_s=10):
                before = len(store.turns(name)) if name in store else 0
                store.append(name, f"{worker}.{number} asked", f"{worker}.{number} answered")
                assert len(store.turns(name)) == before + 2

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    conversations = [store.turns(f"conversation {number}") for number in range(7)]
    assert sum(map(len, conversations)) == 8 * 100 * 2
    for turns in conversations:
        for asked, answered in zip(turns[::2], turns[1::2], strict=True):
            assert asked.removesuffix(" asked") == answered.removesuffix(" answered")


def test_parallel_threads_keep_within_the_capacity() -> None:
    store = MemoryStore(capacity=10, ttl_s=1000)

    def work(worker: int) -> None:
        for number in range(200):
            store.append(f"{worker}.{number}", "text")
            assert len(store) <= 10

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    assert len(store) == 10
