"""Same-style directions, on embeddings whose neighbours are known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from shopwindow.retrieval.duplicates.labelled_pairs import read_pairs
from shopwindow.towers.evaluation.same_style import same_style_of, same_style_table, score_direction
from shopwindow.towers.judging.corpus import Forms
from shopwindow.towers.judging.metrics import Estimate

IDS = np.array([1, 2, 3, 4])


def on_circle(*degrees: float) -> np.ndarray:
    angles = np.radians(degrees)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)


def test_a_trigger_finds_its_partner_and_not_itself() -> None:
    table = on_circle(0, 5, 90, 97)
    scores = score_direction(table, table, IDS, {1: {2}, 3: {4}, 2: {4}})
    # from product 2 at 5 degrees: 1 at distance 5, 3 at 85, 4 at 92
    assert scores["MRR"] == pytest.approx([1.0, 1.0, 1 / 3])
    assert scores["R@1"].tolist() == [1.0, 1.0, 0.0]
    assert scores["R@5"].tolist() == [1.0, 1.0, 1.0]


def test_the_first_of_several_answers_counts() -> None:
    table = on_circle(0, 5, 90, 97)
    assert score_direction(table, table, IDS, {1: {3, 4}})["MRR"] == pytest.approx([0.5])


def test_each_direction_uses_one_form_for_the_trigger_and_one_for_the_catalogue() -> None:
    photos, titles, both = on_circle(0, 5, 90, 97), on_circle(5, 180, 0, 90), on_circle(0, 90, 5, 180)
    forms = Forms(m=both, t=titles, i=photos, weights=np.zeros((4, 2), dtype=np.float32))
    rows = same_style_table(forms, IDS, {1: {2}}, seed=0).rows
    # product 1's photo is at 0, its title at 5, both at 0; its answer, product 2, is at 5, 180 and 90.
    expected = {
        "i-i": 1.0,  # 2 at 5, 3 at 90, 4 at 97
        "i-t": 1 / 3,  # 3 at 0, 4 at 90, 2 at 180
        "i-m": 1 / 2,  # 3 at 5, 2 at 90, 4 at 180
        "t-i": 1.0,  # 2 at 5
        "t-t": 1 / 3,
        "t-m": 1 / 2,
        "m-m": 1 / 2,
    }
    found = {row["direction"]: row["MRR"] for row in rows}
    assert {name: cell.mean for name, cell in found.items() if isinstance(cell, Estimate)} == pytest.approx(expected)


def test_a_trigger_without_the_needed_form_counts_as_a_miss() -> None:
    photos = on_circle(0, 5, 90, 97)
    photos[0] = 0
    scores = score_direction(photos, on_circle(0, 5, 90, 97), IDS, {1: {2}, 3: {4}})
    assert scores["MRR"].tolist() == [0.0, 1.0]


def test_pairs_with_unknown_products_or_with_themselves_are_left_out(tmp_path: Path) -> None:
    pairs = {"trigger_id": [1, 1, 2, 9, 3, 4], "recall_id": [2, 3, 9, 1, 3, 1], "kind": list("abcdef")}
    pq.write_table(pa.table(pairs), tmp_path / "same.parquet")
    assert same_style_of(read_pairs(tmp_path / "same.parquet"), IDS) == {1: {2, 3}, 4: {1}}
    pq.write_table(pa.table(pairs | {"label": [1, 0, 1, 1, 1, 1]}), tmp_path / "same.parquet")
    assert same_style_of(read_pairs(tmp_path / "same.parquet"), IDS) == {1: {2}, 4: {1}}
