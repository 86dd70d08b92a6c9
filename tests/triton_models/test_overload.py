"""Overload: a batch is answered as a whole until requests wait too long."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from typing import ClassVar

import pytest

from shopwindow.triton_models.overload import ANSWERED_ROWS, BULK_S, LONGEST_S, SHORTEST_S, Overload, QueueStatistics

FULL, LIMIT_S = 64, 0.25


class Clock:
    """A clock and a queue time that the test sets."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now, self.waited, self.looks, self.takes = 100.0, 0.0, 0, 0.0
        monkeypatch.setattr(time, "monotonic", lambda: self.now)

    def look(self) -> float:
        self.looks += 1
        return self.waited

    def batch(self, overload: Overload, rows: Sequence[int], seconds: float = 0.15) -> int:
        self.now += seconds
        count = overload.answered(rows)
        self.now += self.takes
        overload.ended()
        return count


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


@pytest.fixture
def overload(clock: Clock) -> Overload:
    fresh = Overload(clock.look, full_rows=FULL, limit_s=LIMIT_S)
    fresh.ended()  # so that it counts as busy
    return fresh


def test_batches_that_are_not_full_are_answered_without_asking_the_server(clock: Clock, overload: Overload) -> None:
    clock.waited = 10.0
    assert clock.batch(overload, [1] * (FULL - 1)) == FULL - 1
    assert clock.batch(overload, [8] * 7) == 7
    assert clock.looks == 0


@pytest.mark.parametrize("rows", [[1] * FULL, [5] * 12, [24, 24], [40]])
def test_full_batches_are_answered_while_the_wait_is_within_the_limit(
    clock: Clock, overload: Overload, rows: list[int]
) -> None:
    clock.waited = LIMIT_S
    assert [clock.batch(overload, rows) for _ in range(3)] == [len(rows)] * 3
    assert clock.looks == 3  # each batch counts as full, because another such request would not have fitted


def test_the_server_is_asked_at_most_forty_times_a_second(clock: Clock, overload: Overload) -> None:
    for _ in range(200):
        clock.batch(overload, [1] * FULL, seconds=0.005)
    assert 30 <= clock.looks <= 41


def test_in_an_overload_full_batches_are_refused_and_the_first_rows_of_others_answered(
    clock: Clock, overload: Overload
) -> None:
    clock.waited = LIMIT_S * 1.1
    assert clock.batch(overload, [1] * FULL) == 0
    assert clock.batch(overload, [1] * 60, seconds=0.05) == ANSWERED_ROWS
    assert clock.batch(overload, [9] * 5, seconds=0.05) == 3
    assert clock.batch(overload, [9] * 7, seconds=0.05) == 0
    assert clock.batch(overload, [1] * ANSWERED_ROWS, seconds=0.05) == ANSWERED_ROWS


def test_requests_of_many_rows_may_wait_longer(clock: Clock, overload: Overload) -> None:
    clock.waited = BULK_S
    assert [clock.batch(overload, [FULL]) for _ in range(3)] == [1] * 3
    clock.waited *= 1.1
    assert clock.batch(overload, [FULL]) == 0


def test_a_request_of_many_rows_is_answered_when_the_allowance_is_large_enough(
    clock: Clock, overload: Overload
) -> None:
    clock.waited = BULK_S * 1.1
    assert [clock.batch(overload, [FULL], seconds=0.05) for _ in range(8)] == [0, 1] * 4


def test_an_overload_ends_by_itself_although_callers_come_back_at_once(clock: Clock, overload: Overload) -> None:
    clock.waited = LIMIT_S * 1.1
    assert clock.batch(overload, [1] * FULL) == 0
    clock.waited = 0.02
    answered = [clock.batch(overload, [1] * FULL, seconds=0.02) for _ in range(200)]
    assert answered.index(FULL) == pytest.approx(SHORTEST_S / 0.02, abs=1)
    assert set(answered[answered.index(FULL) :]) == {FULL}


def test_a_wait_for_two_batches_is_no_overload_however_long_they_take(clock: Clock, overload: Overload) -> None:
    clock.takes = 1.0
    assert clock.batch(overload, [1] * FULL, seconds=0.01) == FULL
    clock.waited = 1.9
    assert [clock.batch(overload, [1] * FULL, seconds=0.01) for _ in range(3)] == [FULL] * 3
    clock.waited = 2.1
    assert clock.batch(overload, [1] * FULL, seconds=0.01) == 0


