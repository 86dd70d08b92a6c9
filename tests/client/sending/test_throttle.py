"""Throttling: how much of a load the client sends to a server that refuses a part of it."""

from __future__ import annotations

import random
from contextlib import suppress
from typing import Any

import grpc
import pytest

from shopwindow_client import Hedge, InvalidRequest, Retry, ServerOverloaded, ShopwindowError, Throttle, Throttled
from shopwindow_client._in_process import Refused
from shopwindow_client._sending.engine import Engine
from shopwindow_client._sending.throttling import Throttling
from tests.client.sending.scripted import ANSWER, FULL, LATE, LOST, Scripted, engine

CAPACITY = 100  # requests per second


class Shop:
    """A server that accepts a number of requests per second, and callers with a throttle. It has its own clock.

    Attributes:
        now: Seconds.
    """

    def __init__(self, rule: Throttle) -> None:
        self.now = 0.0
        self.throttling = Throttling(rule, draw=random.Random(5).random, now=lambda: self.now)
        self._room = 0.0

    def run(self, seconds: float, rate: int, capacity: float = CAPACITY) -> tuple[int, int]:
        """Return how many requests were sent, and how many of them the server accepted."""
        sent = accepted = 0
        for _ in range(round(seconds * rate)):
            self.now += 1 / rate
            self._room = min(capacity / 4, self._room + capacity / rate)  # its queue holds no more
            if self.throttling.admits():
                sent += 1
                accepts = self._room >= 1
                self._room -= accepts
                accepted += accepts
                self.throttling.ended(accepted=accepts)
        return sent, accepted


@pytest.mark.parametrize(("ratio", "times"), [(1.2, 10), (1.5, 3), (2.0, 10)])
def test_a_client_sends_a_multiple_of_what_the_server_accepts(ratio: float, times: int) -> None:
    shop = Shop(Throttle(ratio=ratio))
    shop.run(20.0, times * CAPACITY)  # until the window holds only this load
    sent, accepted = shop.run(60.0, times * CAPACITY)
    assert accepted == pytest.approx(60 * CAPACITY, rel=0.03)  # as many as the server can: throttling loses none
    assert sent / accepted == pytest.approx(ratio, rel=0.05)


def test_a_server_that_accepts_enough_gets_everything() -> None:
    shop = Shop(Throttle(ratio=2.0))
    assert shop.run(60.0, CAPACITY - 1) == (60 * (CAPACITY - 1),) * 2
    sent, accepted = shop.run(60.0, round(1.9 * CAPACITY))
    assert sent == 60 * round(1.9 * CAPACITY)
    assert accepted < 0.6 * sent


def test_requests_in_flight_do_not_count_as_refused() -> None:
    throttling = Throttling(Throttle(ratio=1.1), draw=lambda: 0.0)  # refuses whenever it may
    assert all(throttling.admits() for _ in range(1_000))


@pytest.mark.parametrize(("ratio", "seconds"), [(2.0, 20), (1.2, 60)])
def test_a_few_requests_notice_that_the_server_accepts_again(ratio: float, seconds: int) -> None:
    shop = Shop(Throttle(ratio=ratio, window_s=10.0))
    shop.run(100.0, 100, capacity=0.0)  # the server accepts none
    sent, _ = shop.run(10.0, 100, capacity=0.0)
    assert 3 <= sent <= 20
    shop.run(0.7 * seconds, 100, capacity=200)
    assert shop.run(1.0, 100, capacity=200)[0] < 95
    shop.run(0.6 * seconds, 100, capacity=200)
    assert shop.run(10.0, 100, capacity=200) == (1_000, 1_000)


def test_a_client_that_sends_few_is_hardly_held_back() -> None:
    shop = Shop(Throttle(ratio=1.5, window_s=10.0))
    assert shop.run(5.0, 1, capacity=0.0) == (5, 0)
    assert shop.run(100.0, 1, capacity=0.0)[0] >= 65  # about 7.5 of the 10 in a window


def test_refusals_before_the_window_do_not_count() -> None:
    shop = Shop(Throttle(ratio=1.1, window_s=10.0))
    shop.run(10.0, 1_000, capacity=0.0)
    assert not all(shop.throttling.admits() for _ in range(100))
    shop.now += 10.1
    assert all(shop.throttling.admits() for _ in range(1_000))


