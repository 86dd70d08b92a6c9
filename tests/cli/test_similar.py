"""The same product at other suppliers, apart from similar ones: through the client and the command."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from shopwindow.retrieval.index.folder import IndexFolder, read_index
from shopwindow_client import Product, RetrievalClient, field
from tests.cli.command_line import fails, succeeds, tables


@pytest.fixture(scope="module")
def folder(index: Path) -> IndexFolder:
    return read_index(index)


@pytest.fixture(scope="module")
def trigger(shop: Path, folder: IndexFolder) -> dict[str, Any]:
    """A product that another supplier also sells. `same` is their product; it scores just above `threshold`."""
    pairs = [row for row in pq.read_table(shop / "same_style.parquet").to_pylist() if row["kind"] == "supplier"]
    rows = {row["product_id"]: row for row in pq.read_table(shop / "products.parquet").to_pylist()}
    place = {product: row for row, product in enumerate(folder.product_ids.tolist())}

    def cosine(pair: dict[str, Any]) -> float:
        one, other = (folder.vectors[place[pair[name]]] for name in ("trigger_id", "recall_id"))
        return float(one @ other)

    best = max(pairs, key=cosine)
    return {**rows[best["trigger_id"]], "same": best["recall_id"], "threshold": round(cosine(best) - 0.01, 3)}


def test_a_served_reply_splits_into_the_same_product_elsewhere_and_similar_ones(
    served: Any, trigger: dict[str, Any], shop: Path, folder: IndexFolder
) -> None:
    rows = pq.read_table(shop / "products.parquet", columns=["product_id", "supplier"]).to_pylist()
    supplier = {row["product_id"]: row["supplier"] for row in rows}
    product, threshold = Product(trigger["title"], trigger["image"]), trigger["threshold"]
    with RetrievalClient(served.grpc_url, timeout_s=60.0) as client:
        found = client.retrieve_similar(product, top_k=40)
        others = client.retrieve_similar(product, top_k=40, filter=field("supplier") != trigger["supplier"])
    cosines = folder.vectors @ folder.vectors[folder.product_ids == trigger["product_id"]][0]

    same, similar = found.without(trigger["product_id"]).split(threshold)
    expected = {int(i) for i in folder.product_ids[cosines >= threshold + 1e-4]} - {trigger["product_id"]}
    assert trigger["same"] in expected <= set(same[0].ids.tolist())
    assert (similar[0].scores < threshold).all()
    assert len(same[0]) + len(similar[0]) == 39
    assert trigger["product_id"] not in [*same[0].ids, *similar[0].ids]

    same, similar = others.split(threshold)
    assert set(same[0].ids.tolist()) >= {i for i in expected if supplier[i] != trigger["supplier"]} >= {trigger["same"]}
    assert trigger["supplier"] not in {supplier[i] for i in [*same[0].ids.tolist(), *similar[0].ids.tolist()]}
    assert len(same[0]) + len(similar[0]) == 40


def test_similar_prints_both_lists_without_the_supplier_and_without_the_product(
    served: Any, trigger: dict[str, Any], index: Path, tmp_path: Path
) -> None:
    photo = tmp_path / "photo.jpg"
    photo.write_bytes(trigger["image"])
    asked = ("--image", photo, "--title", trigger["title"], "--url", served.grpc_url, "--index", index, "--top-k", 12)
    names = [f"photo.jpg + “{trigger['title']}”: {which}" for which in ("the same product", "similar products")]
    with RetrievalClient(served.grpc_url, timeout_s=60.0) as client:
        product, others = Product(trigger["title"], trigger["image"]), field("supplier") != trigger["supplier"]
        expected = {
            "--supplier": client.retrieve_similar(product, top_k=12, filter=others & (field("price") > 0))[0],
            "--without": client.retrieve_similar(product, top_k=13).without(trigger["product_id"])[0],
        }
    supplier = (trigger["supplier"], "--supplier-column", "supplier", "--filter", '{"price": {"gt": 0}}')
    for option, values in (("--supplier", supplier), ("--without", (trigger["product_id"],))):
        printed = tables(succeeds("similar", *asked, "--same", trigger["threshold"], option, *values))
        assert [name for name in printed if not name.startswith("  nothing")] == names
        lists = [[product for _, product, *_ in printed[name]] for name in names]
        assert lists[0] + lists[1] == expected[option].ids.tolist()
        assert len(lists[0]) == np.count_nonzero(expected[option].scores >= trigger["threshold"])
        assert trigger["product_id"] not in lists[0] + lists[1]
    assert trigger["same"] in lists[0]


def test_an_invalid_filter_is_a_one_line_error(served: Any, trigger: dict[str, Any]) -> None:
    asked = ("--title", trigger["title"], "--url", served.grpc_url, "--supplier", 17)
    assert "filter: not valid JSON" in fails("similar", *asked, "--filter", "{price")
    assert "supplier_id" in fails("similar", *asked)  # the shop has no such column, and the server says so
