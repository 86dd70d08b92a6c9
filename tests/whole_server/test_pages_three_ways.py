"""The same result pages in process, from fused models and from ensembles, for a seeded mix of requests.

The three compute embeddings that differ by rounding. So each request is drawn until its answer stays the same for
embeddings that differ by more than that. Then the answers must be equal, not only alike.
"""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from shopwindow.retrieval import InProcessPipeline
from shopwindow.retrieval.request.page.page_request import PAGE_OUTPUTS
from shopwindow.retrieval.request.parameters import with_outputs
from shopwindow.retrieval.search.by_channels import ChannelRequest, search_channels
from shopwindow.retrieval.search.like import embed_like
from shopwindow.retrieval.search.page_outputs import page_outputs
from tests.conftest import SHOP_PRODUCTS
from tests.server.stranger import Refused, ask, ask_http, executions, texts

SEED = 5
REQUESTS = 100  # to each model
MODELS = ("retrieve", "retrieve_similar", "product_index")
ROUNDING = 2e-6  # of a number of an embedding, more than the towers differ by
DISTURBED = 3  # times that an answer must stay the same
CALLERS = 16
TRIES = 10

Products = list[dict[str, Any]]
Outputs = dict[str, np.ndarray]


@dataclass
class Asked:
    """A request, and its answer in process.

    Attributes:
        model: the model that it goes to.
        inputs: its inputs.
        parameters: its parameters as they are sent.
        outputs: the outputs that it names; None for no names.
        answer: the outputs that are to come.
    """

    model: str
    inputs: dict[str, np.ndarray]
    parameters: dict[str, Any]
    outputs: list[str] | None
    answer: Outputs = field(default_factory=dict)


def some_filter(products: Products, rng: random.Random) -> dict[str, Any]:
    one, other = rng.choice(products), rng.choice(products)
    choices: Sequence[dict[str, Any]] = (
        {"colour": {"in": [one["colour"], other["colour"]]}},
        {"price": {"lt": max(one["price"], other["price"])}, "category": one["category"]},
        {"or": [{"brand": one["brand"]}, {"stock": {"gte": other["stock"]}}]},
    )
    return rng.choice(choices)


def some_page(products: Products, rng: random.Random, *, words: bool, generation: int) -> dict[str, Any]:
    """Return random page parameters as Python values."""
    columns = ["brand", "category", "article", "colour", "pattern", "price", "stock", "style", "supplier"]
    facets = {
        "price": {"ranges": [0, 20, 50, None]},
        **dict.fromkeys(rng.sample(columns[:5], 2), rng.choice((2, 1_000))),
    }
    boost = [
        {"if": some_filter(products, rng), rng.choice(("add", "multiply")): 0.125},
        {"column": "stock", rng.choice(("add", "multiply")): 0.0625},
    ]
    members = {"by": rng.choice(columns), "members": rng.choice((1, 3))}
    scores: list[Any] = [0.05, "0.1", "best*0.8"]
    values: dict[str, Any] = {
        "top_k": rng.choice((1, 5, 24)),
        "filter": some_filter(products, rng),
        "fields": rng.sample([*columns, "title"], 3),
        "offset": rng.choice((0, 0, 3, 24, 880)),
        "generation": generation,
        "facets": facets,
        "collapse": rng.choice((rng.choice(columns), members, members)),
        "boost": boost[: rng.choice((1, 2))],
        "min_score": rng.choice(scores),
        "effort": rng.choice((3, 9)),
    }
    page = {name: value for name, value in values.items() if rng.random() < 0.45}
    if "facets" in page and rng.random() < 0.3:
        page["facet_over"] = rng.choice((5, 40))
    if rng.random() < 0.3:
        page["sort"] = {"by": rng.choice(columns), "order": rng.choice(("asc", "desc")), "among": rng.choice((8, 30))}
    elif rng.random() < 0.25:
        page["diversity"] = rng.choice((0.25, 0.75))
    if words and rng.random() < 0.4:
        page["channels"] = rng.choice(("lexical", "embedding,lexical"))
        if "min_score" in page:
            page["min_score"] = {"lexical": 1.5, "embedding,lexical": 0.012}[page["channels"]]
    elif words and "min_score" in page and rng.random() < 0.4:
        page["min_score"] = "precision:0.8"
    return page