# An answer of the server, and how many of 20 such requests count as accepted and as refused.
COUNTED = [
    (ANSWER, 20, 0),
    (Refused(grpc.StatusCode.INVALID_ARGUMENT, "top_k must be at least 1, got 0"), 20, 0),
    (FULL, 0, 20),
    (Refused(grpc.StatusCode.UNAVAILABLE, "Request timeout expired"), 0, 20),
    (LOST, 0, 0),
    (LATE, 0, 0),
    (Refused(grpc.StatusCode.UNAVAILABLE, "failed to connect to all addresses"), 0, 0),
    (Refused(grpc.StatusCode.UNAVAILABLE, "Server is stopping"), 0, 0),
    (Refused(grpc.StatusCode.INTERNAL, "KeyError: 'x'"), 0, 0),
    (Refused(grpc.StatusCode.CANCELLED, "Cancelled"), 0, 0),
]


@pytest.mark.parametrize("hedge", [None, Hedge(after_s=0.5)], ids=["plain", "hedged"])
@pytest.mark.parametrize(("said", "accepted", "refused"), COUNTED, ids=[str(said)[:40] for said, *_ in COUNTED])
def test_only_accepted_and_refused_requests_count(
    said: object, accepted: int, refused: int, hedge: Hedge | None
) -> None:
    transport = Scripted(*[(0.1, said)] * 20)
    throttled = engine(transport, hedge, throttle=Throttle(ratio=100.0, window_s=600.0))  # holds none back
    for _ in range(20):
        with suppress(ShopwindowError):
            transport.ask(throttled)
    counted = throttled._throttled.get("retrieve", Throttling(Throttle()))
    assert (counted._accepted, counted._wanted - counted._accepted) == (accepted, refused)


def ask_until_held_back(transport: Scripted, throttled: Engine) -> Throttled:
    """Make calls that the server refuses, until the client does not send one."""
    while True:
        before = len(transport.sent), throttled._budget.allows
        try:
            transport.ask(throttled)
        except Throttled as held_back:
            assert (len(transport.sent), throttled._budget.allows) == before
            return held_back
        except ServerOverloaded:
            assert len(transport.sent) == before[0] + 1


def test_a_throttled_call_is_neither_sent_nor_retried() -> None:
    transport = Scripted(*[(0.1, FULL)] * 1_000)
    throttled = engine(transport, None, Retry(attempts=3, budget=0.0), throttle=Throttle(ratio=1.1, window_s=600.0))
    began = transport.now
    error = ask_until_held_back(transport, throttled)
    assert (error.request_id, error.attempts, error.retryable) == (None, 0, True)
    assert transport.now - began == pytest.approx(0.1 * len(transport.sent))  # no pause


def test_refusals_of_one_model_do_not_throttle_another() -> None:
    transport = Scripted(*[(0.1, FULL)] * 1_000)
    throttled = engine(transport, None, throttle=Throttle(ratio=1.1, window_s=600.0))
    assert "retrieve at nowhere refused so many requests lately" in str(ask_until_held_back(transport, throttled))
    for _ in range(5):
        with pytest.raises(ServerOverloaded) as refused:
            transport.ask(throttled, "product_index")
        assert type(refused.value) is ServerOverloaded


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"ratio": 1.0}, "ratio must be a finite number above 1, got 1.0; throttle=None turns throttling off"),
        ({"ratio": float("nan")}, "ratio must be a finite number above 1, got nan"),
        ({"ratio": float("inf")}, "ratio must be a finite number above 1, got inf"),
        ({"ratio": "2"}, "ratio must be a finite number above 1, got '2'"),
        ({"window_s": None}, "window_s must be a number of seconds above 0, got None"),
        ({"window_s": 0.0}, "window_s must be a number of seconds above 0, got 0.0"),
        ({"window_s": float("inf")}, "window_s must be a number of seconds above 0, got inf"),
    ],
)
def test_wrong_settings_of_a_throttle_are_refused(wrong: dict[str, Any], says: str) -> None:
    with pytest.raises(InvalidRequest, match=says):
        Throttle(**wrong)
