"""shopwindow evaluate and shopwindow index: their figures and their files."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from shopwindow.retrieval import InProcessPipeline
from shopwindow.retrieval.index.home import resolve_index
from tests.cli.command_line import fails, shopwindow, succeeds


def test_evaluate_prints_the_figures_that_the_formulas_give(
    repository: Path, index: Path, pipeline: InProcessPipeline, shop: Path, tmp_path: Path
) -> None:
    queries = pq.read_table(shop / "queries.parquet").select(["query_id", "text"]).to_pylist()[:40]
    qrels = pq.read_table(shop / "qrels.parquet").select(["query_id", "product_id", "relevance"]).to_pylist()
    queries.append({"query_id": 10**6, "text": "nobody judged this one"})
    qrels += [{"query_id": queries[0]["query_id"], "product_id": 5, "relevance": 1}]  # not in the index
    found = pipeline.retrieve(["nobody judged this one"], top_k=1).product_ids[0, 0]
    qrels += [{"query_id": 10**6, "product_id": int(found), "relevance": 0}]
    for name, rows in (("queries", queries), ("qrels", qrels)):
        pq.write_table(pa.Table.from_pylist(rows), tmp_path / f"{name}.parquet")

    gains, recalls = [], []
    for query in queries[:-1]:
        relevant = {row["product_id"] for row in qrels if row["query_id"] == query["query_id"]}
        ranked = pipeline.retrieve([query["text"]], top_k=100).product_ids[0].tolist()
        gain = sum(1 / math.log2(place + 1) for place, product in enumerate(ranked[:10], 1) if product in relevant)
        best = sum(1 / math.log2(place + 1) for place in range(1, min(10, len(relevant)) + 1))
        gains.append(gain / best)
        recalls.append(sum(product in relevant for product in ranked) / len(relevant))

    files = ("--queries", tmp_path / "queries.parquet", "--qrels", tmp_path / "qrels.parquet")
    printed = succeeds("evaluate", "--repository", repository, "--index", index, "--out", tmp_path, *files)
    figures = re.fullmatch(
        r"40 judged queries over 900 products: nDCG@10 (\d\.\d{4}), recall@100 (\d\.\d{4})\n", printed
    )
    assert figures, printed
    assert float(figures[1]) == pytest.approx(sum(gains) / 40, abs=6e-5)
    assert float(figures[2]) == pytest.approx(sum(recalls) / 40, abs=6e-5)


def test_evaluate_says_how_many_relevant_products_the_index_lacks(
    repository: Path, index: Path, products: dict[int, dict[str, Any]], tmp_path: Path
) -> None:
    known, unknown = next(iter(products)), 10**12
    pq.write_table(pa.table({"query_id": [1, 2], "text": ["red mug", "lamp"]}), tmp_path / "queries.parquet")
    files = ("--queries", tmp_path / "queries.parquet", "--qrels", tmp_path / "qrels.parquet")
    options = ("--repository", repository, "--index", index, "--out", tmp_path, *files)

    def judge(*ids: int) -> None:
        qrels = {"query_id": [1, 2], "product_id": ids, "relevance": [1, 1]}
        pq.write_table(pa.table(qrels), tmp_path / "qrels.parquet")

    judge(known, unknown)
    done = shopwindow("evaluate", *options)
    assert done.code == 0
    said = f"qrels: 1 of 2 relevant products (50%), such as {unknown}, are not in the index"
    assert [line for line in done.stderr.splitlines() if line.startswith(said)]
    judge(unknown, unknown)
    assert "none of the 1 relevant products, such as 1000000000000, is in the index" in fails("evaluate", *options)


def test_index_lists_the_rows_it_skipped(repository: Path, products: dict[int, dict[str, Any]], tmp_path: Path) -> None:
    good = list(products.values())[:8]
    rows = [{name: product[name] for name in ("product_id", "title", "image", "colour")} for product in good]
    rows[2:2] = [
        {"product_id": None, "title": "no id", "image": None, "colour": "red"},
        {"product_id": 7, "title": "", "image": b"\xff\xd8 not a photo", "colour": "red"},
        {"product_id": 8, "title": "", "image": b"", "colour": "red"},
    ]
    rows.append({**rows[0], "title": "seen before"})
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "catalogue.parquet")
    out = tmp_path / "index"
    printed = succeeds("index", "--catalog", tmp_path / "catalogue.parquet", "--repository", repository, "--out", out)
    assert "indexed 8 products" in printed
    folder = resolve_index(out)
    assert f"skipped 4 rows, listed with reasons in {folder / 'skipped.csv'}" in printed
    listed = [line.split(",", 2) for line in (folder / "skipped.csv").read_text().splitlines()]
    assert [line[:2] for line in listed] == [
        ["row", "product_id"],
        ["2", ""],
        ["3", "7"],
        ["4", "8"],
        ["11", str(rows[0]["product_id"])],
    ]
    for (_, _, reason), words in zip(
        listed[1:], ("is missing", "not a readable", "at least one", "twice"), strict=True
    ):
        assert words in reason
    np.testing.assert_array_equal(np.load(folder / "product_ids.npy"), [product["product_id"] for product in good])
