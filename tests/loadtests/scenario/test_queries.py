"""Queries follow Zipf's law and are the same for the same seed."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from shopwindow_loadtests.scenario.queries import ZipfSampler, read_queries

QUERIES = [f"query {rank}" for rank in range(1, 51)]


@pytest.mark.parametrize("exponent", [0.0, 0.7, 1.0, 1.5])
def test_frequencies_follow_the_law(exponent: float) -> None:
    draws = 200_000
    counts = Counter(ZipfSampler(QUERIES, exponent=exponent, seed=3).draw(draws))
    law = np.arange(1, 51) ** -exponent
    expected = draws * law / law.sum()
    observed = np.array([counts[query] for query in QUERIES])
    # The square root of the expected count is its standard deviation, near enough: six of them for all 50 ranks.
    assert (np.abs(observed - expected) < 6 * np.sqrt(expected)).all()


def test_the_seed_decides_the_draw_however_it_is_cut() -> None:
    whole = ZipfSampler(QUERIES, exponent=1.0, seed=7).draw(100)
    sampler = ZipfSampler(QUERIES, exponent=1.0, seed=7)
    assert [query for _ in range(10) for query in sampler.draw(10)] == whole
    assert ZipfSampler(QUERIES, exponent=1.0, seed=8).draw(100) != whole


def test_a_single_query_is_always_drawn() -> None:
    assert ZipfSampler(["only"], exponent=1.0, seed=0).draw(3) == ["only"] * 3


def test_text_and_parquet_files_give_distinct_queries_in_order(tmp_path: Path) -> None:
    text = tmp_path / "queries.txt"
    text.write_text("red dress\n\n  größe 38 \nred dress\nmug\n", encoding="utf-8")
    parquet = tmp_path / "queries.parquet"
    pq.write_table(pa.table({"text": ["red dress", None, "größe 38", "red dress", "mug"]}), parquet)
    assert read_queries(text) == read_queries(parquet) == ["red dress", "größe 38", "mug"]


def test_a_file_without_queries_is_refused(tmp_path: Path) -> None:
    empty = tmp_path / "queries.txt"
    empty.write_text("\n \n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"queries\.txt holds no query"):
        read_queries(empty)
    other = tmp_path / "queries.parquet"
    pq.write_table(pa.table({"query": ["mug"]}), other)
    with pytest.raises(ValueError, match="must have a column 'text', it has query"):
        read_queries(other)
