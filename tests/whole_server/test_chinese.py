"""Queries in Chinese to a real server: both channels find products, whatever the language of their titles."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from shopwindow.demo_shop import chinese
from shopwindow_client import RetrievalClient


def asked_for(product: dict[str, Any]) -> str | None:
    """Return the colour and the article that a Chinese title names, without a space; None if it does not name both."""
    found = []
    for table, column in ((chinese.COLOURS, "colour"), (chinese.ARTICLES, "article")):
        named = [word for word in table[product[column]] if word in product["title"]]
        if not named:
            return None
        found.append(max(named, key=len))
    return "".join(found)


def test_chinese_queries_find_products_by_words_and_by_meaning(served: Any, shop: Path) -> None:
    columns = ["product_id", "title", "article", "colour"]
    products = {row["product_id"]: row for row in pq.read_table(shop / "products.parquet", columns=columns).to_pylist()}
    queries = {query: (row["colour"], row["article"]) for row in products.values() if (query := asked_for(row))}
    assert len(queries) > 60
    red_dresses = {key for key, row in products.items() if (row["colour"], row["article"]) == ("red", "dress")}
    with RetrievalClient(served.grpc_url) as client:
        for channel in ("embedding", "lexical"):
            (found,) = client.retrieve(["红色连衣裙"], top_k=10, channels=channel)
            assert red_dresses <= {int(key) for key in found.ids}, channel
            # By words a title may come first that shares a rare pair by chance, as 白色玩具车 does for 粉色玩具车.
            right = [
                wanted in [(products[int(key)]["colour"], products[int(key)]["article"]) for key in row.ids]
                for row, wanted in zip(
                    client.retrieve(list(queries), top_k=3, channels=channel), queries.values(), strict=True
                )
            ]
            assert np.mean(right) > 0.95, channel
        # By meaning, they find products with English titles too.
        found_ids = [int(key) for row in client.retrieve(list(queries), top_k=10) for key in row.ids]
    english = [key for key in found_ids if not re.search("[\u4e00-\u9fff]", products[key]["title"])]
    assert len(english) > 0.4 * len(found_ids)
