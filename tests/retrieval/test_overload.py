"""How much of a batch is answered: all of it, until requests wait too long."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

import pytest

from retrieval.overload import ANSWERED_ROWS, Overload, QueueStatistics

FULL, LIMIT_S = 64, 0.25


class Clock:
    """A time that passes when it is told to, and what the server says then."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now, self.waited, self.looks = 100.0, 0.0, 0
        monkeypatch.setattr(time, "monotonic", lambda: self.now)

    def look(self) -> float:
        self.looks += 1
        return self.waited

    def batch(self, overload: Overload, rows: Sequence[int], seconds: float = 1.0) -> int:
        self.now += seconds
        return overload.answered(rows)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


@pytest.fixture
def overload(clock: Clock) -> Overload:
    return Overload(clock.look, full_rows=FULL, limit_s=LIMIT_S)


def test_batches_that_are_not_full_are_answered_and_nobody_is_asked(clock: Clock, overload: Overload) -> None:
    clock.waited = 10.0
    assert clock.batch(overload, [1] * (FULL - 1)) == FULL - 1
    assert clock.looks == 0


def test_full_batches_are_answered_while_the_wait_is_within_the_limit(clock: Clock, overload: Overload) -> None:
    clock.waited = LIMIT_S
    assert [clock.batch(overload, [1] * FULL) for _ in range(3)] == [FULL] * 3
    assert clock.looks == 3


def test_the_server_is_asked_ten_times_a_second_at_most(clock: Clock, overload: Overload) -> None:
    for _ in range(50):
        clock.batch(overload, [1] * FULL, seconds=0.02)
    assert 8 <= clock.looks <= 11


def test_beyond_the_limit_the_first_rows_of_each_batch_are_answered_until_one_is_small(
    clock: Clock, overload: Overload
) -> None:
    clock.waited = LIMIT_S * 1.1
    assert clock.batch(overload, [1] * FULL) == ANSWERED_ROWS
    clock.waited = 0.0
    assert clock.batch(overload, [1] * 40) == ANSWERED_ROWS
    assert clock.batch(overload, [6, 6, 6, 6]) == 2
    assert clock.batch(overload, [FULL]) == 1  # one request is not divided
    assert clock.batch(overload, [1] * ANSWERED_ROWS) == ANSWERED_ROWS
    assert clock.batch(overload, [1] * 40) == 40  # over


def test_what_is_not_known_is_no_overload(clock: Clock) -> None:
    assert clock.batch(Overload(lambda: None, full_rows=FULL, limit_s=0.0), [1] * FULL) == FULL


class Statistics(BaseHTTPRequestHandler):
    """Says what Triton's statistics say of the model `retrieve`."""

    queue: ClassVar[dict[str, int]] = {}

    def do_GET(self) -> None:
        known = self.path == "/v2/models/retrieve/stats"
        body = json.dumps({"model_stats": [{"inference_stats": {"queue": self.queue}}]}).encode()
        self.send_response(200 if known else 404)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Not to the terminal."""


@pytest.fixture
def statistics() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Statistics)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_the_wait_is_that_of_the_requests_since_the_last_look(statistics: str, clock: Clock) -> None:
    told: list[str] = []
    queue = QueueStatistics(statistics, "retrieve", told.append)
    Statistics.queue = {"count": 10, "ns": 5_000_000_000}
    assert queue.waited() is None  # since when?
    Statistics.queue = {"count": 14, "ns": 6_000_000_000}
    clock.now += 0.5
    assert queue.waited() == pytest.approx(0.25)
    assert queue.waited() is None  # nothing ended since
    Statistics.queue = {"count": 15, "ns": 9_000_000_000}
    clock.now += 5.0
    assert queue.waited() is None  # long ago
    assert told == []


@pytest.mark.parametrize("model", ["retrieve", "another"])
def test_why_nothing_is_known_is_told_once(statistics: str, model: str) -> None:
    told: list[str] = []
    queue = QueueStatistics("127.0.0.1:1" if model == "retrieve" else statistics, model, told.append)
    assert [queue.waited() for _ in range(3)] == [None] * 3
    assert len(told) == 1
    assert f"/v2/models/{model}/stats" in told[0]
