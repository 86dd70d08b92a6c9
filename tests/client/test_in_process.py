"""The same requests three ways: over gRPC, in this process, and with tritonclient alone."""

from __future__ import annotations

import asyncio
import io
import json
import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from shopwindow.retrieval import InProcessPipeline
from shopwindow.server import TritonServer
from shopwindow_client import (
    AsyncRetrievalClient,
    InProcess,
    InvalidRequest,
    Part,
    Product,
    RetrievalClient,
    field,
)
from tests.ranking import assert_same_ranking
from tests.server.stranger import ask, texts

WORDS = ["red dress", "mug"]


@pytest.fixture(scope="module")
def products(shop: Any) -> list[dict[str, Any]]:
    return pq.read_table(shop / "products.parquet").slice(0, 60).to_pylist()


@pytest.fixture(scope="module")
def clients(served: TritonServer, pipeline: InProcessPipeline) -> Iterator[tuple[RetrievalClient, RetrievalClient]]:
    with (
        RetrievalClient(served.grpc_url, timeout_s=60.0) as remote,
        RetrievalClient(InProcess(pipeline), timeout_s=60.0) as local,
    ):
        yield remote, local


def test_random_requests_get_the_same_answers_all_three_ways(
    served: TritonServer,
    clients: tuple[RetrievalClient, RetrievalClient],
    products: list[dict[str, Any]],
) -> None:
    rng = random.Random(4)
    for _ in range(30):
        some = rng.sample(products, rng.choice((1, 1, 3, 9)))
        filter = rng.choice((None, field("price") < some[0]["price"], field("colour") == some[0]["colour"]))
        options = {"top_k": rng.choice((1, 10, 100)), "effort": rng.choice((1, 2, 5)), "filter": filter}
        options["allow_lower_effort"] = rng.choice((False, True))
        name = rng.choice(("retrieve", "retrieve_similar", "retrieve_composed", "retrieve_by_embedding"))
        given, by_hand = question(served, name, some)
        raw = ask_raw(served, *by_hand, options)
        for client in clients:
            found = getattr(client, name)(given, timings=True, **options)
            assert_same_ranking(found.ids, found.scores, raw["product_ids"], raw["scores"])
            assert found.timings.effort.tolist() == raw["effort"][:, 0].tolist() == [options["effort"]] * len(some)
            assert found.timings.generation.tolist() == raw["generation"][:, 0].tolist()


def question(served: TritonServer, name: str, some: list[dict[str, Any]]) -> tuple[Any, tuple[str, dict[str, Any]]]:
    """Return what to ask a client, and the model and inputs that ask the same through tritonclient."""
    titles, images = [product["title"] for product in some], [product["image"] for product in some]
    if name == "retrieve":
        return titles, ("retrieve", {"query": texts(*titles)})
    if name == "retrieve_similar":
        given = [Product(title, image) for title, image in zip(titles, images, strict=True)]
        return given, ("retrieve_similar", {"title": texts(*titles), "image": texts(*images)})
    words = ask(served, "embed_query", {"query": texts(*titles)})["embedding"]
    if name == "retrieve_by_embedding":
        return words, ("product_index", {"embedding": words})
    photo = ask(served, "embed_product", {"title": texts(b""), "image": texts(images[0])})["embedding"]
    summed = photo - 0.2 * words
    summed /= np.linalg.norm(summed, axis=1, keepdims=True)
    given = [[Part(Product(image=images[0])), Part(title, -0.2)] for title in titles]
    return given, ("product_index", {"embedding": summed.astype(np.float32)})


def ask_raw(served: TritonServer, model: str, inputs: dict[str, Any], options: dict[str, Any]) -> dict[str, Any]:
    """Return what tritonclient gets alone."""
    parameters = {name: value for name, value in options.items() if value is not None}
    if "filter" in parameters:
        parameters["filter"] = json.dumps(parameters["filter"].tree)
    return ask(served, model, inputs, outputs=["product_ids", "scores", "effort", "generation"], parameters=parameters)


@pytest.mark.parametrize("which", [0, 1], ids=["served", "in process"])
def test_an_error_names_the_bad_query_among_many(clients: tuple[RetrievalClient, RetrievalClient], which: int) -> None:
    queries = ["red dress"] * 150
    queries[140] = "x" * 1_001
    with pytest.raises(InvalidRequest, match=r"query\[140\]: at most 1000 characters") as caught:
        clients[which].retrieve(queries)
    assert caught.value.position == 140
    parts = [[Part("mug"), Part("x" * 1_001)], [Part("mug")]]
    with pytest.raises(InvalidRequest) as caught:
        clients[which].retrieve_composed([[Part("mug")], *parts])
    assert caught.value.position == 1


def test_both_report_the_same_about_themselves(clients: tuple[RetrievalClient, RetrievalClient]) -> None:
    remote, local = (client.info() for client in clients)
    assert (remote.tower_hash, remote.embedding_dim) == (local.tower_hash, local.embedding_dim)
    assert (remote.default_top_k, remote.max_top_k) == (local.default_top_k, local.max_top_k)
    assert remote.generation == local.generation is not None
    assert all(client.health().ready for client in clients)


