"""The same shop with whole numbers and with texts as ids: real servers give the same products in the same order."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tritonclient.grpc as grpcclient

from shopwindow.indexing.full_build.run import build_index
from shopwindow.retrieval import InProcessPipeline
from shopwindow.server import ServerOptions, TritonServer
from shopwindow_client import InProcess, InvalidRequest, Like, Results, RetrievalClient

QUERIES = ["red floral dress", "navy trainers", "white mug"]


@pytest.fixture(scope="module")
def text_index(repository: Path, shop: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("text")
    table = pq.read_table(shop / "products.parquet")
    skus = pa.array([f"sku-{product}" for product in table["product_id"].to_pylist()])
    pq.write_table(table.set_column(table.column_names.index("product_id"), "product_id", skus), folder / "p.parquet")
    build_index(folder / "p.parquet", repository, folder / "index", progress=False)
    return folder / "index"


@pytest.fixture(scope="module", params=["cpu", "cpu-ensemble"])
def served_texts(repository: Path, text_index: Path, request: pytest.FixtureRequest) -> Iterator[TritonServer]:
    ports = {"http_port": 0, "grpc_port": 0, "metrics_port": 0}
    options = ServerOptions(repository=repository, index=text_index, profile=request.param, host="127.0.0.1", **ports)
    with TritonServer(options) as server:
        yield server


def searches(client: RetrievalClient) -> list[Results]:
    cheap = {"filter": {"price": {"lt": 0.5}}}
    return [
        client.retrieve(QUERIES, top_k=20),
        client.retrieve(QUERIES, top_k=20, channels="embedding,lexical"),
        client.retrieve(QUERIES[0], top_k=20, channels="lexical"),
        client.retrieve(QUERIES[1], top_k=5, **cheap),  # padding
        client.retrieve_similar(title="white mug", top_k=20),
        client.retrieve_by_embedding(client.embed_query(QUERIES), top_k=20, min_score=0.4),
    ]


def test_text_ids_come_back_from_every_search_and_in_process(
    served_texts: TritonServer, pipeline: InProcessPipeline, repository: Path, text_index: Path
) -> None:
    with (
        RetrievalClient(InProcess(pipeline)) as numbers,
        RetrievalClient(served_texts.grpc_url, timeout_s=30) as texts,
        RetrievalClient(InProcess(InProcessPipeline(repository, text_index))) as here,
    ):
        for expected, found, twin in zip(searches(numbers), searches(texts), searches(here), strict=True):
            assert expected.keys is None and found.keys is not None
            assert [[f"sku-{product}" for product, _ in row] for row in expected] == [row.products for row in found]
            assert found.keys.tolist() == twin.keys.tolist() if twin.keys is not None else False
            np.testing.assert_array_equal(found.keys == "", found.ids == -1)
            np.testing.assert_allclose(found.scores, expected.scores, atol=1e-5)
        one = texts.retrieve(QUERIES[0], top_k=3)
        assert one.without(one[0].products[0])[0].products == one[0].products[1:]
        assert one.to_list()[0][0]["product_id"] == one[0].products[0]


def pages(client: RetrievalClient, liked: list[Any]) -> list[Results]:
    page = {"top_k": 20, "fields": ["title", "price"], "total": True, "collapse": {"by": "style", "members": 3}}
    return [
        client.retrieve(QUERIES, facets={"colour": 5, "price": {"ranges": [None, 30, None]}}, **page),
        client.retrieve_similar(title="white mug", **page),
        client.retrieve_like(Like(liked, weights=[1, 0.5]), **page),
        client.retrieve_like(liked[0], top_k=5, offset=5),
    ]


def test_pages_and_products_to_be_like_have_text_ids(
    served_texts: TritonServer, pipeline: InProcessPipeline, repository: Path, text_index: Path
) -> None:
    with (
        RetrievalClient(InProcess(pipeline)) as numbers,
        RetrievalClient(served_texts.grpc_url, timeout_s=30) as texts,
        RetrievalClient(InProcess(InProcessPipeline(repository, text_index))) as here,
    ):
        liked = numbers.retrieve(QUERIES[0], top_k=2)[0].products
        skus = [f"sku-{product}" for product in liked]
        for expected, found, twin in zip(pages(numbers, liked), pages(texts, skus), pages(here, skus), strict=True):
            for row, served, in_process in zip(expected, found, twin, strict=True):
                assert served.products == in_process.products == [f"sku-{product}" for product in row.products]
                assert served.attributes == in_process.attributes == row.attributes
                assert (served.total, served.facets) == (in_process.total, in_process.facets) == (row.total, row.facets)
                if row.group_members is not None:
                    members = [[f"sku-{one}" for one in group] for group in row.group_members]
                    assert served.group_members == in_process.group_members == members
        with pytest.raises(InvalidRequest, match=r"like\[0\]\.ids: this index has no product 'sku-none'"):
            texts.retrieve_like("sku-none")
        with pytest.raises(InvalidRequest, match=r"like\[0\]\.ids: the ids of this index are texts, got 7"):
            texts.retrieve_like(7)


@pytest.mark.parametrize("profile", ["served", "served_ensemble"])
def test_an_index_with_whole_numbers_answers_with_no_columns(profile: str, request: pytest.FixtureRequest) -> None:
    server: TritonServer = request.getfixturevalue(profile)
    query = grpcclient.InferInput("query", [2, 1], "BYTES")
    query.set_data_from_numpy(np.array([[b"red dress"], [b"mug"]], np.object_))
    outputs = [grpcclient.InferRequestedOutput(name) for name in ("product_ids", "product_keys")]
    with grpcclient.InferenceServerClient(server.grpc_url) as client:
        for asked in (outputs, None):  # None: all outputs
            reply = client.infer("retrieve", [query], outputs=asked)
            assert reply.get_output("product_keys").shape == [2, 0]
            assert reply.as_numpy("product_ids").shape == (2, 100)
    with RetrievalClient(server.grpc_url) as client:
        found = client.retrieve(["red dress", "mug"])
        assert found.keys is None and isinstance(found[0].products[0], int)
