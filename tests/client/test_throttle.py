"""Throttling: how much of a load is sent to a server that refuses a part of it."""

from __future__ import annotations

import random
import threading

import pytest

from shopwindow_client import InvalidRequest, Throttle
from shopwindow_client._throttling import Throttling

CAPACITY = 100  # a second


class Shop:
    """A server that accepts so many requests a second, and callers with a throttle; on a clock of its own.

    Attributes:
        now: Seconds.
    """

    def __init__(self, rule: Throttle) -> None:
        self.now = 0.0
        self.throttling = Throttling(rule, draw=random.Random(5).random, now=lambda: self.now)
        self._room = 0.0

    def run(self, seconds: float, rate: int, capacity: float = CAPACITY) -> tuple[int, int]:
        """How many requests were sent, and how many of them accepted."""
        sent = accepted = 0
        for _ in range(round(seconds * rate)):
            self.now += 1 / rate
            self._room = min(capacity / 4, self._room + capacity / rate)  # what its queue takes
            if self.throttling.admits():
                sent += 1
                accepts = self._room >= 1
                self._room -= accepts
                accepted += accepts
                self.throttling.ended(accepted=accepts)
        return sent, accepted


@pytest.mark.parametrize("ratio", [1.2, 1.5, 2.0])
@pytest.mark.parametrize("times", [3, 10])
def test_what_is_sent_is_a_multiple_of_what_is_accepted(ratio: float, times: int) -> None:
    shop = Shop(Throttle(ratio=ratio))
    shop.run(20.0, times * CAPACITY)  # until the window is full of it
    sent, accepted = shop.run(60.0, times * CAPACITY)
    assert accepted == pytest.approx(60 * CAPACITY, rel=0.03)  # all that it could: nothing is lost by throttling
    assert sent / accepted == pytest.approx(ratio, rel=0.05)


def test_nothing_is_held_back_from_a_server_that_accepts_enough() -> None:
    shop = Shop(Throttle(ratio=2.0))
    assert shop.run(60.0, CAPACITY - 1) == (60 * (CAPACITY - 1),) * 2
    sent, accepted = shop.run(60.0, round(1.9 * CAPACITY))
    assert sent == 60 * round(1.9 * CAPACITY)
    assert accepted < 0.6 * sent


def test_those_under_way_are_not_counted_as_refused() -> None:
    throttling = Throttling(Throttle(ratio=1.0), draw=lambda: 0.0)  # what may be refused, is
    assert all(throttling.admits() for _ in range(1_000))


def test_a_few_requests_are_always_sent_and_find_out_that_the_server_is_back() -> None:
    shop = Shop(Throttle(ratio=1.5, window_s=10.0))
    shop.run(100.0, CAPACITY // 2, capacity=0.0)  # none is accepted
    sent, _ = shop.run(10.0, CAPACITY // 2, capacity=0.0)
    assert 3 <= sent <= 20
    shop.run(60.0, CAPACITY // 2)
    assert shop.run(10.0, CAPACITY // 2) == (10 * CAPACITY // 2,) * 2


def test_who_sends_little_is_never_held_back() -> None:
    shop = Shop(Throttle(ratio=1.5, window_s=10.0))
    assert shop.run(100.0, 1, capacity=0.0)[0] >= 65  # of 10 in a window some 7.5 are
    few = Shop(Throttle(ratio=1.0, window_s=10.0))
    assert few.run(5.0, 1, capacity=0.0) == (5, 0)


def test_what_was_refused_long_ago_is_forgotten_before_the_next_request() -> None:
    shop = Shop(Throttle(ratio=1.0, window_s=10.0))
    shop.run(10.0, 1_000, capacity=0.0)
    assert not all(shop.throttling.admits() for _ in range(100))
    shop.now += 10.1
    assert all(shop.throttling.admits() for _ in range(1_000))


def test_what_threads_count_together_is_not_lost() -> None:
    draws: list[float] = []
    throttling = Throttling(Throttle(ratio=1.0, window_s=600.0), draw=draws.pop)

    def call() -> None:
        for number in range(5_000):
            throttling.ended(accepted=number % 2 == 0)

    threads = [threading.Thread(target=call) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    # (40,000 wanted - 20,000 accepted - 5) / 40,001 is the share that is not sent.
    draws[:] = [0.499862, 0.499864]
    assert throttling.admits()
    assert not throttling.admits()


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"ratio": 0.9}, "ratio must be at least 1, got 0.9; throttle=None turns throttling off"),
        ({"ratio": float("nan")}, "ratio must be at least 1, got nan"),
        ({"window_s": 0.0}, "window_s must be a number of seconds above 0, got 0.0"),
        ({"window_s": float("inf")}, "window_s must be a number of seconds above 0, got inf"),
    ],
)
def test_a_wrong_rule_is_refused(wrong: dict[str, float], says: str) -> None:
    with pytest.raises(InvalidRequest, match=says):
        Throttle(**wrong)