def test_this_process_reports_its_times_too(clients: tuple[RetrievalClient, RetrievalClient]) -> None:
    _, local = clients
    timings = local.retrieve(["red dress", "mug"], timings=True).timings
    assert timings is not None
    steps = timings.prepare_ms + timings.tower_ms + timings.search_ms
    assert min(timings.prepare_ms.min(), timings.tower_ms.min(), timings.search_ms.min()) > 0
    np.testing.assert_allclose(steps, timings.total_ms, rtol=0, atol=0.003)  # each is rounded to a microsecond
    assert timings.batch_rows.tolist() == [2, 2]
    assert timings.queue_ms.tolist() == [0.0, 0.0]
    composed = local.retrieve_composed([Part("red dress")], timings=True).timings
    assert composed is not None
    assert np.isnan([composed.prepare_ms, composed.tower_ms]).all()


def test_all_report_which_channels_found_a_product(
    served: TritonServer, pipeline: InProcessPipeline, clients: tuple[RetrievalClient, RetrievalClient]
) -> None:
    wanted: dict[str, Any] = {"channels": "embedding,lexical", "top_k": 100}

    async def ask_both() -> list[Any]:
        async with AsyncRetrievalClient(InProcess(pipeline)) as one, AsyncRetrievalClient(served.grpc_url) as other:
            return [await client.retrieve(WORDS, timeout_s=60.0, **wanted) for client in (one, other)]

    raw = ask(served, "retrieve", {"query": texts(*WORDS)}, outputs=["product_ids", "channels"], parameters=wanted)
    assert set(raw["channels"].ravel().tolist()) >= {1, 3}
    for found in (*(client.retrieve(WORDS, **wanted) for client in clients), *asyncio.run(ask_both())):
        assert (found.channels == raw["channels"]).mean() > 0.95  # products with equal scores may change places
        assert ((found.channels == 0) == (found.ids == -1)).all()
    for client in clients:
        assert client.retrieve(WORDS, top_k=10).channels is None
        with pytest.raises(InvalidRequest, match="channels: must be embedding if the request has no query"):
            client.retrieve_similar(title="mug", channels="lexical")


def test_the_asyncio_client_works_in_this_process_too(
    pipeline: InProcessPipeline, clients: tuple[RetrievalClient, RetrievalClient]
) -> None:
    async def ask_all() -> Any:
        async with AsyncRetrievalClient(InProcess(pipeline), clocks_synchronised=True) as client:
            return await asyncio.gather(*(client.retrieve("red dress", top_k=5) for _ in range(8)))

    expected = clients[1].retrieve("red dress", top_k=5)
    for found in asyncio.run(ask_all()):
        assert found.ids.tolist() == expected.ids.tolist()


def test_a_composed_query_is_the_weighted_sum_of_normalised_parts(
    clients: tuple[RetrievalClient, RetrievalClient], products: list[dict[str, Any]]
) -> None:
    client = clients[1]
    photo, vector = products[0]["image"], np.full(128, 3.0)
    query = [Part(Product(image=io.BytesIO(photo).read())), Part("red", 0.5), Part("cheap", -0.25), Part(vector, 2.0)]
    by_hand = (
        client.embed_product(image=photo).embeddings[0]
        + 0.5 * client.embed_query("red")[0]
        - 0.25 * client.embed_query("cheap")[0]
        + 2.0 * vector / np.linalg.norm(vector)
    )
    expected = client.retrieve_by_embedding(by_hand / np.linalg.norm(by_hand), top_k=20)
    found = client.retrieve_composed(query, top_k=20)
    assert_same_ranking(found.ids, found.scores, expected.ids, expected.scores)
    alone = client.retrieve_composed([Part("red dress")], top_k=20)
    plain = client.retrieve("red dress", top_k=20)
    assert_same_ranking(alone.ids, alone.scores, plain.ids, plain.scores)


@pytest.mark.parametrize(
    ("queries", "named"),
    [
        ([], "at least one composed query"),
        ([[Part("a")], []], r"queries\[1\] must be a list of at least one Part"),
        ([[Part("a")], [Part("")]], r"queries\[1\]\[0\]: queries\[0\] must be a string with at least one word"),
        ([[Part("a"), "b"]], r"queries\[0\]\[1\]: must be a Part, got str"),
        ([Part("a"), Part("a", -1.0)], r"queries\[0\]: the parts cancel out"),
        ([Part("a"), Part(np.ones(3))], r"queries\[0\]: an embedding of 3 numbers; it needs 128 numbers"),
    ],
)
def test_an_error_names_what_is_wrong_in_a_composed_query(
    clients: tuple[RetrievalClient, RetrievalClient], queries: Any, named: str
) -> None:
    with pytest.raises(InvalidRequest, match=named):
        clients[1].retrieve_composed(queries)


@pytest.mark.parametrize("weight", [0, float("nan"), "1"])
def test_a_wrong_weight_is_refused(weight: Any) -> None:
    with pytest.raises(InvalidRequest, match="weight must be a finite number other than 0"):
        Part("a", weight)
