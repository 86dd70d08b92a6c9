"""Mixes from YAML files, and the requests drawn from them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from shopwindow_loadtests import LoadTestOptions
from shopwindow_loadtests.scenario.mix import Mix, read_mix
from shopwindow_loadtests.sending.sender import Traffic

MIX = """
queries: queries.txt
products: products.parquet
zipf: 0.5
requests:
  - {kind: text, weight: 6}
  - {kind: text, weight: 2, batch: 4, filter: {price: {lt: 50}}, top_k: 20, effort: 3}
  - {kind: similar, weight: 1, batch: 2}
  - {kind: composed, weight: 1}
"""
WORDS = [f"query {rank}" for rank in range(30)]
PHOTOS = [f"photo {rank}".encode() for rank in range(20)]


@pytest.fixture
def mix(tmp_path: Path) -> Callable[[str], Mix]:
    (tmp_path / "queries.txt").write_text("\n".join(WORDS))
    table = {"title": [f"title {rank}" for rank in range(21)], "image": [*PHOTOS, None]}
    pq.write_table(pa.table(table), tmp_path / "products.parquet")

    def make(text: str) -> Mix:
        file = tmp_path / "mix.yaml"
        file.write_text(text)
        return read_mix(LoadTestOptions(mix=file, users=(1,), top_k=50))

    return make


def test_a_mix_is_read(mix: Callable[[str], Mix]) -> None:
    read = mix(MIX)
    names = ["text batch=1", "text+filter batch=4", "similar batch=2", "composed batch=1"]
    assert [request.name for request in read.requests] == names
    assert [request.top_k for request in read.requests] == [50, 20, 50, 50]
    assert (read.zipf, read.models) == (0.5, ["retrieve", "retrieve_similar"])


def test_requests_come_in_proportion_to_their_weights_with_the_right_content(mix: Callable[[str], Mix]) -> None:
    traffic = Traffic(mix(MIX), seed=1)
    drawn = [traffic.draw() for _ in range(4000)]
    counts = Counter(one.request.name for one in drawn)
    expected = np.array([2400, 800, 400, 400])
    observed = np.array([counts[request.name] for request in mix(MIX).requests])
    assert (np.abs(observed - expected) < 6 * np.sqrt(expected)).all()
    for one in drawn:
        if one.request.kind == "text":
            assert len(one.texts) == one.request.batch
            assert set(one.texts) <= set(WORDS)
            continue
        assert len(one.products) == one.request.batch
        for product in one.products:
            if one.request.kind == "composed":
                assert product.title in WORDS
            else:
                assert (product.title is None) == (product.image is not None)
            assert product.image is None or product.image in PHOTOS


def test_popular_queries_and_products_dominate(mix: Callable[[str], Mix]) -> None:
    traffic = Traffic(mix(MIX.replace("0.5", "1.5")), seed=2)
    drawn = [traffic.draw() for _ in range(4000)]
    words = Counter(text for one in drawn for text in one.texts)
    photos = Counter(product.image for one in drawn for product in one.products)
    assert words.most_common(1)[0][0] == WORDS[0]
    assert photos.most_common(1)[0][0] == PHOTOS[0]


def test_the_same_seed_draws_the_same_requests(mix: Callable[[str], Mix]) -> None:
    one, same, other = (Traffic(mix(MIX), seed=seed) for seed in (1, 1, 2))
    drawn = [one.draw() for _ in range(50)]
    assert drawn == [same.draw() for _ in range(50)]
    assert drawn != [other.draw() for _ in range(50)]


@pytest.mark.parametrize(
    ("before", "after", "named"),
    [
        ("kind: composed", "kind: photo", r"mix\.yaml: requests\[3\]: kind must be one of text, similar, composed"),
        ("weight: 6", "weight: -1", r"requests\[0\]: weight must be above 0, got -1"),
        ("batch: 4", "batch: four", r"requests\[1\]: batch must be a number of at least 1, got 'four'"),
        ("effort: 3", "speed: 3", "unknown key 'speed'; there are kind, weight"),
        ("zipf: 0.5", "zipf: -1", "zipf must be finite"),
        ("products.parquet", "none.parquet", "products must be a file for composed and similar"),
        ("queries: queries.txt", "", "queries must be a file for composed and text"),
        ("kind: composed, weight: 1", "kind: text, weight: 1", "two requests are both named 'text batch=1'"),
        ("requests:", "kinds:", "unknown key 'kinds'"),
    ],
)
def test_a_wrong_mix_is_refused_with_its_fault(mix: Callable[[str], Mix], before: str, after: str, named: str) -> None:
    assert before in MIX
    with pytest.raises(ValueError, match=named):
        mix(MIX.replace(before, after))


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (b"no parquet", r"products\.parquet must be a parquet file: "),
        ({"name": ["mug"]}, r"products\.parquet must have a column 'title' or 'image', it has name"),
        ({"title": pa.array([None], pa.string())}, r"products\.parquet holds no product with a title or an image"),
        ({"title": pa.array([], pa.string())}, r"products\.parquet holds no product with a title or an image"),
    ],
)
def test_a_file_that_holds_no_products_is_refused_by_name(
    mix: Callable[[str], Mix], tmp_path: Path, content: Any, named: str
) -> None:
    file = tmp_path / "products.parquet"
    if isinstance(content, bytes):
        file.write_bytes(content)
    else:
        pq.write_table(pa.table(content), file)
    with pytest.raises(ValueError, match=named):
        Traffic(mix(MIX), seed=1)
