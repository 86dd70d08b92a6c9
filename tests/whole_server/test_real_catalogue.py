"""12,000 real products, indexed and served: the results are checked product by product."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from shopwindow.indexing.full_build.run import build_index
from shopwindow.retrieval.index.home import resolve_index
from shopwindow.server import ServerOptions, TritonServer
from shopwindow_client import Product, RetrievalClient
from tests.ranking import assert_is_exact_search

SEED = 12
SAMPLE = 200
ATTRIBUTES = ("gender", "master_category", "sub_category", "article_type", "base_colour", "season", "usage")


@pytest.fixture(scope="module")
def products(fashion: Path) -> list[dict[str, Any]]:
    return pq.read_table(fashion / "dev" / "products.parquet").to_pylist()


@pytest.fixture(scope="module")
def fashion_index(fashion: Path, repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fashion") / "index"
    build_index(fashion / "dev" / "products.parquet", repository, folder, progress=False)
    return folder


@pytest.fixture(scope="module")
def client(repository: Path, fashion_index: Path) -> Iterator[RetrievalClient]:
    options = ServerOptions(
        repository=repository, index=fashion_index, host="127.0.0.1", http_port=0, grpc_port=0, metrics_port=0
    )
    with TritonServer(options) as server, RetrievalClient(server.grpc_url, timeout_s=60.0) as client:
        yield client


@pytest.fixture(scope="module")
def vectors(fashion_index: Path) -> np.ndarray:
    return np.load(resolve_index(fashion_index) / "vectors.npy")


@pytest.fixture(scope="module")
def product_ids(fashion_index: Path) -> np.ndarray:
    return np.load(resolve_index(fashion_index) / "product_ids.npy")


@pytest.fixture(scope="module")
def queries(fashion: Path) -> list[str]:
    texts = pq.read_table(fashion / "dev" / "queries.parquet")["text"].to_pylist()
    return [texts[row] for row in np.random.default_rng(SEED).choice(len(texts), SAMPLE, replace=False)]


@pytest.fixture(scope="module")
def sampled(products: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [products[row] for row in np.random.default_rng(SEED).choice(len(products), SAMPLE, replace=False)]


def test_every_product_is_in_the_index_once(fashion_index: Path, products: list[Any], product_ids: np.ndarray) -> None:
    assert sorted(product_ids.tolist()) == sorted(product["product_id"] for product in products)
    manifest = json.loads((resolve_index(fashion_index) / "manifest.json").read_text())
    assert (manifest["count"], manifest["skipped"]) == (12_000, 0)
    assert (resolve_index(fashion_index) / "skipped.csv").read_text().splitlines() == ["row,product_id,reason"]


def test_the_manifest_states_a_recall_of_97_percent_or_more(fashion_index: Path) -> None:
    assert 0.97 <= json.loads((resolve_index(fashion_index) / "manifest.json").read_text())["recall_at_100"] <= 1


def test_a_product_s_own_photo_and_title_find_that_product_first(client: RetrievalClient, sampled: list[Any]) -> None:
    asked = [Product(title=product["title"], image=product["image"]) for product in sampled]
    first = client.retrieve_similar(asked, top_k=1).ids[:, 0]
    own = [product["product_id"] for product in sampled]
    assert np.mean(first == own) >= 0.95  # some products are in the catalogue twice, with the same photo and title


def test_words_find_what_exact_search_finds(
    client: RetrievalClient, queries: list[str], vectors: np.ndarray, product_ids: np.ndarray
) -> None:
    results = client.retrieve(queries)
    assert_is_exact_search(results.ids, results.scores, client.embed_query(queries), vectors, product_ids)


@pytest.mark.parametrize("given", ["title", "image"])
def test_photos_alone_and_titles_alone_find_what_exact_search_finds(
    client: RetrievalClient, sampled: list[Any], vectors: np.ndarray, product_ids: np.ndarray, given: str
) -> None:
    asked = [Product(**{given: product[given]}) for product in sampled[:60]]
    results = client.retrieve_similar(asked)
    assert_is_exact_search(results.ids, results.scores, client.embed_product(asked).embeddings, vectors, product_ids)


@pytest.mark.parametrize("attribute", ATTRIBUTES)
def test_a_filter_holds_for_every_result_and_drops_no_match(
    client: RetrievalClient,
    products: list[dict[str, Any]],
    queries: list[str],
    vectors: np.ndarray,
    product_ids: np.ndarray,
    attribute: str,
) -> None:
    value_of = {product["product_id"]: product[attribute] for product in products}
    values = np.array([value_of[product] for product in product_ids.tolist()], dtype=object)
    known = sorted({value for value in value_of.values() if value is not None})
    common = max(known, key=list(value_of.values()).count)
    for allowed in ([common], [known[0]], [known[0], known[-1], common]):
        condition = allowed[0] if len(allowed) == 1 else {"in": allowed}
        some = queries[:4]
        results = client.retrieve(some, top_k=100, filter={attribute: condition})
        for row in results:
            assert {value_of[product] for product in row.ids.tolist()} <= set(allowed)
        assert_is_exact_search(
            results.ids,
            results.scores,
            client.embed_query(some),
            vectors,
            product_ids,
            allowed=np.isin(values.astype(str), allowed),
        )


def test_filters_on_several_attributes_hold_together(
    client: RetrievalClient, products: list[dict[str, Any]], sampled: list[dict[str, Any]]
) -> None:
    by_id = {product["product_id"]: product for product in products}
    for product in sampled[:20]:
        conditions = {name: product[name] for name in ("gender", "base_colour", "master_category")}
        matching = {id for id, other in by_id.items() if all(other[name] == conditions[name] for name in conditions)}
        row = client.retrieve(product["title"], top_k=10_000, filter=conditions)[0]
        assert set(row.ids.tolist()) == matching
