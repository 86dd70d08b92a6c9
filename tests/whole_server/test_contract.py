"""The contract of every model over gRPC and HTTP, tested without this project's client."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from shopwindow.retrieval import InProcessPipeline
from shopwindow.retrieval.index.home import resolve_index
from tests.ranking import assert_is_exact_search, assert_same_ranking
from tests.server.stranger import Refused, ask, ask_http, get, grpc_client, post, texts

DIM = "dim"  # the length of an embedding
ANY = -1

CONTRACT: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "retrieve": (
        {"query": ("BYTES", 1)},
        {
            "product_ids": ("INT64", ANY),
            "scores": ("FP32", ANY),
            "channels": ("INT64", ANY),
            "generation": ("INT64", 1),
            "effort": ("INT64", 1),
            "timings_us": ("INT64", 6),
        },
    ),
    "retrieve_similar": (
        {"title": ("BYTES", 1), "image": ("BYTES", 1)},
        {
            "product_ids": ("INT64", ANY),
            "scores": ("FP32", ANY),
            "generation": ("INT64", 1),
            "effort": ("INT64", 1),
            "timings_us": ("INT64", 6),
        },
    ),
    "embed_query": (
        {"query": ("BYTES", 1)},
        {"embedding": ("FP32", DIM)},
    ),
    "embed_product": (
        {"title": ("BYTES", 1), "image": ("BYTES", 1)},
        {"embedding": ("FP32", DIM), "modality_weights": ("FP32", 2)},
    ),
    "product_index": (
        {"embedding": ("FP32", DIM), "like": ("BYTES", 1), "query": ("BYTES", 1)},  # `embedding` or `like`
        {
            "product_ids": ("INT64", ANY),
            "scores": ("FP32", ANY),
            "channels": ("INT64", ANY),
            "generation": ("INT64", 1),
            "effort": ("INT64", 1),
            "timings_us": ("INT64", 6),
        },
    ),
}
RETRIEVING = ("retrieve", "retrieve_similar", "product_index")
ON_REQUEST = {  # of all that retrieve; most have no columns unless the request asks for them
    "product_keys": ("BYTES", ANY),
    "attributes": ("BYTES", ANY),
    "total": ("INT64", 1),
    "facets": ("BYTES", 1),
    "group_sizes": ("INT64", ANY),
    "group_members": ("BYTES", ANY),
}
# In the profiles where towers can change with the index, these models also return the towers of the embedding.
CHANGING = {"cpu": ("embed_query", "embed_product")}

# The argument `-d` of the curl command that users copy. curl declares such a body as a form, which must not matter.
CURL_BODY = (
    '{"inputs": [{"name": "query", "shape": [1, 1], "datatype": "BYTES", "data": ["red dress"]}], '
    '"parameters": {"top_k": 5, "effort": 7, "min_score": -0.9, "filter": "{\\"price\\": {\\"lt\\": 40}}"}}'
)


@pytest.fixture(params=["served", "served_ensemble"])
def server(request: pytest.FixtureRequest) -> Any:
    return request.getfixturevalue(request.param)


@pytest.fixture
def transport(server: Any) -> Any:
    """gRPC to the fused models, HTTP to the ensembles."""
    return ask if server.options.profile == "cpu" else ask_http


@pytest.fixture(scope="module")
def products(shop: Path) -> list[dict[str, Any]]:
    return pq.read_table(shop / "products.parquet").to_pylist()


@pytest.fixture(scope="module")
def vectors(index: Path) -> np.ndarray:
    return np.load(resolve_index(index) / "vectors.npy")


@pytest.fixture(scope="module")
def product_ids(index: Path) -> np.ndarray:
    return np.load(resolve_index(index) / "product_ids.npy")


@pytest.fixture(scope="module")
def prices(products: list[dict[str, Any]], product_ids: np.ndarray) -> np.ndarray:
    price = {product["product_id"]: product["price"] for product in products}
    return np.array([price[product] for product in product_ids.tolist()])


@pytest.fixture(scope="module")
def inputs(products: list[dict[str, Any]], vectors: np.ndarray) -> dict[str, dict[str, np.ndarray]]:
    """Three rows for every model."""
    query = {"query": texts("red dress", "a gift for a child who likes trains", "壶")}
    product = {
        "title": texts(products[0]["title"], "", products[2]["title"]),
        "image": texts(b"", products[1]["image"], products[2]["image"]),
    }
    return {
        "retrieve": query,
        "retrieve_similar": product,
        "embed_query": query,
        "embed_product": product,
        "product_index": {"embedding": vectors[:3]},
    }


def embeddings_of(server: Any, model: str, inputs: dict[str, np.ndarray]) -> np.ndarray:
    """Return the embeddings that a retrieving model searches with, from the model that only embeds."""
    if model == "product_index":
        return inputs["embedding"]
    return ask(server, {"retrieve": "embed_query", "retrieve_similar": "embed_product"}[model], inputs)["embedding"]


def first_row(inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name: array[:1] for name, array in inputs.items()}


@pytest.mark.parametrize("model", CONTRACT)
def test_a_model_describes_its_inputs_and_outputs_over_grpc_and_http(
    server: Any, vectors: np.ndarray, model: str
) -> None:
    def tensors(declared: dict[str, Any]) -> dict[str, Any]:
        dims = {name: vectors.shape[1] if dim == DIM else dim for name, (_, dim) in declared.items()}
        return {name: (datatype, [-1, dims[name]]) for name, (datatype, _) in declared.items()}

    metadata = grpc_client(server.grpc_url).get_model_metadata(model)
    over_http = get(server, f"v2/models/{model}")
    for kind, declared in zip(("inputs", "outputs"), CONTRACT[model], strict=True):
        by_grpc = {tensor.name: (tensor.datatype, list(tensor.shape)) for tensor in getattr(metadata, kind)}
        by_http = {tensor["name"]: (tensor["datatype"], tensor["shape"]) for tensor in over_http[kind]}
        if kind == "outputs" and model in RETRIEVING:
            declared = declared | ON_REQUEST
        if kind == "outputs" and model in CHANGING.get(server.options.profile, ()):
            declared = declared | {"towers": ("BYTES", 1)}
        assert by_grpc == by_http == tensors(declared)


@pytest.mark.parametrize("model", CONTRACT)
def test_an_answer_has_the_described_shapes_and_types(
    server: Any, inputs: dict[str, Any], vectors: np.ndarray, model: str, transport: Any
) -> None:
    parameters = {"top_k": 7} if model in RETRIEVING else {}
    for rows in (1, 3):
        given = {name: array[:rows] for name, array in inputs[model].items()}
        answer = transport(server, model, given, outputs=list(CONTRACT[model][1]), parameters=parameters)
        for name, (datatype, dim) in CONTRACT[model][1].items():
            width = {ANY: 7, DIM: vectors.shape[1]}.get(dim, dim)
            assert answer[name].shape == (rows, width)
            assert answer[name].dtype == {"INT64": np.int64, "FP32": np.float32}[datatype]


@pytest.mark.parametrize("model", RETRIEVING)
def test_a_request_without_parameters_gets_the_100_best_products(
    server: Any, inputs: dict[str, Any], vectors: np.ndarray, product_ids: np.ndarray, model: str
) -> None:
    answer = ask(server, model, inputs[model])
    assert answer["product_ids"].shape == (3, 100)
    queries = embeddings_of(server, model, inputs[model])
    assert_is_exact_search(answer["product_ids"], answer["scores"], queries, vectors, product_ids)


@pytest.mark.parametrize("model", RETRIEVING)
def test_all_parameters_together_give_the_result_of_exact_search(
    server: Any,
    inputs: dict[str, Any],
    vectors: np.ndarray,
    product_ids: np.ndarray,
    prices: np.ndarray,
    model: str,
    transport: Any,
) -> None:
    given = first_row(inputs[model])
    queries = embeddings_of(server, model, given)
    cheap = prices < np.median(prices)
    ranked = np.sort((vectors @ queries[0])[cheap])[::-1]
    gap = 20 + int(np.argmax(ranked[20:60] - ranked[21:61]))  # so that no product scores near the limit
    min_score = float(ranked[gap] + ranked[gap + 1]) / 2
    for top_k in (10, gap + 20):  # the limit cuts only the second
        parameters = {
            "top_k": top_k,
            "effort": 3,
            "filter": json.dumps({"price": {"lt": float(np.median(prices))}}),
            "min_score": min_score,
        }
        answer = transport(server, model, given, outputs=["product_ids", "scores"], parameters=parameters)
        assert np.count_nonzero(answer["product_ids"] >= 0) == min(top_k, gap + 1)
        assert_is_exact_search(
            answer["product_ids"],
            answer["scores"],
            queries,
            vectors,
            product_ids,
            allowed=cheap,
            min_score=min_score,
        )


@pytest.mark.parametrize("model", RETRIEVING)
def test_a_number_may_come_as_text(server: Any, inputs: dict[str, Any], model: str) -> None:
    for name, value in (("top_k", 6), ("effort", 2), ("min_score", 0.125)):
        as_number, as_text = (
            ask(server, model, inputs[model], parameters={name: either}) for either in (value, str(value))
        )
        assert_same_ranking(as_text["product_ids"], as_text["scores"], as_number["product_ids"], as_number["scores"])


def test_a_least_score_may_depend_on_the_query_or_on_the_calibration(
    server: Any, transport: Any, pipeline: InProcessPipeline
) -> None:
    query = {"query": texts("red dress", "asdfgh")}
    by_embedding = {**query, "embedding": ask(server, "embed_query", query)["embedding"]}
    for given in ({"min_score": "best*0.9"}, {"min_score": "precision:0.8"}):
        expected = pipeline.retrieve(["red dress", "asdfgh"], **given)
        found = (expected.product_ids >= 0).sum(axis=1)
        assert 0 < found[0] < 100 and (found[1] == 0) == ("precision" in given["min_score"])
        for model, inputs in (("retrieve", query), ("product_index", by_embedding)):
            answer = transport(server, model, inputs, parameters=given)
            assert_same_ranking(answer["product_ids"], answer["scores"], expected.product_ids, expected.scores)
    alone = {"embedding": by_embedding["embedding"]}
    for model, inputs in (("retrieve_similar", {"title": texts("mug"), "image": texts("")}), ("product_index", alone)):
        with pytest.raises(Refused, match=r"min_score: .* only if the request has a query text") as refused:
            transport(server, model, inputs, parameters={"min_score": "precision:0.8"})
        assert refused.value.status in ("StatusCode.INVALID_ARGUMENT", "400")


def test_the_curl_command_of_the_readme_answers(
    server: Any, products: list[dict[str, Any]], vectors: np.ndarray, product_ids: np.ndarray, prices: np.ndarray
) -> None:
    headers, body = post(server, "retrieve", CURL_BODY.encode())
    assert headers["Content-Type"] == "application/json"
    reply = json.loads(body, parse_constant=_not_json)
    assert reply["model_name"] == "retrieve"
    found = {output["name"]: np.reshape(output["data"], output["shape"]) for output in reply["outputs"]}
    assert found["product_ids"].shape == (1, 5)
    queries = ask(server, "embed_query", {"query": texts("red dress")})["embedding"]
    assert_is_exact_search(
        found["product_ids"], found["scores"], queries, vectors, product_ids, allowed=prices < 40, min_score=-0.9
    )


@pytest.mark.parametrize("model", RETRIEVING)
def test_rows_end_in_minus_one_and_minus_infinity_if_too_few_products_qualify(
    server: Any, inputs: dict[str, Any], products: list[dict[str, Any]], model: str, transport: Any
) -> None:
    rare = min((product["brand"] for product in products), key=[product["brand"] for product in products].count)
    brand = {product["product_id"] for product in products if product["brand"] == rare}
    top_k = len(brand) + 3
    parameters = {"top_k": top_k, "filter": json.dumps({"brand": rare})}
    answer = transport(server, model, inputs[model], outputs=["product_ids", "scores"], parameters=parameters)
    for ids, scores in zip(answer["product_ids"].tolist(), answer["scores"], strict=True):
        assert set(ids[:-3]) == brand
        assert ids[-3:] == [-1, -1, -1]
        assert np.isfinite(scores[:-3]).all()
        assert np.isneginf(scores[-3:]).all()


def test_a_top_k_above_the_number_of_products_gives_all_products_and_padding(
    server: Any, product_ids: np.ndarray
) -> None:
    answer = ask(server, "retrieve", {"query": texts("mug")}, parameters={"top_k": 10_000})
    ids = answer["product_ids"][0]
    assert ids.shape == (10_000,)
    assert sorted(ids[: len(product_ids)]) == sorted(product_ids)
    assert (ids[len(product_ids) :] == -1).all()


def test_strict_json_readers_can_read_a_padded_reply_only_without_the_scores(server: Any) -> None:
    # Triton writes the score -inf as -Infinity, which is not valid JSON. Python reads it, but strict readers such as
    # JavaScript's JSON.parse refuse the whole reply. They must ask for the ids alone, or for binary outputs.
    request = json.loads(CURL_BODY)
    request["parameters"] = {"top_k": 2, "min_score": 1.5}
    _, body = post(server, "retrieve", json.dumps(request).encode())
    scores = next(output["data"] for output in json.loads(body)["outputs"] if output["name"] == "scores")
    assert scores == [-np.inf, -np.inf]
    with pytest.raises(ValueError, match="-Infinity"):
        json.loads(body, parse_constant=_not_json)

    request["outputs"] = [{"name": "product_ids"}]
    _, body = post(server, "retrieve", json.dumps(request).encode())
    reply = json.loads(body, parse_constant=_not_json)
    assert [output["data"] for output in reply["outputs"]] == [[-1, -1]]


def test_generation_and_timings_are_returned_on_request(server: Any, vectors: np.ndarray, index: Path) -> None:
    inputs = {"embedding": vectors[:2]}
    outputs = ["product_ids", "generation", "timings_us"]
    answer = ask(server, "product_index", inputs, outputs=outputs, parameters={"top_k": 3})
    assert set(answer) == set(outputs)
    generation = json.loads((resolve_index(index) / "manifest.json").read_text())["generation"]
    assert answer["generation"].tolist() == [[generation], [generation]]
    tokenise, tower, search, execute, rows, queue = answer["timings_us"][0]
    assert (tokenise, tower, rows) == (-1, -1, 2)  # other models do the first two steps
    assert queue >= -1
    assert 0 < search < execute

    answer = ask(server, "product_index", inputs, outputs=["product_ids", "scores"], parameters={"top_k": 3})
    assert set(answer) == {"product_ids", "scores"}


def test_a_request_that_names_no_outputs_gets_all_of_them(server: Any, vectors: np.ndarray) -> None:
    # Triton defines this. A caller that needs only ids and scores must name these two.
    answer = ask(server, "product_index", {"embedding": vectors[:1]})
    assert set(answer) == set(CONTRACT["product_index"][1] | ON_REQUEST)


def test_embeddings_have_length_one_and_are_those_in_the_index(
    server: Any, products: list[dict[str, Any]], inputs: dict[str, Any], vectors: np.ndarray, product_ids: np.ndarray
) -> None:
    queries = ask(server, "embed_query", inputs["embed_query"])["embedding"]
    np.testing.assert_allclose(np.linalg.norm(queries, axis=1), 1, atol=1e-5)
    some = products[:8]
    given = {
        "title": texts(*(product["title"] for product in some)),
        "image": texts(*(product["image"] for product in some)),
    }
    embeddings = ask(server, "embed_product", given)["embedding"]
    np.testing.assert_allclose(np.linalg.norm(embeddings, axis=1), 1, atol=1e-5)
    rows = [int(np.flatnonzero(product_ids == product["product_id"])[0]) for product in some]
    np.testing.assert_allclose(embeddings, vectors[rows], atol=1e-5)


def test_modality_weights_sum_to_one_and_an_absent_modality_has_weight_zero(
    server: Any, inputs: dict[str, Any]
) -> None:
    weights = ask(server, "embed_product", inputs["embed_product"])["modality_weights"]
    np.testing.assert_allclose(weights.sum(axis=1), 1, atol=1e-5)
    title_only, photo_only, both = weights
    np.testing.assert_allclose(title_only, [1, 0], atol=1e-5)
    np.testing.assert_allclose(photo_only, [0, 1], atol=1e-5)
    assert (both > 0).all()


def _not_json(constant: str) -> float:
    raise ValueError(f"{constant} is not JSON")
