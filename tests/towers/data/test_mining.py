"""Mining click logs, on logs small enough to check by hand."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from shopwindow.towers.data.mining import (
    MinedPairs,
    MiningCatalog,
    keyword_sets,
    load_mining_catalog,
    mine_pairs,
    write_pairs,
)
from shopwindow.towers.data.mining_report import compare, summarise
from shopwindow.towers.data.mining_rules import MiningRules
from shopwindow.towers.data.training_data import Clicks, load_clicks


def clicks(**clicked: set[int]) -> Clicks:
    nothing: Any = np.zeros(0)
    return Clicks(queries=list(clicked), query=nothing, product=nothing, weight=nothing, clicked=list(clicked.values()))


LOG = clicks(mug={1, 2, 3, 4}, cup={1, 2, 3}, red_mug={1}, lamp={9}, light={8, 9})


def sets(**options: Any) -> dict[str, list[str]]:
    found = keyword_sets(LOG, **options)
    return {query: [LOG.queries[other] for other in others] for query, others in zip(LOG.queries, found, strict=True)}


def test_a_keyword_set_holds_queries_that_share_clicks_the_most_similar_first() -> None:
    # mug-cup 3 / sqrt(12) = 0.87, mug-red_mug 1 / 2, cup-red_mug 1 / sqrt(3) = 0.58, lamp-light 1 / sqrt(2) = 0.71.
    assert sets(min_similarity=0.4) == {
        "mug": ["cup", "red_mug"],
        "cup": ["mug", "red_mug"],
        "red_mug": ["cup", "mug"],
        "lamp": ["light"],
        "light": ["lamp"],
    }


def test_similarity_and_size_limit_a_set() -> None:
    found = sets(min_similarity=0.6)
    assert found == {"mug": ["cup"], "cup": ["mug"], "red_mug": [], "lamp": ["light"], "light": ["lamp"]}
    assert sets(min_similarity=0.4, max_queries=1)["red_mug"] == ["cup"]


def test_no_query_is_in_its_own_set() -> None:
    assert all(query not in others for query, others in sets(min_similarity=0.0).items())


PRODUCTS = [
    (10, "Red Mug", "mugs"),
    (11, "red mug large", "mugs"),
    (12, "tea cup", "mugs"),
    (13, "red mug", "lamps"),
    (14, None, "mugs"),
    (15, "red mug", None),
    (16, "red mug", None),
]


def load(folder: Path, *log: tuple[str, int, int], products: Any = PRODUCTS) -> tuple[MiningCatalog, Clicks]:
    """Write a catalogue and a click log of (query, product_id, count) to files, and read them as a user would."""
    rows = [{"product_id": number, "title": title, "leaf": leaf} for number, title, leaf in products]
    pq.write_table(pa.Table.from_pylist(rows), folder / "products.parquet")
    clicked = [{"query": query, "product_id": number, "count": count} for query, number, count in log]
    pq.write_table(pa.Table.from_pylist(clicked), folder / "clicks.parquet")
    catalog = load_mining_catalog(folder / "products.parquet", "leaf")
    return catalog, load_clicks(folder / "clicks.parquet", catalog)


def mined(catalog: MiningCatalog, pairs: MinedPairs) -> dict[tuple[int, int], tuple[int, float]]:
    ids = catalog.product_ids
    values = zip(ids[pairs.first], ids[pairs.second], pairs.queries, pairs.relevance, strict=True)
    return {(int(one), int(other)): (int(queries), float(relevance)) for one, other, queries, relevance in values}


def every_click(*products: int, queries: int = 2) -> list[tuple[str, int, int]]:
    return [(f"query {number}", product, 1) for number in range(queries) for product in products]


# Profiles over the queries (a, b): 10 is (2, 1), 11 is (1, 2), both of length sqrt(5): cosine 4 / 5.
# Titles: {red, mug} and {red, mug, large}: 2 / 3.
LOG_OF_TWO = [("a", 10, 4), ("b", 10, 1), ("a", 11, 1), ("b", 11, 4)]


@pytest.mark.parametrize(("share", "expected"), [(0.0, 0.8), (0.5, (0.8 + 2 / 3) / 2), (1.0, 2 / 3)])
def test_relevance_is_the_mean_of_click_cosine_and_title_overlap(tmp_path: Path, share: float, expected: float) -> None:
    catalog, clicks = load(tmp_path, *LOG_OF_TWO)
    found = mined(catalog, mine_pairs(catalog, clicks, MiningRules(title_share=share)))
    assert found == {(10, 11): (2, pytest.approx(expected, abs=1e-6))}


def test_counts_of_repeated_rows_are_added(tmp_path: Path) -> None:
    catalog, clicks = load(tmp_path, *LOG_OF_TWO[1:], ("a", 10, 1), ("a", 10, 3))
    found = mined(catalog, mine_pairs(catalog, clicks, MiningRules(title_share=0.0)))
    assert found == {(10, 11): (2, pytest.approx(0.8, abs=1e-6))}


def test_a_relevance_at_the_threshold_is_enough_but_not_below_it(tmp_path: Path) -> None:
    catalog, clicks = load(tmp_path, *LOG_OF_TWO)
    at = mine_pairs(catalog, clicks, MiningRules(title_share=0.0, relevance=0.8))
    above = mine_pairs(catalog, clicks, MiningRules(title_share=0.0, relevance=0.80001))
    assert (len(at.first), len(above.first)) == (1, 0)
    assert above.dropped["relevance below 0.80001"] == 1


@pytest.mark.parametrize(("least", "pairs"), [(1, 1), (2, 1), (3, 0)])
def test_a_pair_needs_at_least_min_queries_shared_queries(tmp_path: Path, least: int, pairs: int) -> None:
    catalog, clicks = load(tmp_path, *LOG_OF_TWO)
    found = mine_pairs(catalog, clicks, MiningRules(min_queries=least))
    assert len(found.first) == pairs
    assert found.dropped[f"under fewer than {least} queries"] == 1 - pairs


def test_products_of_different_or_unknown_categories_are_no_pair(tmp_path: Path) -> None:
    catalog, clicks = load(tmp_path, *every_click(10, 13, 15, 16))
    found = mine_pairs(catalog, clicks, MiningRules(relevance=0.0))
    assert mined(catalog, found) == {}
    assert (found.candidates, found.dropped["of another category"]) == (6, 6)


def test_without_a_title_the_relevance_is_that_of_the_clicks(tmp_path: Path) -> None:
    catalog, clicks = load(tmp_path, *every_click(12, 14))
    assert mined(catalog, mine_pairs(catalog, clicks, MiningRules(relevance=0.9))) == {(12, 14): (2, 1.0)}


def test_a_broad_query_makes_no_pairs_and_does_not_count_in_profiles(tmp_path: Path) -> None:
    # Three products were clicked for "all". If it counted, the cosine of 10 and 11 would change, and there would be
    # two more pairs.
    catalog, clicks = load(tmp_path, *LOG_OF_TWO, *[("all", number, 4) for number in (10, 11, 12)])
    rules = MiningRules(title_share=0.0, min_queries=1, relevance=0.0, broadest=2)
    found = mine_pairs(catalog, clicks, rules)
    assert mined(catalog, found) == {(10, 11): (2, pytest.approx(0.8, abs=1e-6))}
    assert found.broad_queries == 1
    assert len(mine_pairs(catalog, clicks, MiningRules(min_queries=1, relevance=0.0, broadest=3)).first) == 3


def test_a_product_keeps_only_its_most_relevant_partners(tmp_path: Path) -> None:
    # Relevance by titles: 1-2 1, then 1-3 and 2-3 2/3, then 3-4 1/4. With one partner each, 1-2 and 3-4 remain.
    products = [(1, "a b", "x"), (2, "a b", "x"), (3, "a b c", "x"), (4, "c d", "x")]
    catalog, clicks = load(tmp_path, *every_click(1, 2, 3, 4), products=products)
    found = mine_pairs(catalog, clicks, MiningRules(title_share=1.0, relevance=0.1, partners=1))
    assert mined(catalog, found) == {(1, 2): (2, 1.0), (3, 4): (2, 0.25)}
    assert found.dropped["more than 1 partners"] == 2


def test_the_order_of_the_log_does_not_change_the_pairs(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    products = [(number, f"mug {number % 4}", "x") for number in range(30)]
    log = [(f"query {rng.integers(20)}", int(rng.integers(30)), int(rng.integers(1, 9))) for _ in range(400)]
    rules = MiningRules(partners=3, relevance=0.2)

    def found(rows: list[tuple[str, int, int]]) -> dict[tuple[int, int], tuple[int, float]]:
        catalog, clicks = load(tmp_path, *rows, products=products)
        return mined(catalog, mine_pairs(catalog, clicks, rules))

    first = found(log)
    assert len(first) > 20
    assert found(log) == first == found([log[row] for row in rng.permutation(len(log))])


@pytest.mark.parametrize("log", [[("a", 10, 1)], every_click(10, 11, 12)], ids=["no co-click", "broad queries alone"])
def test_a_log_without_pairs_gives_an_empty_file(tmp_path: Path, log: list[tuple[str, int, int]]) -> None:
    catalog, clicks = load(tmp_path, *log)
    pairs = mine_pairs(catalog, clicks, MiningRules(broadest=2))
    write_pairs(tmp_path / "pairs.parquet", catalog, pairs)
    assert pq.read_table(tmp_path / "pairs.parquet").num_rows == 0
    assert "kept" in summarise(catalog, clicks, pairs, keyword_sets(clicks), 50)


def test_pairs_are_written_in_both_directions(tmp_path: Path) -> None:
    catalog, clicks = load(tmp_path, *LOG_OF_TWO)
    write_pairs(tmp_path / "new" / "pairs.parquet", catalog, mine_pairs(catalog, clicks, MiningRules(title_share=0.0)))
    rows = pq.read_table(tmp_path / "new" / "pairs.parquet").to_pylist()
    assert rows == [
        {"trigger_id": one, "recall_id": other, "queries": 2, "relevance": 0.8} for one, other in ((10, 11), (11, 10))
    ]


def test_precision_and_recall_count_each_pair_once(tmp_path: Path) -> None:
    catalog, clicks = load(tmp_path, *every_click(10, 11, 12))
    pairs = mine_pairs(catalog, clicks, MiningRules(relevance=0.0))  # 10-11, 10-12, 11-12
    labels = [(10, 11, 1), (11, 10, 1), (14, 12, 1), (10, 12, 0), (10, 10, 1), (10, 999, 1)]
    table = pa.table({name: [row[i] for row in labels] for i, name in enumerate(("trigger_id", "recall_id", "label"))})
    pq.write_table(table, tmp_path / "labels.parquet")
    agreement = compare(pairs, catalog, tmp_path / "labels.parquet")
    # Labelled: 10-11 and 12-14. Four products of the catalogue are mugs: 2 of their 6 pairs are labelled.
    assert (agreement.labelled, agreement.found, agreement.mined) == (2, 1, 3)
    assert (agreement.precision, agreement.recall, agreement.chance) == pytest.approx((1 / 3, 1 / 2, 1 / 3))


@pytest.mark.parametrize(
    ("name", "value"), [("min_queries", 0), ("relevance", 1.1), ("title_share", -0.1), ("partners", 0), ("broadest", 1)]
)
def test_a_rule_out_of_range_is_named(name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=rf"{name}: must be .*, got {value}"):
        MiningRules(**{name: value})


def test_pairs_mined_from_the_demo_shop_are_of_one_style_far_more_often_than_by_chance(shop: Path) -> None:
    catalog = load_mining_catalog(shop / "products.parquet", "article")
    pairs = mine_pairs(catalog, load_clicks(shop / "clicks.parquet", catalog), MiningRules())
    rows = pq.read_table(shop / "same_style.parquet").to_pylist()
    labelled = {frozenset((row["trigger_id"], row["recall_id"])) for row in rows}
    articles: dict[str, list[int]] = {}
    for row in pq.read_table(shop / "products.parquet", columns=["product_id", "article"]).to_pylist():
        articles.setdefault(row["article"], []).append(row["product_id"])
    guesses = [frozenset(pair) for products in articles.values() for pair in combinations(products, 2)]
    chance = sum(guess in labelled for guess in guesses) / len(guesses)

    found = [frozenset(pair) for pair in mined(catalog, pairs)]
    precision = sum(pair in labelled for pair in found) / len(found)
    assert len(found) > 50
    assert precision > 8 * chance
    agreement = compare(pairs, catalog, shop / "same_style.parquet")
    assert (agreement.precision, agreement.chance) == pytest.approx((precision, chance))
