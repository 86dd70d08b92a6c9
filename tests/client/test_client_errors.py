"""The client against a real server: answers, splitting, threads, deadlines, errors, health."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from shopwindow_client import (
    ClientClosed,
    DeadlineExceeded,
    InvalidRequest,
    Product,
    Results,
    RetrievalClient,
    ServerUnreachable,
)

QUERIES = ["red dress", "blue shirt", "white mug", "running shoes", "black leather bag"]


@pytest.fixture
def client(served: Any) -> Iterator[RetrievalClient]:
    with RetrievalClient(served.grpc_url, timeout_s=60.0) as client:
        yield client


@pytest.fixture
def dead_url() -> str:
    """An address without a server."""
    with socket.socket() as listener:
        listener.bind(("localhost", 0))
        return f"localhost:{listener.getsockname()[1]}"


def assert_same(one: Results, other: Results) -> None:
    """Check for the same scores, and for the same products where a score differs from the ones next to it."""
    np.testing.assert_allclose(one.scores, other.scores, rtol=1e-4, atol=1e-5)
    # Rounding differs with the batch size and may swap equal products, or replace one that ties with the last place.
    tied = np.abs(np.diff(one.scores, axis=1)) < 1e-4
    apart = ~(np.pad(tied, ((0, 0), (1, 0))) | np.pad(tied, ((0, 0), (0, 1)), constant_values=True))
    np.testing.assert_array_equal(one.ids[apart], other.ids[apart])


def test_one_query_returns_one_row_of_top_k(client: RetrievalClient) -> None:
    results = client.retrieve("red dress", top_k=7)
    assert results.ids.shape == results.scores.shape == (1, 7)
    assert results.ids.dtype == np.int64
    assert results.scores.dtype == np.float32
    row = results[0]
    assert (np.diff(row.scores) <= 0).all()
    assert len(set(row.ids.tolist())) == len(row) > 0


def test_a_list_longer_than_a_batch_comes_back_in_order(client: RetrievalClient) -> None:
    limit = client.info().max_batch_size
    assert limit is not None
    queries = [QUERIES[row % len(QUERIES)] for row in range(2 * limit + 1)]
    one_by_one = {query: client.retrieve(query, top_k=5) for query in QUERIES}
    together = client.retrieve(queries, top_k=5)
    assert len(together) == len(queries)
    for row, query in enumerate(queries):
        assert_same(Results(together.ids[row : row + 1], together.scores[row : row + 1]), one_by_one[query])


def test_one_client_serves_many_threads(client: RetrievalClient) -> None:
    expected = {query: client.retrieve(query, top_k=5) for query in QUERIES}
    asked = QUERIES * 8
    with ThreadPoolExecutor(8) as threads:
        for query, results in zip(asked, threads.map(lambda q: client.retrieve(q, top_k=5), asked), strict=True):
            assert_same(results, expected[query])


def test_min_score_leaves_out_products_that_score_less(client: RetrievalClient) -> None:
    scores = client.retrieve("red dress", top_k=5).scores[0]
    assert scores[0] > scores[-1], "the case needs scores that differ"
    floor = float((scores[0] + scores[-1]) / 2)
    kept = client.retrieve("red dress", top_k=5, min_score=floor)
    assert kept.ids.shape == (1, 5)
    assert kept.counts[0] == int((scores >= floor).sum())


def test_a_product_and_its_embedding_find_the_same(client: RetrievalClient) -> None:
    embeddings, weights = client.embed_product(title="red dress")
    np.testing.assert_allclose(np.linalg.norm(embeddings, axis=1), 1.0, rtol=1e-3)
    assert weights.shape == (1, 2)
    assert_same(client.retrieve_similar(title="red dress", top_k=5), client.retrieve_by_embedding(embeddings, top_k=5))
    assert len(client.retrieve_similar([Product("red dress"), Product("blue shirt")], top_k=5)) == 2


def test_a_query_and_its_embedding_find_the_same(client: RetrievalClient) -> None:
    embeddings = client.embed_query(QUERIES)
    np.testing.assert_allclose(np.linalg.norm(embeddings, axis=1), 1.0, rtol=1e-3)
    assert_same(client.retrieve_by_embedding(embeddings, top_k=5), client.retrieve(QUERIES, top_k=5))


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"top_k": 0}, "(?s)top_k.*0"),
        ({"top_k": 10**9}, f"(?s)top_k.*{10**9}"),
        ({"effort": 11}, "(?s)effort.*11"),
        ({"filter": {"no_such_column": 1}}, "(?s)filter.*no_such_column"),
        ({"filter": "{not json"}, "(?s)filter.*not json"),
    ],
)
def test_a_refusal_names_the_parameter_and_the_value(
    client: RetrievalClient, arguments: dict[str, Any], named: str
) -> None:
    with pytest.raises(InvalidRequest, match=named) as caught:
        client.retrieve("red dress", **arguments)
    assert not caught.value.retryable


def test_a_deadline_that_is_too_short_is_an_error_that_names_it(client: RetrievalClient) -> None:
    with pytest.raises(DeadlineExceeded, match="timeout_s=1e-06"):
        client.retrieve("red dress", timeout_s=1e-6)
    with pytest.raises(DeadlineExceeded, match="timeout_s=1e-06"):
        client.retrieve(QUERIES, timeout_s=1e-6)


@pytest.mark.timeout(120)
def test_a_call_to_a_server_that_never_answers_ends_at_its_deadline(mute_url: str) -> None:
    with RetrievalClient(mute_url, timeout_s=0.2) as client:
        for queries in ("red dress", QUERIES):
            with pytest.raises(DeadlineExceeded, match=r"timeout_s=0\.2"):
                client.retrieve(queries)
        health = client.health()
    assert not health.reachable
    assert "timeout_s=0.2" in health.detail


@pytest.mark.timeout(120)
def test_an_address_without_a_server_is_unreachable(dead_url: str) -> None:
    with RetrievalClient(dead_url, timeout_s=60.0) as client:
        for call in (lambda: client.retrieve("red dress"), lambda: client.retrieve(QUERIES), client.info):
            with pytest.raises(ServerUnreachable, match=dead_url) as caught:
                call()
            assert caught.value.retryable
        health = client.health()
    assert (health.reachable, health.live, health.ready) == (False, False, False)
    assert dead_url in health.detail


def test_a_healthy_server_is_live_and_ready_with_all_models(client: RetrievalClient) -> None:
    health = client.health()
    assert health.reachable
    assert health.live
    assert health.ready
    assert set(health.models) == {"retrieve", "retrieve_similar", "embed_query", "embed_product", "product_index"}
    assert all(health.models.values())


def test_info_names_the_server_and_its_limits(client: RetrievalClient) -> None:
    info = client.info()
    assert info.name
    assert info.version
    assert info.max_batch_size is not None
    assert info.max_batch_size > 1
    assert info.embedding_dim == client.embed_query("red dress").shape[1]


def test_calls_of_a_closed_client_are_an_error(served: Any) -> None:
    with RetrievalClient(served.grpc_url, timeout_s=60.0) as client:
        client.retrieve("red dress", top_k=1)
    for call in (lambda: client.retrieve("red dress"), client.health, client.info):
        with pytest.raises(ClientClosed, match="Make a new one"):
            call()
    client.close()


def test_closing_ends_the_calls_in_flight(mute_url: str) -> None:
    client = RetrievalClient(mute_url, timeout_s=60.0)
    with ThreadPoolExecutor(1) as threads:
        call = threads.submit(client.retrieve, "red dress")
        while not call.running():
            time.sleep(0.01)
        client.close()
        with pytest.raises(ClientClosed):
            call.result(timeout=60)
