"""Requests in one batch of Triton: each gets the same answer as alone, and a bad one fails alone.

Triton's statistics show whether requests shared a batch. Large requests keep the model's instances busy while a burst
is sent, so that the burst queues up and becomes one batch. If it does not, it is sent again, a few times.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from shopwindow.retrieval import InProcessPipeline
from shopwindow.retrieval.index.home import resolve_index
from tests.ranking import assert_same_ranking
from tests.server.stranger import Refused, ask, executions, texts

TRIES = 12
BLOCKERS = 4
ROWS = 64

Reply = dict[str, np.ndarray] | Refused


@dataclass(frozen=True, kw_only=True)
class Request:
    """A request and, for a bad one, a part of the error that it must get."""

    model: str
    inputs: dict[str, np.ndarray]
    parameters: dict[str, Any] = field(default_factory=dict)
    refusal: str = ""

    def send(self, server: Any, **options: Any) -> Reply:
        try:
            return ask(server, self.model, self.inputs, parameters=self.parameters, **options)
        except Refused as refused:
            return refused


@pytest.fixture(scope="module")
def embeddings(index: Path) -> np.ndarray:
    return np.load(resolve_index(index) / "vectors.npy")[:40]


@pytest.fixture(scope="module")
def photos(shop: Path) -> list[bytes]:
    return pq.read_table(shop / "products.parquet", columns=["image"]).slice(0, 12)["image"].to_pylist()


def words(text: str, refusal: str = "", **parameters: Any) -> Request:
    return Request(model="retrieve", inputs={"query": texts(text)}, parameters=parameters, refusal=refusal)


def product(title: str, image: bytes, refusal: str = "", **parameters: Any) -> Request:
    inputs = {"title": texts(title), "image": texts(image)}
    return Request(model="retrieve_similar", inputs=inputs, parameters=parameters, refusal=refusal)


def near(embedding: np.ndarray, refusal: str = "", **parameters: Any) -> Request:
    inputs = {"embedding": embedding[None]}
    return Request(model="product_index", inputs=inputs, parameters=parameters, refusal=refusal)


def burst(server: Any, requests: Sequence[Request], *, step: str, blocker: Request, alone: int) -> list[Reply]:
    """Send requests at once, and again until one batch of `step` contained more than `alone` of them.

    Args:
        server: the server.
        requests: requests of one row each.
        step: the model whose batches count.
        blocker: a request that keeps an instance of `step` busy for a while.
        alone: the largest number of requests of one kind. A larger batch contains several kinds.

    Returns:
        The replies, in the order of the requests.
    """
    for _ in range(TRIES):
        before = _executions_by_size(server, step)
        with ThreadPoolExecutor(BLOCKERS + len(requests)) as threads:
            blockers = [threads.submit(blocker.send, server) for _ in range(BLOCKERS)]
            replies = list(threads.map(lambda request: request.send(server), requests))
            for blocked in blockers:
                assert not isinstance(blocked.result(), Refused)
        sizes = {size for size, count in _executions_by_size(server, step).items() if count > before.get(size, 0)}
        if any(alone < size <= len(requests) for size in sizes):
            return replies
    pytest.fail(f"{step}: no batch of more than {alone} of {len(requests)} requests in {TRIES} bursts, only {sizes}")


def _executions_by_size(server: Any, step: str) -> dict[int, int]:
    return {batch.batch_size: batch.compute_infer.count for batch in executions(server, step).batch_stats}


def assert_each_as_if_alone(server: Any, requests: Sequence[Request], replies: Sequence[Reply]) -> None:
    for request, reply in zip(requests, replies, strict=True):
        if request.refusal:
            assert isinstance(reply, Refused), request
            assert reply.status == "StatusCode.INVALID_ARGUMENT"
            assert request.refusal in reply.message
        else:
            assert not isinstance(reply, Refused), (request, reply)
            alone = request.send(server)
            assert not isinstance(alone, Refused)
            assert_same_ranking(reply["product_ids"], reply["scores"], alone["product_ids"], alone["scores"])


BLOCKING_WORDS = Request(
    model="retrieve",
    inputs={"query": texts(*(f"a long query about {row} " + "cups and mugs " * 20 for row in range(ROWS)))},
    parameters={"top_k": 10_000},
)

BAD_WORDS: list[Callable[[int], Request]] = [
    lambda number: words("  ", "query[0]: must not be empty"),
    lambda number: words("mug", f"got {-number}", top_k=-number),
    lambda number: words("mug", f"filter.column{number}: no such attribute", filter=json.dumps({f"column{number}": 1})),
    lambda number: words("mug", f"parameter{number}: unknown request parameter", **{f"parameter{number}": number}),
]


def good_words(number: int) -> Request:
    return words(f"red dress with {number} buttons", top_k=10)


def test_bad_queries_in_a_batch_fail_alone(served: Any) -> None:
    requests = [
        request
        for number in range(1, 9)
        for request in (good_words(number), BAD_WORDS[number % len(BAD_WORDS)](number))
    ]
    replies = burst(served, requests, step="retrieve", blocker=BLOCKING_WORDS, alone=8)
    assert_each_as_if_alone(served, requests, replies)


@pytest.mark.parametrize("server", ["served", "served_ensemble"])
def test_bad_requests_to_the_index_in_a_batch_fail_alone(
    request: pytest.FixtureRequest, server: str, embeddings: np.ndarray
) -> None:
    here = request.getfixturevalue(server)
    bad: list[Callable[[int], Request]] = [
        lambda number: near(np.full_like(embeddings[0], np.nan), "embedding: must be finite"),
        lambda number: near(embeddings[0], f"got {-number}", top_k=-number),
        lambda number: near(embeddings[0], "filter: not valid JSON", filter="{" * number),
        lambda number: near(embeddings[0], "filter.\\ud800: no such attribute", filter='{"\\ud800": 1}'),
    ]
    requests = [
        each for number in range(1, 13) for each in (near(embeddings[number], top_k=10), bad[number % len(bad)](number))
    ]
    replies = burst(here, requests, step="product_index", blocker=blocking_embeddings(embeddings), alone=12)
    assert_each_as_if_alone(here, requests, replies)


def test_bad_products_in_a_batch_fail_alone(served: Any, photos: list[bytes]) -> None:
    bad: list[Callable[[int], Request]] = [
        lambda number: product("", b"", "title[0], image[0]: at least one must be given"),
        lambda number: product("", photos[0][: 40 * number], "image[0]: not a readable"),
        lambda number: product("x" * (1_000 + number), b"", f"got {1_000 + number}"),
        lambda number: product("mug", b"", f"got {10_000 + number}", top_k=10_000 + number),
    ]
    requests = [
        request
        for number in range(1, 9)
        for request in (product("mug" * (number % 2), photos[number], top_k=10), bad[number % len(bad)](number))
    ]
    blocker = Request(
        model="retrieve_similar",
        inputs={"title": texts(*[""] * 32), "image": texts(*(photos * 3)[:32])},
        parameters={"top_k": 10_000},
    )
    replies = burst(served, requests, step="retrieve_similar", blocker=blocker, alone=8)
    assert_each_as_if_alone(served, requests, replies)


MIXED: list[dict[str, Any]] = [
    {},
    {"top_k": 1},
    {"top_k": 17},
    {"top_k": 17, "effort": 10},
    {"top_k": 10_000},
    {"filter": '{"colour": "red"}', "top_k": 17},
    {"filter": '{"colour": {"in": ["blue", "black"]}}', "top_k": 17},
    {"filter": '{"price": {"gte": 10, "lt": 60}, "colour": "white"}', "top_k": 500},
    {"filter": '{"colour": "nowhere to be found"}'},
    {"min_score": 0.05, "top_k": 17},
    {"min_score": 0.1, "filter": '{"price": {"lt": 60}}', "top_k": 17},
    {"min_score": 1.5},
]


def test_each_query_of_a_batch_gets_its_own_parameters(served: Any) -> None:
    requests = [words(f"red dress number {number}", **parameters) for number, parameters in enumerate(MIXED)]
    replies = burst(served, requests, step="retrieve", blocker=BLOCKING_WORDS, alone=2)
    assert [parameters.get("top_k", 100) for parameters in MIXED] == [reply["scores"].shape[1] for reply in replies]
    assert_each_as_if_alone(served, requests, replies)


@pytest.mark.parametrize(("server", "step"), [("served", "retrieve"), ("served_ensemble", "product_index")])
def test_each_query_of_a_batch_gets_its_own_channels(
    request: pytest.FixtureRequest, server: str, step: str, embeddings: np.ndarray, pipeline: InProcessPipeline
) -> None:
    here = request.getfixturevalue(server)
    both = {"channels": "embedding,lexical", "top_k": 17}
    mixed: list[dict[str, Any]] = [
        {"top_k": 17},
        {"channels": "lexical", "top_k": 17},
        {"channels": "lexical", "top_k": 500, "filter": '{"colour": "red"}'},
        both,
        {**both, "fusion": "weighted:0.7"},
        {**both, "filter": '{"price": {"lt": 60}}', "min_score": 0.01},
    ] * 2
    bad = [
        words("mug", "channels: must be embedding, lexical or", channels="words"),
        words("mug", "fusion: must be rrf, or weighted:", **{**both, "fusion": "weighted:7"}),
        words("mug", "fusion: merges two channels", fusion="rrf"),
    ]
    good = [words(f"{number} red mugs and a dress", **each) for number, each in enumerate(mixed)]
    blocker = BLOCKING_WORDS if step == "retrieve" else blocking_embeddings(embeddings)
    replies = burst(here, [*good, *bad], step=step, blocker=blocker, alone=2)
    assert_each_as_if_alone(here, [*good, *bad], replies)
    for asked, reply in zip(good, replies, strict=False):
        assert not isinstance(reply, Refused)
        expected = pipeline.retrieve(asked.inputs["query"][:, 0].tolist(), **asked.parameters)
        assert_same_ranking(reply["product_ids"], reply["scores"], expected.product_ids, expected.scores)
        # Products with the same score may have changed places, and so may their channels.
        assert Counter(reply["channels"].flat) == Counter(expected.channels.flat)


@pytest.mark.parametrize("server", ["served", "served_ensemble"])
def test_channels_are_returned_on_request_and_the_lexical_channel_needs_words(
    request: pytest.FixtureRequest, server: str
) -> None:
    here = request.getfixturevalue(server)
    query = {"query": texts("red mug")}
    both = {"channels": "embedding,lexical", "top_k": 5}
    assert set(ask(here, "retrieve", query, outputs=["product_ids", "scores"], parameters=both)) == {
        "product_ids",
        "scores",
    }
    assert ask(here, "retrieve", query, outputs=["channels"], parameters={"top_k": 5})["channels"].tolist() == [[1] * 5]
    refusal = "channels: must be embedding if the request has no query"
    for similar in (
        product("red mug", b"", refusal, channels="lexical"),
        near(np.ones(embed_dim(here), np.float32), refusal, channels="lexical"),
    ):
        assert_each_as_if_alone(here, [similar], [similar.send(here)])


@pytest.mark.parametrize("server", ["served", "served_ensemble"])
def test_each_embedding_of_a_batch_gets_its_own_parameters(
    request: pytest.FixtureRequest, server: str, embeddings: np.ndarray
) -> None:
    here = request.getfixturevalue(server)
    requests = [near(embedding, **parameters) for embedding, parameters in zip(embeddings, MIXED, strict=False)]
    replies = burst(here, requests, step="product_index", blocker=blocking_embeddings(embeddings), alone=2)
    assert [parameters.get("top_k", 100) for parameters in MIXED] == [reply["scores"].shape[1] for reply in replies]
    assert_each_as_if_alone(here, requests, replies)


def test_queries_of_different_lengths_share_a_batch_of_the_ensembles_tower(served_ensemble: Any) -> None:
    requests = [words("mug " * length, top_k=10) for length in range(1, 13)]
    blocker = Request(model="embed_query", inputs=BLOCKING_WORDS.inputs)
    replies = burst(served_ensemble, requests, step="query_tower", blocker=blocker, alone=2)
    assert_each_as_if_alone(served_ensemble, requests, replies)


def embed_dim(server: Any) -> int:
    return ask(server, "embed_query", {"query": texts("mug")})["embedding"].shape[1]


def blocking_embeddings(embeddings: np.ndarray) -> Request:
    many = np.resize(embeddings, (ROWS, embeddings.shape[1]))
    return Request(model="product_index", inputs={"embedding": many}, parameters={"top_k": 10_000})


@pytest.mark.parametrize("server", ["served", "served_ensemble"])
def test_triton_s_own_request_options_do_not_count_as_parameters(request: pytest.FixtureRequest, server: str) -> None:
    here = request.getfixturevalue(server)
    query = words("red dress", top_k=5)
    reply = query.send(here, timeout=30_000_000, priority=1, request_id="abc", headers={"x-trace": "1"})
    assert_each_as_if_alone(here, [query], [reply])
