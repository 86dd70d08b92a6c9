"""Hedges after a percentile: what counts as slow, by the client's own latencies."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from serving import TritonServer
from shopwindow_client import Hedge, InvalidRequest, RetrievalClient
from shopwindow_client._latencies import Latencies
from tests.client.harm import PATIENT, busy, connect, searched


@pytest.mark.parametrize(("percentile", "needed"), [(50, 10), (90, 50), (95, 100), (99, 500)])
def test_the_percentile_is_told_once_enough_lie_beyond_it(percentile: float, needed: int) -> None:
    latencies = Latencies(percentile)
    measured = np.random.default_rng(3).lognormal(size=needed)
    for seconds in measured[:-1]:
        latencies.note("retrieve", 1, seconds)
    assert latencies.slow_s("retrieve", 1) is None
    latencies.note("retrieve", 1, measured[-1])
    told = latencies.slow_s("retrieve", 1)
    assert told == np.percentile(measured, percentile, method="inverted_cdf")
    assert (measured > told).sum() == 5


def test_it_is_of_the_latest_thousand_of_requests_alike() -> None:
    latencies = Latencies(95)
    for kind, seconds in ((("retrieve", 1), 9.0), (("retrieve", 64), 2.0), (("retrieve_similar", 1), 3.0)):
        for _ in range(100):
            latencies.note(*kind, seconds)
    later = np.random.default_rng(4).lognormal(size=1_100)
    for seconds in later:
        latencies.note("retrieve", 1, seconds)
    last = later[:-12][-1_000:]  # it is renewed with every 32nd: the 1,188th was the last of these
    assert latencies.slow_s("retrieve", 1) == np.percentile(last, 95, method="inverted_cdf")
    assert latencies.slow_s("retrieve", 100) == 2.0  # about as many rows as 64
    assert latencies.slow_s("retrieve_similar", 1) == 3.0
    assert latencies.slow_s("retrieve_similar", 2) is None


def test_what_becomes_slow_is_hedged_after_the_percentile(
    twins: tuple[TritonServer, TritonServer], embedding: np.ndarray
) -> None:
    both = "ipv4:" + ",".join(server.grpc_url for server in twins)
    with RetrievalClient(both, timeout_s=60.0, hedge=Hedge(percentile=90), retry=PATIENT) as client:
        connect(client, embedding, *twins)
        for _ in range(50):
            client.retrieve_by_embedding(embedding, top_k=3)
        client.health()  # on each connection, after what was cancelled there
        before = searched(twins[1])
        with busy(twins[0]):
            found = [client.retrieve_by_embedding(embedding, top_k=3) for _ in range(5)]
        assert all(len(results[0]) == 3 for results in found)
        client.health()
    assert len(found) <= searched(twins[1]) - before <= 2 * len(found)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({}, "give after_s, percentile or both"),
        ({"after_s": 0}, "after_s must be above 0 seconds, got 0"),
        ({"percentile": 99.9}, "percentile must be from 50 to 99, got 99.9"),
        ({"percentile": 10, "after_s": 1}, "percentile must be from 50 to 99, got 10"),
        ({"after_s": 0.1, "extra": 0}, "extra must be at least 1, got 0"),
    ],
)
def test_a_hedge_is_checked_when_it_is_made(arguments: dict[str, Any], named: str) -> None:
    with pytest.raises(InvalidRequest, match=named):
        Hedge(**arguments)