def some_inputs(products: Products, rng: random.Random, model: str) -> dict[str, np.ndarray]:
    """Return inputs of one or two rows; those of product_index still lack an embedding, unless they have `like`."""
    chosen = rng.sample(products, rng.choice((1, 1, 2)))
    words = {"query": texts(*(one["title"] for one in chosen))}
    if model == "retrieve":
        return words
    if model == "retrieve_similar":
        photos = [one["image"] if rng.random() < 0.3 else b"" for one in chosen]
        return {"title": texts(*(one["title"] for one in chosen)), "image": texts(*photos)}
    inputs = words if rng.random() < 0.5 else {}
    if rng.random() < 0.5 or not inputs:
        likes = []
        for _ in chosen:
            like: dict[str, Any] = {"ids": [one["product_id"] for one in rng.sample(products, 2)]}
            if rng.random() < 0.5:
                like["weights"] = [1, rng.choice((0.5, -0.25))]
            likes.append(json.dumps(like))
        inputs = {**inputs, "like": texts(*likes)}
    return inputs


def embedded(pipeline: InProcessPipeline, asked: Asked) -> tuple[np.ndarray, Sequence[np.ndarray]]:
    """Return the embeddings that a request searches with, and the rows that it may not find."""
    inputs = {name: array[:, 0].tolist() for name, array in asked.inputs.items()}
    if "like" in inputs:
        return embed_like(pipeline.index, inputs["like"])
    if asked.model == "retrieve_similar":
        return pipeline.embed_product(inputs["title"], inputs["image"])[0], ()
    return pipeline.embed_query(inputs["query"]), ()


def answered(
    pipeline: InProcessPipeline, asked: Asked, embeddings: np.ndarray, excluded: Sequence[np.ndarray]
) -> Outputs:
    """Return what a request is answered in process."""
    queries = [text.decode() for text in asked.inputs["query"][:, 0]] if "query" in asked.inputs else []
    parameters = with_outputs(pipeline.prepare_parameters(asked.parameters, words=bool(queries)), PAGE_OUTPUTS)
    request = ChannelRequest(embeddings, queries, parameters, excluded)
    (result,) = search_channels(pipeline.index, [request])
    return {
        "product_ids": result.product_ids,
        "scores": result.scores,
        "channels": result.channels,
        **page_outputs(pipeline.index, result, parameters, PAGE_OUTPUTS),
    }


def differences(found: Outputs, expected: Outputs) -> list[str]:
    """Return the names of the outputs that differ: scores by more than rounding, others at all."""
    names = [name for name in found if name != "scores" and found[name].tolist() != expected[name].tolist()]
    if "scores" in found and (
        found["scores"].shape != expected["scores"].shape
        or not np.allclose(found["scores"], expected["scores"], rtol=2e-5, atol=2e-5)
    ):
        names.append("scores")
    return names


def drawn(pipeline: InProcessPipeline, products: Products, model: str, number: int) -> Asked:
    """Draw a request whose answer does not depend on rounding."""
    rng, noise = random.Random(f"{SEED}/{model}/{number}"), np.random.default_rng(number)
    while True:
        inputs = some_inputs(products, rng, model)
        words = "query" in inputs
        page = some_page(products, rng, words=words, generation=pipeline.index.manifest.generation)
        parameters = {name: json.dumps(one) if isinstance(one, dict | list) else one for name, one in page.items()}
        wanted = ["product_ids", "scores", *rng.sample(sorted(PAGE_OUTPUTS), rng.randint(0, 5))]
        asked = Asked(model, inputs, parameters, wanted if rng.random() < 0.7 else None)
        embeddings, excluded = embedded(pipeline, asked)
        asked.answer = answered(pipeline, asked, embeddings, excluded)
        disturbed = (
            answered(pipeline, asked, (embeddings + noise.uniform(-ROUNDING, ROUNDING, embeddings.shape)), excluded)
            for _ in range(DISTURBED)
        )
        if not any(differences(other, asked.answer) for other in disturbed):
            if model == "product_index" and "like" not in inputs:
                asked.inputs["embedding"] = embeddings
            return asked


