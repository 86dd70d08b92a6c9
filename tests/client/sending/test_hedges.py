"""Hedges: when the client sends them, how many, and how much time they get."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from shopwindow.server import TritonServer
from shopwindow_client import (
    ConnectionLost,
    DeadlineExceeded,
    Hedge,
    InvalidRequest,
    RetrievalClient,
    Retry,
    ServerOverloaded,
)
from shopwindow_client._sending import engine as sending
from shopwindow_client._sending.latencies import Latencies
from tests.client.sending.harm import PATIENT, busy, connect, searched
from tests.client.sending.scripted import ANSWER, FULL, LOST, TIMEOUT_S, Scripted, engine


@pytest.mark.parametrize(("percentile", "needed"), [(50, 10), (90, 50), (95, 100), (99, 500)])
def test_the_percentile_is_known_once_five_latencies_lie_above_it(percentile: float, needed: int) -> None:
    latencies = Latencies(percentile)
    measured = np.random.default_rng(3).lognormal(size=needed)
    for seconds in measured[:-1]:
        latencies.note("retrieve", 1, seconds)
    assert latencies.slow_s("retrieve", 1) is None
    latencies.note("retrieve", 1, measured[-1])
    slow_s = latencies.slow_s("retrieve", 1)
    assert slow_s == np.percentile(measured, percentile, method="inverted_cdf")
    assert (measured > slow_s).sum() == 5


def test_the_percentile_covers_the_latest_thousand_similar_requests() -> None:
    latencies = Latencies(95)
    for kind, seconds in ((("retrieve", 1), 9.0), (("retrieve", 64), 2.0), (("retrieve_similar", 1), 3.0)):
        for _ in range(100):
            latencies.note(*kind, seconds)
    later = np.random.default_rng(4).lognormal(size=1_100)
    for seconds in later:
        latencies.note("retrieve", 1, seconds)
    last = later[:-12][-1_000:]  # each 32nd latency updates it; the last one was the 1,188th
    assert latencies.slow_s("retrieve", 1) == np.percentile(last, 95, method="inverted_cdf")
    assert latencies.slow_s("retrieve", 100) == 2.0  # the same magnitude as 64 rows
    assert latencies.slow_s("retrieve_similar", 1) == 3.0
    assert latencies.slow_s("retrieve_similar", 2) is None


def test_a_server_that_becomes_slow_is_hedged_after_the_percentile(
    two_servers: tuple[TritonServer, TritonServer], embedding: np.ndarray
) -> None:
    both = "ipv4:" + ",".join(server.grpc_url for server in two_servers)
    with RetrievalClient(both, timeout_s=60.0, hedge=Hedge(percentile=90), retry=PATIENT) as client:
        connect(client, embedding, *two_servers)
        for _ in range(50):
            client.retrieve_by_embedding(embedding, top_k=3)
        client.health()  # each server reads it after the cancelled requests
        before = searched(two_servers[1])
        with busy(two_servers[0]):
            found = [client.retrieve_by_embedding(embedding, top_k=3) for _ in range(5)]
        assert all(len(results[0]) == 3 for results in found)
        client.health()
    assert len(found) <= searched(two_servers[1]) - before <= 2 * len(found)


@pytest.mark.parametrize("retry", [None, Retry()], ids=["no retries", "retries"])
def test_a_server_that_never_answers_gets_no_more_hedges_than_the_budget_allows(retry: Retry | None) -> None:
    transport = Scripted()
    frozen = engine(transport, Hedge(after_s=0.1, extra=2), retry)
    for _ in range(20):
        with pytest.raises(DeadlineExceeded):
            transport.ask(frozen)
    assert len(transport.sent) == 20 + 5  # 10 tokens: 5 of them are for hedges


def test_answers_pay_for_further_hedges_at_the_budget_ratio() -> None:
    transport = Scripted(*[(0.5, ANSWER)] * 1_000)
    slow = engine(transport, Hedge(after_s=0.1), Retry(budget=4.0, budget_ratio=0.25))
    for _ in range(400):
        transport.ask(slow)
    assert 100 <= len(transport.sent) - 400 <= 103


def test_calls_that_wait_at_the_same_time_do_not_overspend_the_budget() -> None:
    class Crowded(Scripted):
        """Other calls take the remaining tokens while this one waits."""

        async def wait(self, attempts: Any, timeout_s: float | None) -> Any:
            done = await super().wait(attempts, timeout_s)
            while one._budget.take():
                pass
            return done

    transport = Crowded()
    one = engine(transport, Hedge(after_s=0.1))
    with pytest.raises(DeadlineExceeded):
        transport.ask(one)
    assert transport.waits == [(1, 0.1), (1, None)]


def test_a_call_without_an_answer_counts_with_the_time_it_lasted(monkeypatch: pytest.MonkeyPatch) -> None:
    transport = Scripted(*[(0.01, ANSWER)] * 10)
    monkeypatch.setattr(sending, "monotonic", lambda: transport.now)
    hangs = engine(transport, Hedge(percentile=50), Retry(budget=0.0))  # it measures, but has no token for a hedge
    for _ in range(10):
        transport.ask(hangs)
    assert hangs._latencies is not None
    assert hangs._latencies.slow_s("retrieve", 1) == pytest.approx(0.01)
    for _ in range(32):  # until the percentile is updated
        with pytest.raises(DeadlineExceeded):
            transport.ask(hangs)
    assert hangs._latencies.slow_s("retrieve", 1) == pytest.approx(TIMEOUT_S)


def test_a_failed_hedge_does_not_bring_the_next_one_forward() -> None:
    transport = Scripted((0.9, ANSWER), (0.05, FULL), (0.9, ANSWER))
    transport.ask(engine(transport, Hedge(after_s=0.25, extra=2)))
    assert [when for when, _ in transport.sent] == [0.0, 0.25, pytest.approx(0.55)]
    assert transport.waits == [(1, 0.25), (2, 0.25), (1, 0.25), (2, None)]


def test_of_several_failures_the_one_that_forbids_a_retry_counts() -> None:
    transport = Scripted((0.3, LOST), (0.3, FULL))
    with pytest.raises(ConnectionLost):
        transport.ask(engine(transport, Hedge(after_s=0.1)))
    transport = Scripted((0.3, FULL), (0.3, FULL))
    with pytest.raises(ServerOverloaded):
        transport.ask(engine(transport, Hedge(after_s=0.1)))


def test_each_hedge_tells_the_server_the_remaining_time() -> None:
    transport = Scripted()
    with pytest.raises(DeadlineExceeded):
        transport.ask(engine(transport, Hedge(after_s=0.25, extra=2)))
    # All are read only now, because a later request must not change an earlier message.
    sent = [(when, message.parameters["timeout"].int64_param) for when, message in transport.sent]
    assert sent == [(0.0, 1_000_000), (0.25, 750_000), (0.5, 500_000)]


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({}, "give after_s, percentile or both"),
        ({"after_s": 0}, "after_s must be above 0 and at most 1,000,000 seconds, got 0"),
        ({"percentile": 99.9}, "percentile must be from 50 to 99, got 99.9"),
        ({"percentile": 10, "after_s": 1}, "percentile must be from 50 to 99, got 10"),
        ({"after_s": 0.1, "extra": 0}, "extra must be a whole number of at least 1, got 0"),
    ],
)
def test_wrong_settings_of_a_hedge_are_refused(arguments: dict[str, Any], named: str) -> None:
    with pytest.raises(InvalidRequest, match=named):
        Hedge(**arguments)
