"""Result pages from a real gRPC server: what passes, and what cannot be true. Every such reply is a ServerFault."""

from __future__ import annotations

import json
from typing import Any

import grpc
import numpy as np
import pytest
from tritonclient.grpc import service_pb2

from shopwindow_client import GenerationGone, RetrievalClient, Retry, ServerFault
from tests.client.sending.false_server import false_server, message, refusing, results

INF = np.inf
IDS, SCORES = [[7, 8, -1]], [[0.9, 0.8, -INF]]
ASKED: dict[str, Any] = {
    "top_k": 3,
    "fields": ["title", "price"],
    "total": True,
    "facets": {"colour": 9, "price": {"ranges": [0, None]}},
    "collapse": {"by": "style", "members": 2},
    "offset": 3,
}
MUG = '{"title": "A [mug], \\"red\\"", "price": 7.5}'
COLOURS = {"colour": [{"value": "red", "count": 2}], "price": [{"from": 0, "to": None, "count": 0}]}


def texts(*values: str) -> np.ndarray:
    return np.array([[value.encode() for value in values]], np.object_)


def page(ids: Any = None, scores: Any = None, **others: Any) -> bytes:
    """Make the reply to ASKED, with other outputs in place of the true ones."""
    outputs: dict[str, Any] = {
        "attributes": texts(MUG, '{"title": "größe", "price": null}', ""),
        "total": np.array([[5]], np.int64),
        "facets": texts(json.dumps(COLOURS)),
        "group_sizes": np.array([[3, 1, 0]], np.int64),
        "group_members": texts("[7, 9]", "[8]", ""),
        "generation": np.array([[12]], np.int64),
    }
    return results(IDS if ids is None else ids, SCORES if scores is None else scores, **{**outputs, **others})


def ask(reply: bytes, **options: Any) -> Any:
    with false_server(reply) as url, RetrievalClient(url, timeout_s=30.0) as client:
        return client.retrieve("mug", **{**ASKED, **options})


def test_a_page_comes_as_python_values() -> None:
    found = ask(page())
    (row,) = found
    assert row.attributes == [{"title": 'A [mug], "red"', "price": 7.5}, {"title": "größe", "price": None}]
    assert found.attributes.tolist() == [[*row.attributes, None]]
    assert found.group_members.tolist() == [[[7, 9], [8], None]]
    assert found.group_sizes.tolist() == [[3, 1, 0]]
    assert (row.total, row.facets, row.generation) == (5, COLOURS, 12)
    assert list(row.facets) == ["colour", "price"]


def test_a_total_that_the_server_cannot_count_is_none() -> None:
    found = ask(page(total=np.array([[-1]], np.int64)))
    assert (found.total.tolist(), found[0].total) == ([-1], None)
    assert "total" not in found[0].to_dict()


@pytest.mark.parametrize(
    "order", [{"sort": {"by": "price", "among": 9}}, {"diversity": 0.5}, {"boost": [{"column": "price", "add": 1}]}]
)
def test_scores_may_rise_only_where_the_order_may_be_another(order: dict[str, Any]) -> None:
    def ask_for(reply: bytes, **options: Any) -> Any:
        bare = dict.fromkeys(("fields", "facets", "collapse", "offset"))
        return ask(reply, total=False, **bare, **options)

    rising = results([[7, 8, 9]], [[0.7, 0.9, 0.8]])
    assert ask_for(rising, **order).ids.tolist() == [[7, 8, 9]]
    with pytest.raises(ServerFault, match="scores that rise"):
        ask_for(rising)
    for untrue in ([[0.7, np.nan, 0.8]], [[0.7, INF, 0.8]], [[0.7, -INF, 0.8]]):
        with pytest.raises(ServerFault, match="scores"):
            ask_for(results([[7, 8, 9]], untrue), **order)
    with pytest.raises(ServerFault, match="padding before products"):
        ask_for(results([[7, -1, 9]], [[0.7, -INF, 0.8]]), **order)