@pytest.fixture(scope="module")
def requests(pipeline: InProcessPipeline, shop: Path) -> list[Asked]:
    products = pq.read_table(shop / "products.parquet").to_pylist()
    return [drawn(pipeline, products, model, number) for model in MODELS for number in range(REQUESTS)]


@pytest.fixture(scope="module", params=["served", "served_ensemble"])
def server(request: pytest.FixtureRequest) -> Iterator[Any]:
    yield request.getfixturevalue(request.param)


def executed(server: Any, step: str) -> Counter[int]:
    """Return how often a model has executed batches of each number of rows."""
    return Counter({batch.batch_size: batch.compute_infer.count for batch in executions(server, step).batch_stats})


def assert_answer(found: Outputs, asked: Asked) -> None:
    names = set(asked.outputs or {"product_ids", "scores", *PAGE_OUTPUTS})
    assert found.keys() >= names
    assert not differences({name: found[name] for name in found.keys() & asked.answer.keys()}, asked.answer), asked


def test_the_requests_ask_for_everything_that_makes_a_page(requests: list[Asked]) -> None:
    asked_for = set(chain.from_iterable(each.parameters for each in requests))
    assert asked_for >= {"fields", "offset", "generation", "facets", "facet_over", "collapse", "boost", "sort"}
    assert asked_for >= {"diversity", "min_score", "channels", "filter"}
    for name in PAGE_OUTPUTS:
        assert sum(each.answer[name].size > 0 for each in requests) > 10
    assert sum("like" in each.inputs for each in requests) > 10
    assert sum((each.answer["product_ids"] >= 0).any() for each in requests) > 0.6 * len(requests)


def test_a_page_is_the_same_served_as_in_process(server: Any, requests: list[Asked]) -> None:
    transport = ask if server.options.profile == "cpu" else ask_http
    for each in requests:
        found = transport(server, each.model, each.inputs, outputs=each.outputs, parameters=each.parameters)
        assert_answer(found, each)


@pytest.mark.parametrize("model", MODELS)
def test_pages_of_one_batch_are_the_same_as_alone(server: Any, requests: list[Asked], model: str) -> None:
    step = model if server.options.profile == "cpu" else "product_index"
    chosen = [each for each in requests if each.model == model]
    for _ in range(TRIES):
        before = executed(server, step)
        with ThreadPoolExecutor(CALLERS) as callers:
            found = callers.map(
                lambda each: ask(server, each.model, each.inputs, outputs=each.outputs, parameters=each.parameters),
                chosen,
            )
            for outputs, each in zip(found, chosen, strict=True):
                assert_answer(outputs, each)
        if any(rows > 2 for rows in executed(server, step) - before):  # more than one request has
            return
    pytest.fail(f"{step}: no two requests shared a batch in {TRIES} bursts")


def test_like_takes_the_place_of_an_embedding(server: Any, requests: list[Asked]) -> None:
    both = {
        "like": next(each.inputs["like"][:1] for each in requests if "like" in each.inputs),
        "embedding": next(each.inputs["embedding"][:1] for each in requests if "embedding" in each.inputs),
    }
    alone = ask(server, "product_index", {"like": both["like"]}, parameters={"top_k": 1_000})
    assert alone["total"].item() == (alone["product_ids"] >= 0).sum() == SHOP_PRODUCTS - 2
    with pytest.raises(Refused, match="like: takes the place of embedding") as refused:
        ask(server, "product_index", both)
    assert refused.value.status == "StatusCode.INVALID_ARGUMENT"


def test_a_page_that_comes_too_late_is_refused(server: Any, requests: list[Asked]) -> None:
    for model in MODELS:
        late = next(each for each in requests if each.model == model and "facets" in each.parameters)
        with pytest.raises(Refused, match="its deadline passed") as refused:
            ask(server, model, late.inputs, parameters={**late.parameters, "deadline_unix_ms": 1})
        assert refused.value.status == "StatusCode.UNAVAILABLE"
