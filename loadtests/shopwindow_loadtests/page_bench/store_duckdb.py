"""The page in DuckDB: one SQL statement for the products and one for each facet, exact, on one thread.

python -m shopwindow_loadtests.page_bench.store_duckdb PRODUCTS.parquet
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import duckdb
import numpy as np

from shopwindow_loadtests.page_bench.answering import Page, Question, serve

_DIM, _TOP_K, _BRANDS = 128, 48, 50
_TEXTS = ("colour", "brand", "style")  # as enumerations: DuckDB compares their numbers
_PRICES = ((0, 25), (25, 50), (50, 100), (100, None))

_HITS = f"""
WITH hits AS (
    SELECT product_id, style, array_inner_product(vector, ?::FLOAT[{_DIM}]) AS score
    FROM products WHERE in_stock AND price < ?
), best AS (
    SELECT arg_max(product_id, score) AS product_id, max(score) AS score, count(*) AS size FROM hits GROUP BY style
), page AS (
    SELECT *, count(*) OVER () AS total FROM best ORDER BY score DESC, product_id LIMIT {_TOP_K}
)
SELECT page.product_id, page.size, page.total, title, price, brand
FROM page JOIN products USING (product_id) ORDER BY page.score DESC, page.product_id
"""
# Each facet leaves out the filter's own condition on its column, and counts styles.
_FACETS = {
    "colour": "SELECT colour::VARCHAR AS value, count(DISTINCT style) AS count FROM products "
    "WHERE in_stock AND price < ? AND colour IS NOT NULL GROUP BY colour ORDER BY count DESC, value",
    "brand": "SELECT brand::VARCHAR AS value, count(DISTINCT style) AS count FROM products "
    f"WHERE in_stock AND price < ? AND brand IS NOT NULL GROUP BY brand ORDER BY count DESC, value LIMIT {_BRANDS}",
    "in_stock": "SELECT in_stock AS value, count(DISTINCT style) AS count FROM products "
    "WHERE price < ? GROUP BY in_stock ORDER BY count DESC, value",
    "sizes": "SELECT value, count(DISTINCT style) AS count FROM "
    "(SELECT style, unnest(sizes) AS value FROM products WHERE in_stock AND price < ?) "
    "GROUP BY value ORDER BY count DESC, value",
}
_RANGES = "SELECT {} FROM products WHERE in_stock".format(
    ", ".join(
        f"count(DISTINCT style) FILTER (WHERE price >= {low} AND price < {high or '1e999'})" for low, high in _PRICES
    )
)


def main(products: Path) -> None:
    """Load the products and answer."""
    database = duckdb.connect()
    database.execute("SET threads = 1")
    texts = ", ".join(f"{name}::{name}_enum AS {name}" for name in _TEXTS)
    for name in _TEXTS:
        values = f"SELECT DISTINCT {name} FROM '{products}' WHERE {name} IS NOT NULL ORDER BY {name}"
        database.execute(f"CREATE TYPE {name}_enum AS ENUM ({values})")
    database.execute(
        f"CREATE TABLE products AS SELECT * REPLACE ({texts}, vector::FLOAT[{_DIM}] AS vector) FROM '{products}'"
    )

    def page(vector: np.ndarray, question: Question) -> Page:
        hits = database.execute(_HITS, [vector, question.price_below]).fetchall()
        facets: dict[str, Any] = {}
        for name, statement in _FACETS.items():
            found = database.execute(statement, [question.price_below]).fetchall()
            facets[name] = [{"value": value, "count": count} for value, count in found]
        counts = database.execute(_RANGES).fetchall()[0]
        facets["price"] = [{"from": a, "to": b, "count": n} for (a, b), n in zip(_PRICES, counts, strict=True)]
        return Page(ids=[hit[0] for hit in hits], total=hits[0][2] if hits else 0, facets=facets)

    serve(page, f"DuckDB {duckdb.__version__}, exact, one thread")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