def test_an_overload_ends_when_there_was_nothing_to_do(clock: Clock, overload: Overload) -> None:
    clock.waited = LIMIT_S * 1.1
    clock.takes = 0.3
    assert clock.batch(overload, [1] * FULL) == 0
    assert clock.batch(overload, [1] * FULL, seconds=0.01) == 0
    assert clock.batch(overload, [1] * FULL, seconds=0.25) == FULL  # although earlier requests waited long


def test_an_overload_that_returns_is_noticed_sooner_and_lasts_longer(clock: Clock, overload: Overload) -> None:
    clock.waited = LIMIT_S * 1.1
    looks: list[float] = []
    for _ in range(4000):
        clock.batch(overload, [1] * FULL, seconds=0.02)
        if clock.looks > len(looks):
            looks.append(clock.now)
            clock.waited = LIMIT_S * 0.6  # from the second look on
    lengths = [round(later - before) for before, later in pairwise(looks)]
    assert lengths[:5] == [SHORTEST_S, 4, 8, LONGEST_S, LONGEST_S]


def test_an_unknown_wait_is_no_overload(clock: Clock) -> None:
    assert clock.batch(Overload(lambda: None, full_rows=FULL, limit_s=0.1), [1] * FULL) == FULL


def test_without_a_limit_all_requests_are_answered(clock: Clock) -> None:
    clock.waited = 1e6
    unlimited = Overload(clock.look, full_rows=FULL, limit_s=0.0)
    unlimited.ended()
    assert [clock.batch(unlimited, [1] * FULL) for _ in range(3)] == [FULL] * 3
    assert clock.looks == 0


def test_a_batch_is_full_if_the_largest_request_does_not_fit_into_it(clock: Clock, overload: Overload) -> None:
    clock.waited = LIMIT_S * 1.1
    assert clock.batch(overload, [1] * 40) == 40
    assert clock.batch(overload, [30], seconds=0.05) == 1  # all its requests are large, so they may wait longer
    assert clock.batch(overload, [1] * 40, seconds=0.05) == 0  # a request of 30 rows may be waiting behind it
    assert clock.batch(overload, [], seconds=0.05) == 0


def test_with_a_small_request_among_large_ones_the_shorter_limit_holds(clock: Clock, overload: Overload) -> None:
    clock.waited = LIMIT_S * 1.1
    assert clock.batch(overload, [20, 20, 20]) == 3
    assert clock.batch(overload, [20, 20, 1, 20], seconds=0.05) == 0


class Statistics(BaseHTTPRequestHandler):
    """Answers like Triton's statistics of the model `retrieve`."""

    queue: ClassVar[dict[str, int]] = {}

    def do_GET(self) -> None:
        known = self.path == "/v2/models/retrieve/stats"
        body = json.dumps({"model_stats": [{"inference_stats": {"queue": self.queue}}]}).encode()
        self.send_response(200 if known else 404)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Print nothing."""


@pytest.fixture
def statistics() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Statistics)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_the_wait_is_the_average_of_the_requests_since_the_last_call(statistics: str, clock: Clock) -> None:
    complaints: list[str] = []
    queue = QueueStatistics(statistics, "retrieve", complaints.append)
    Statistics.queue = {"count": 10, "ns": 5_000_000_000}
    assert queue.waited() is None  # there was no earlier call
    Statistics.queue = {"count": 14, "ns": 6_000_000_000}
    clock.now += 0.5
    assert queue.waited() == pytest.approx(0.25)
    assert queue.waited() is None  # no request ended since the last call
    Statistics.queue = {"count": 15, "ns": 9_000_000_000}
    clock.now += 50.0
    assert queue.waited() is None  # the last call was too long ago
    assert complaints == []


@pytest.mark.parametrize("model", ["retrieve", "another"])
def test_unreadable_statistics_are_logged_once(statistics: str, model: str, clock: Clock) -> None:
    complaints: list[str] = []
    queue = QueueStatistics("127.0.0.1:1" if model == "retrieve" else statistics, model, complaints.append)
    for _ in range(3):
        assert queue.waited() is None
        clock.now += 6.0
    assert len(complaints) == 1
    assert f"/v2/models/{model}/stats" in complaints[0]
