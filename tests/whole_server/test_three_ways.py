"""The same answers in process, from fused models and from ensembles, for a seeded mix of requests."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from shopwindow.retrieval import InProcessPipeline
from shopwindow_client import Product, RetrievalClient
from tests.ranking import TOLERANCE, assert_same_ranking

SEED = 20
WORD_REQUESTS = 70
PRODUCT_REQUESTS = 35
EMBEDDING_REQUESTS = 15
ROWS = (1, 1, 1, 1, 2, 2, 3, 3, 8, 8, 17, 64)
TOP_K = (1, 2, 10, 37, 100, 100, 899, 900, 901, 10_000)

Products = list[dict[str, Any]]


@pytest.fixture(scope="module")
def products(shop: Path) -> Products:
    return pq.read_table(shop / "products.parquet").to_pylist()


@pytest.fixture(scope="module", params=["served", "served_ensemble"])
def client(request: pytest.FixtureRequest) -> Iterator[RetrievalClient]:
    server = request.getfixturevalue(request.param)
    with RetrievalClient(server.grpc_url, timeout_s=60.0) as client:
        yield client


def some_words(products: Products, rng: random.Random) -> str:
    """Return a part of a title, several titles in a row, or words that no title contains."""
    titles = [rng.choice(products)["title"] for _ in range(rng.choice((1, 1, 1, 2, 5)))]
    words = " ".join(titles).split()
    kept = words[: rng.randint(1, len(words))]
    return " ".join([*kept, *rng.choice(([], ["🧸"], ["qzxv"], ["für", "kinder"]))])[:1_000]


def some_product(products: Products, rng: random.Random) -> Product:
    """Return a photo, a title, both, or a photo with other words."""
    product = rng.choice(products)
    kind = rng.choice(("title", "photo", "both", "composed"))
    return Product(
        title={"title": product["title"], "both": product["title"], "composed": some_words(products, rng)}.get(kind),
        image=None if kind == "title" else product["image"],
    )


def some_parameters(products: Products, rng: random.Random, rows: int) -> dict[str, Any]:
    parameters: dict[str, Any] = {}
    if rng.random() < 0.8:
        parameters["top_k"] = rng.choice(TOP_K)
    if rng.random() < 0.4:
        parameters["effort"] = rng.randint(1, 10)
    if rng.random() < 0.5:
        one, other = rng.choice(products), rng.choice(products)
        low, high = sorted((one["price"], other["price"]))
        parameters["filter"] = rng.choice(
            (
                {"colour": one["colour"]},
                {"colour": {"in": [one["colour"], other["colour"], "no such colour"]}},
                {"price": {"gte": low, "lte": high}},
                {"stock": {"gt": one["stock"]}, "category": other["category"]},
                {"brand": one["brand"], "article": other["article"]},
                {},
            )
        )
    if rows <= 8 and rng.random() < 0.6:  # the scores of more rows leave hardly a gap for the limit
        parameters["min_score"] = rng.choice((-1.0, 0.0, 0.05, 0.1, 0.3, 0.999))
    return parameters


def in_process(parameters: dict[str, Any]) -> dict[str, Any]:
    return {**parameters, "filter": json.dumps(parameters["filter"])} if "filter" in parameters else parameters


def off_the_limit(pipeline: InProcessPipeline, parameters: dict[str, Any], retrieve: Any) -> dict[str, Any]:
    """Move min_score to a value that no product scores, so that rounding does not decide which products are found."""
    if "min_score" not in parameters:
        return parameters
    scores = retrieve(**in_process({**parameters, "min_score": -2.0, "top_k": 10_000})).scores
    limit = parameters["min_score"]
    while (np.abs(scores - limit) < 3 * TOLERANCE).any():
        limit += TOLERANCE
    return {**parameters, "min_score": limit}


def title_and_image(products: list[Product]) -> tuple[list[str], list[bytes]]:
    return [product.title or "" for product in products], [product.image or b"" for product in products]


@pytest.mark.parametrize("number", range(WORD_REQUESTS))
def test_a_query_finds_the_same_products_served_as_in_process(
    client: RetrievalClient, pipeline: InProcessPipeline, products: Products, number: int
) -> None:
    rng = random.Random(f"{SEED}/words/{number}")
    queries = [some_words(products, rng) for _ in range(rng.choice(ROWS))]
    parameters = off_the_limit(
        pipeline,
        some_parameters(products, rng, len(queries)),
        lambda **parameters: pipeline.retrieve(queries, **parameters),
    )
    expected = pipeline.retrieve(queries, **in_process(parameters))
    results = client.retrieve(queries, **parameters)
    assert_same_ranking(results.ids, results.scores, expected.product_ids, expected.scores)


@pytest.mark.parametrize("number", range(PRODUCT_REQUESTS))
def test_a_product_finds_the_same_products_served_as_in_process(
    client: RetrievalClient, pipeline: InProcessPipeline, products: Products, number: int
) -> None:
    rng = random.Random(f"{SEED}/products/{number}")
    asked = [some_product(products, rng) for _ in range(rng.choice(ROWS))]
    inputs = title_and_image(asked)
    parameters = off_the_limit(
        pipeline,
        some_parameters(products, rng, len(asked)),
        lambda **parameters: pipeline.retrieve_similar(*inputs, **parameters),
    )
    expected = pipeline.retrieve_similar(*inputs, **in_process(parameters))
    results = client.retrieve_similar(asked, **parameters)
    assert_same_ranking(results.ids, results.scores, expected.product_ids, expected.scores)


@pytest.mark.parametrize("number", range(EMBEDDING_REQUESTS))
def test_embeddings_are_the_same_served_as_in_process(
    client: RetrievalClient, pipeline: InProcessPipeline, products: Products, number: int
) -> None:
    rng = random.Random(f"{SEED}/embeddings/{number}")
    queries = [some_words(products, rng) for _ in range(rng.choice(ROWS))]
    np.testing.assert_allclose(client.embed_query(queries), pipeline.embed_query(queries), rtol=0, atol=TOLERANCE)
    asked = [some_product(products, rng) for _ in range(rng.choice(ROWS))]
    embeddings, weights = pipeline.embed_product(*title_and_image(asked))
    served = client.embed_product(asked)
    np.testing.assert_allclose(served.embeddings, embeddings, rtol=0, atol=TOLERANCE)
    np.testing.assert_allclose(served.modality_weights, weights, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("number", range(10))
def test_a_query_and_its_embedding_find_the_same_products(
    client: RetrievalClient, products: Products, number: int
) -> None:
    rng = random.Random(f"{SEED}/by embedding/{number}")
    queries = [some_words(products, rng) for _ in range(rng.choice(ROWS))]
    parameters = {"top_k": rng.choice(TOP_K)}
    by_words = client.retrieve(queries, **parameters)
    by_embedding = client.retrieve_by_embedding(client.embed_query(queries), **parameters)
    assert_same_ranking(by_embedding.ids, by_embedding.scores, by_words.ids, by_words.scores)