UNTRUE = {
    "half an object": ({"attributes": texts(MUG, "{", "")}, "text that is no JSON in attributes"),
    "two objects": ({"attributes": texts(MUG, f"{MUG}, {MUG}", "")}, "text that is no JSON in attributes"),
    "not a number": ({"attributes": texts(MUG, '{"title": "", "price": NaN}', "")}, "no JSON in attributes"),
    "deep": ({"attributes": texts(MUG, "[" * 10**6, "")}, "no JSON in attributes"),
    "other columns": ({"attributes": texts(MUG, '{"title": "mug", "cost": 1}', "")}, "other columns than"),
    "columns in another order": ({"attributes": texts(MUG, '{"price": 1, "title": "mug"}', "")}, "other columns"),
    "a list": ({"attributes": texts(MUG, "[1, 2]", "")}, "other columns than"),
    "attributes of nothing": ({"attributes": texts(MUG, MUG, MUG)}, "texts without products"),
    "a product without": ({"attributes": texts(MUG, "", "")}, "products without texts"),
    "attributes of fewer": ({"attributes": texts(MUG, MUG)}, r"of 3 columns with shape \(1, 2\) in attributes"),
    "no attributes": ({"attributes": np.zeros((1, 3), np.int64)}, "of BYTES with INT64 in attributes"),
    "total of fewer": ({"total": np.array([[1]], np.int64)}, "less than the products found in total"),
    "total below -1": ({"total": np.array([[-2]], np.int64)}, "less than the products found in total"),
    "totals": ({"total": np.array([[5, 5]], np.int64)}, r"shape \(1, 2\) in total"),
    "an empty group": ({"group_sizes": np.array([[3, 0, 0]], np.int64)}, "groups without products"),
    "a group below 0": ({"group_sizes": np.array([[3, -1, 0]], np.int64)}, "groups without products"),
    "a group of nothing": ({"group_sizes": np.array([[3, 1, 1]], np.int64)}, "groups without products"),
    "too many members": ({"group_members": texts("[7, 9, 10]", "[8]", "")}, "no members of groups"),
    "more members than the group": ({"group_members": texts("[7]", "[8, 9]", "")}, "no members of groups"),
    "members that are no ids": ({"group_members": texts("[7, 1.5]", "[8]", "")}, "no members of groups"),
    "an empty text": ({"facets": texts("")}, "texts without products, or products without texts, in facets"),
    "facets of others": ({"facets": texts('{"colour": []}')}, "no facets in facets"),
    "facets without counts": ({"facets": texts('{"colour": [{"value": 1}], "price": []}')}, "no facets in facets"),
}


@pytest.mark.parametrize(("outputs", "named"), UNTRUE.values(), ids=UNTRUE)
def test_pages_that_cannot_be_true_are_a_fault_of_the_server(outputs: dict[str, Any], named: str) -> None:
    with pytest.raises(ServerFault, match=named):
        ask(page(**outputs))


def test_the_parts_of_a_long_call_are_joined_row_by_row() -> None:
    config = service_pb2.ModelConfigResponse()
    config.config.max_batch_size = 1

    def answer(request: Any, context: Any) -> bytes:
        number = int(request.id.rpartition("-")[2])
        facets = {"colour": [{"value": "red", "count": number}], "price": []}
        return page(
            facets=texts(json.dumps(facets)),
            total=np.array([[10 + number]], np.int64),
            generation=np.array([[20 + number]], np.int64),
        )

    with false_server(answer, config=config) as url, RetrievalClient(url, timeout_s=30.0) as client:
        rows = list(client.retrieve(["mug", "dress", "bag"], **ASKED))
    assert [row.total for row in rows] == [10, 11, 12]
    assert [row.generation for row in rows] == [20, 21, 22]
    assert [row.facets["colour"][0]["count"] for row in rows if row.facets] == [0, 1, 2]
    assert all(row.attributes and row.attributes[0]["price"] == 7.5 for row in rows)


def test_a_generation_that_is_gone_says_what_to_do_and_is_not_tried_again() -> None:
    said = "generation: 12 is not served here, but 13 is; start again from the first page, without generation"
    asked: list[int] = []

    def answer(request: Any, context: Any) -> bytes:
        asked.append(request.parameters["generation"].int64_param)
        return refusing(grpc.StatusCode.NOT_FOUND, said)(request, context)

    with (
        false_server(answer) as url,
        RetrievalClient(url, retry=Retry(first_pause_s=0.0)) as client,
        pytest.raises(GenerationGone, match=r"but 13 is; start again from the first page") as error,
    ):
        client.retrieve("mug", generation=12, timeout_s=30.0)
    assert (asked, error.value.retryable) == ([12], False)


def test_products_to_search_with_are_sent_without_an_embedding() -> None:
    sent: list[Any] = []

    def answer(request: Any, context: Any) -> bytes:
        sent.append(request)
        return message(product_ids=np.array([[1]]), scores=np.array([[0.5]], np.float32)).SerializeToString()

    with false_server(answer) as url, RetrievalClient(url, timeout_s=30.0) as client:
        assert client.retrieve_like([7, 9], top_k=1).ids.tolist() == [[1]]
    (request,) = sent
    assert request.model_name == "product_index"
    assert [(tensor.name, list(tensor.shape)) for tensor in request.inputs] == [("like", [1, 1])]
    assert json.loads(request.raw_input_contents[0][4:]) == {"ids": [7, 9]}
