"""Queries follow Zipf's law and are the same for the same seed."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

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
    # The standard deviation is about the square root of the expected count. Allow six of them for all 50 ranks.
    assert (np.abs(observed - expected) < 6 * np.sqrt(expected)).all()


def test_the_same_seed_draws_the_same_queries_in_any_batch_size() -> None:
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


def test_a_parquet_file_is_known_by_its_content_too(tmp_path: Path) -> None:
    file = tmp_path / "queries.pq"
    pq.write_table(pa.table({"text": pa.array(["mug", "cup", "mug"]).dictionary_encode()}), file)
    assert read_queries(file) == ["mug", "cup"]


@pytest.mark.parametrize(
    ("name", "content", "named"),
    [
        ("queries.txt", b"\n \n", r"queries\.txt holds no query"),
        ("queries.txt", b"", r"queries\.txt holds no query"),
        (
            "queries.txt",
            b"\xff\xfe\x00",
            r"queries\.txt must be a UTF-8 text file with one query per line, or",
        ),
        ("queries.txt", b"mug\0\ncup\n", r"queries\.txt must be a UTF-8 text file .*: line 1 has a NUL"),
        (
            "queries.txt",
            b"\xef\xbb\xbfquery_id,text\n1,red mug\n",
            r"looks like CSV \(its first line is 'query_id,text'",
        ),
        ("queries.txt", b"text\nred mug\n", r"looks like CSV \(its first line is 'text'"),
        ("queries.txt", b"1\tred mug\n2\tcup\n", r"looks like CSV \(all 2 lines have 1 '\\t'"),
        ("queries.txt", b"7,mug\n8,cup\n9,jar\n", r"looks like CSV \(all 3 lines have 1 ','\), and its lines would be"),
        ("queries.csv", b"red mug,3\ncup\n", r"looks like CSV \(by its name"),
        ("queries.txt", b'{"text": "mug"}\n{"text": "cup"}\n', r"looks like JSON"),
        ("queries.txt", b'[\n{"text": "mug"}]\n', r"looks like JSON"),
        ("queries.parquet", b"red dress", r"queries\.parquet is not a parquet file, it begins with 'red dress'; write"),
        ("queries.parquet", b"", r"queries\.parquet is not a parquet file, it is empty"),
        ("queries.parquet", b"PAR1 and no more", r"queries\.parquet is damaged"),
        ("queries.parquet", {"query": ["mug"]}, r"queries\.parquet has no column 'text' \(texts\); it has \['query'\]"),
        ("queries.parquet", {"text": [1, 2]}, r"queries\.parquet: column 'text' must hold texts, got whole numbers"),
        ("queries.parquet", {"text": pa.array([], pa.string())}, r"queries\.parquet has no row"),
        ("queries.parquet", {"text": [" ", None]}, r"queries\.parquet holds no query"),
    ],
)
def test_a_file_that_holds_no_queries_is_refused_by_name(tmp_path: Path, name: str, content: Any, named: str) -> None:
    file = tmp_path / name
    if isinstance(content, bytes):
        file.write_bytes(content)
    else:
        pq.write_table(pa.table(content), file)
    with pytest.raises(ValueError, match=named) as refused:
        read_queries(file)
    assert len(str(refused.value).splitlines()) == 1


def test_queries_with_commas_are_no_table(tmp_path: Path) -> None:
    file = tmp_path / "queries.txt"
    file.write_text("dress, red\nmug\nchair, oak, small\n[new] boots\n")
    assert read_queries(file) == ["dress, red", "mug", "chair, oak, small", "[new] boots"]


def test_a_folder_of_queries_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is a folder; give one file"):
        read_queries(tmp_path)
