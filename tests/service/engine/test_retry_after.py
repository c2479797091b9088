"""How long a refused request is told to wait."""

from __future__ import annotations

import pytest

from service.engine.retry_after import RetryAfter


@pytest.mark.parametrize(("work_s", "ahead", "seconds"), [(0.01, 0, 1), (0.01, 10, 1), (2.0, 10, 20), (0.5, 10, 5)])
def test_it_is_what_those_ahead_take_and_a_second_at_least(work_s: float, ahead: int, seconds: int) -> None:
    estimate = RetryAfter()
    for _ in range(100):
        estimate.learn(work_s)
    assert estimate.seconds(ahead) == seconds


def test_one_slow_reply_does_not_change_it_much() -> None:
    estimate = RetryAfter()
    for _ in range(100):
        estimate.learn(1.0)
    estimate.learn(11.0)
    assert estimate.seconds(10) == 20
