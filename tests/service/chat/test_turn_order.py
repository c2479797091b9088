"""Messages of one conversation are answered in the order they came, and nobody waits for those of another."""

from __future__ import annotations

import threading
import time
from contextlib import ExitStack

import pytest

from service.chat.turn_order import TurnOrder
from service.errors import Overloaded


@pytest.fixture
def lines() -> TurnOrder:
    return TurnOrder(max_waiting=30)


def test_messages_come_forward_in_the_order_they_came(lines: TurnOrder) -> None:
    served: list[int] = []

    def exchange(number: int) -> None:
        with lines.join("a") as place:
            assert place.first.wait(10)
            served.append(number)
            time.sleep(0.002)

    with lines.join("a"):
        threads = [threading.Thread(target=exchange, args=(number,)) for number in range(20)]
        for thread in threads:
            thread.start()
            time.sleep(0.005)
    # Comes the moment that the conversation is let go, and still waits for those that came before.
    exchange(20)
    for thread in threads:
        thread.join()
    assert served == list(range(21))


def test_other_conversations_do_not_wait(lines: TurnOrder) -> None:
    with lines.join("a"), lines.join("b") as place:
        assert place.first.is_set()


def test_a_message_that_gave_up_does_not_hold_up_the_next(lines: TurnOrder) -> None:
    with lines.join("a"):
        with lines.join("a") as impatient:
            third = lines.join("a")
            assert not impatient.first.wait(0.01)
        assert not third.first.wait(0.01)
    assert third.first.is_set()
    lines.leave(third)


def test_a_failed_exchange_lets_go_of_its_conversation(lines: TurnOrder) -> None:
    with pytest.raises(RuntimeError), lines.join("a"):
        raise RuntimeError
    with lines.join("a") as place:
        assert place.first.is_set()


def test_a_full_line_refuses() -> None:
    lines = TurnOrder(max_waiting=2)
    with lines.join("a"), lines.join("a"), lines.join("a"):
        with pytest.raises(Overloaded, match="this conversation"), lines.join("a"):
            pass
        with lines.join("b"):
            pass
    with lines.join("a") as place:
        assert place.first.is_set()


def test_one_client_cannot_take_all_places_of_a_line() -> None:
    lines = TurnOrder(2)
    with ExitStack() as stack:
        for _ in range(3):
            stack.enter_context(lines.join("shared", "greedy"))
        with pytest.raises(Overloaded):
            lines.join("shared", "greedy")
        stack.enter_context(lines.join("shared", "other"))
        stack.enter_context(lines.join("shared", "third"))
        with pytest.raises(Overloaded):
            lines.join("shared", "fourth")
