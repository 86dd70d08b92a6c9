"""What a server reports about its work: times, effort, generation; and a server that is too old to report it."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shopwindow.server import ServerOptions, TritonServer
from shopwindow_client import AsyncRetrievalClient, Part, Product, Results, RetrievalClient, Timings, VersionMismatch
from tests.client.conftest import some_models
from tests.client.sending.harm import kill

SLOW_TOP_K = 13
# Added to a model. One value of top_k makes a search slow, and each step of effort makes it twice as slow.
SLOW = f"""

import time

_search = search_channels


def search_channels(index, requests):
    wanted = [request.parameters for request in requests]
    time.sleep(sum(0.002 * 2**one.effort for one in wanted if one.top_k == {SLOW_TOP_K}))
    return _search(index, requests)
"""
QUERIES = [f"red dress {number}" for number in range(130)]  # more than fit into one batch of the server
CALLS: dict[str, Any] = {
    "retrieve": QUERIES,
    "retrieve_similar": [Product("red dress"), Product("mug")],
    "retrieve_composed": [Part("red dress"), Part(Product("mug"), -0.5)],
    "retrieve_by_embedding": np.eye(3, 128),
}


@pytest.fixture(scope="module")
def odd(repository: Path, index: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TritonServer]:
    """A server with a `product_index` that can be slow, and a `retrieve` from a time before timings."""
    folder = some_models(repository, tmp_path_factory.mktemp("odd"), "product_index", "retrieve")
    with (folder / "product_index" / "1" / "model.py").open("a") as code:
        code.write(SLOW)
    config = folder / "retrieve" / "configs" / "cpu.pbtxt"
    text = re.sub(r',\s*\{ name: "timings_us".*\}', "", config.read_text())
    assert "timings_us" not in text
    config.write_text(text.replace("count: 2", "count: 1"))
    options = ServerOptions(repository=folder, index=index, host="127.0.0.1", http_port=0, grpc_port=0, metrics_port=0)
    with TritonServer(options) as server:
        yield server
        kill(server)  # it has nothing to finish


def timings_of(results: Results) -> Timings:
    """Return the timings, and check that each has a value for each row."""
    timings = results.timings
    assert timings is not None
    for name, column in vars(timings).items():
        assert column.shape == (len(results),), name
        assert column.dtype == (np.float64 if name.endswith("_ms") else np.int64), name
    return timings


@pytest.mark.parametrize("name", CALLS)
def test_every_search_reports_its_timings_on_request(served: TritonServer, name: str) -> None:
    with RetrievalClient(served.grpc_url, timeout_s=60.0) as client:
        began = time.monotonic()
        results = getattr(client, name)(CALLS[name], top_k=5, effort=3, timings=True)
        waited_ms = (time.monotonic() - began) * 1e3
        assert getattr(client, name)(CALLS[name], top_k=5).timings is None
        generation = client.info().generation
    timings = timings_of(results)
    steps = np.array([timings.prepare_ms, timings.tower_ms, timings.search_ms])
    if name in ("retrieve", "retrieve_similar"):
        assert (steps >= 0).all()
    else:  # another request ran the towers, or none did
        assert np.isnan(steps[:2]).all()
    assert (timings.search_ms > 0).all()
    assert (np.nansum(steps, axis=0) <= timings.total_ms + 0.003).all()  # each is rounded to a microsecond
    assert timings.total_ms.max() < waited_ms
    assert (timings.effort == 3).all()
    assert (timings.generation == generation).all()
    assert timings.batch_rows.min() >= min(len(results), 2)  # the last 2 of 130 rows form a batch


def test_an_ensemble_reports_only_the_search_to_the_asyncio_client(served_ensemble: TritonServer) -> None:
    async def ask() -> Results:
        async with AsyncRetrievalClient(served_ensemble.grpc_url, timeout_s=60.0) as client:
            return await client.retrieve(QUERIES, top_k=5, timings=True)

    timings = timings_of(asyncio.run(ask()))
    assert np.isnan([timings.prepare_ms, timings.tower_ms]).all()  # other models do these steps
    assert (timings.total_ms >= timings.search_ms).all()
    assert set(timings.effort.tolist()) == {5}


def test_the_server_lowers_the_effort_only_if_allowed_and_needed_and_reports_it(odd: TritonServer) -> None:
    with RetrievalClient(odd.grpc_url, timeout_s=60.0, retry=None) as client:

        def searched_with(**options: Any) -> int:
            results = client.retrieve_by_embedding(np.eye(1, 128), top_k=SLOW_TOP_K, timings=True, **options)
            return int(timings_of(results).effort[0])

        assert searched_with(effort=5) == 5  # 64 ms, from which the server estimates the time of other efforts
        assert searched_with(effort=6, allow_lower_effort=True) == 6
        assert searched_with(effort=10, allow_lower_effort=True, timeout_s=2.0) < 10  # 10 would take 2.05 s


def test_timings_of_a_server_that_is_too_old_are_an_error(odd: TritonServer) -> None:
    with RetrievalClient(odd.grpc_url, timeout_s=60.0) as client:
        assert len(client.retrieve("red dress", top_k=5)) == 1
        with pytest.raises(VersionMismatch, match="Install the client that belongs to the server") as caught:
            client.retrieve("red dress", timings=True)
        assert caught.value.attempts == 1


def test_timings_with_other_columns_are_an_error() -> None:
    column = np.ones((2, 1), np.int64)
    with pytest.raises(VersionMismatch, match="timings_us must have 6 columns, got 4"):
        Timings.from_reply({"timings_us": np.ones((2, 4), np.int64), "effort": column, "generation": column})


def test_timings_are_milliseconds_and_nan_for_unknown_ones() -> None:
    times = np.array([[100, 2_000, 300, 2_450, 4, 1_500], [-1, -1, 300, 310, 1, -1], [0, 0, 300, 310, 1, 0]], np.int64)
    effort, generation = np.array([[5], [6], [7]]), np.array([[3], [3], [4]])
    timings = Timings.from_reply({"timings_us": times, "effort": effort, "generation": generation})
    np.testing.assert_array_equal(timings.queue_ms, [1.5, np.nan, 0.0])
    np.testing.assert_array_equal(timings.prepare_ms, [0.1, np.nan, 0.0])
    np.testing.assert_array_equal(timings.tower_ms, [2.0, np.nan, 0.0])
    np.testing.assert_array_equal(timings.search_ms, [0.3, 0.3, 0.3])
    np.testing.assert_array_equal(timings.total_ms, [2.45, 0.31, 0.31])
    assert [timings.batch_rows.tolist(), timings.effort.tolist()] == [[4, 1, 1], [5, 6, 7]]
    assert timings.generation.tolist() == [3, 3, 4]
