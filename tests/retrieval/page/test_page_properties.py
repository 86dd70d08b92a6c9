"""Pages against brute force: any requests over any small shop, and page after page of every kind of index."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from shopwindow.retrieval import ProductIndex, SearchResult, parse_parameters
from shopwindow.retrieval.request.parameters import with_outputs
from shopwindow.retrieval.search import product_index, ranking
from shopwindow.retrieval.search.by_channels import ChannelRequest, check_channels, search_channels
from shopwindow.retrieval.search.like import embed_like
from shopwindow.retrieval.search.page_outputs import page_outputs
from tests.retrieval.page.any_page import Asked, batches, queries, requests, sent
from tests.retrieval.page.brute_force import Page, Query, Shop, Undecided, boosts, shown
from tests.retrieval.page.plain_filters import comparable
from tests.retrieval.page.shops import Plan, indexed, made_by, opened, plans

STAGES = (8, 40, 150)  # candidates that a ranking fetches at a time
OUTPUTS = {"attributes", "total", "facets", "group_sizes", "group_members"}
KINDS = ("flat", "ivf", "ivf-sq8", "hnsw")


@pytest.fixture(scope="module", autouse=True)
def small_steps() -> Iterator[None]:
    """Let small shops be searched like large ones: step by step, and by the engine unless a filter leaves very few."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ranking, "STAGES", STAGES)
        patch.setattr(ranking, "LONG_STAGES", STAGES)
        patch.setattr(ranking, "SCORED_FOR_A_CANDIDATE", 0)  # else all steps but the first score the whole shop
        patch.setattr(product_index, "EXACT_ROWS", 20)
        yield


def answers(
    shop: Shop, index: ProductIndex, batch: list[Asked]
) -> Iterator[tuple[SearchResult, dict[str, np.ndarray]]]:
    """Search for all requests at once. Yield the result and the outputs of each."""
    checked = []
    for one in batch:
        parameters = with_outputs(parse_parameters(sent(one.request)), OUTPUTS)
        vectors, excluded = one.vectors, list[np.ndarray]()
        if one.likes:
            weights = [shop.liked(like)[1] for like in one.likes]
            texts = [json.dumps({"ids": [*some], "weights": [*some.values()]}) for some in weights]
            vectors, excluded = embed_like(index, [text.encode() for text in texts])
        index.check(vectors, parameters)
        check_channels(index, parameters, words=True)
        checked.append(ChannelRequest(vectors, one.texts, parameters, excluded))
    for request, result in zip(checked, search_channels(index, checked), strict=True):
        yield result, page_outputs(index, result, request.parameters, OUTPUTS)


def judges(shop: Shop, index: ProductIndex, one: Asked) -> list[Query]:
    """Return the queries of a request, for brute force."""
    found = []
    for number, text in enumerate(one.texts):
        vector, excluded = one.vectors[number].astype(np.float64), frozenset[Any]()
        if one.likes:
            total, weights = shop.liked(one.likes[number])
            vector, excluded = total / np.linalg.norm(total), frozenset(weights)
        words = np.zeros(len(shop.ids))
        if index.lexical is not None:
            scores, rows = index.lexical.search(text, len(shop.ids))
            words[rows] = scores
        found.append(Query(shop, one.request, vector, words.tolist(), excluded))
    return found


def answerable(shop: Shop, index: ProductIndex, one: Asked) -> bool:
    """Return whether the index has the channels of a request, and products that do not cancel out."""
    if one.likes and not any(shop.alive):
        return False
    if any(np.linalg.norm(shop.liked(like)[0]) < 0.1 for like in one.likes):
        return False
    return index.lexical is not None or "channels" not in one.request


def assert_page(
    shop: Shop, one: Asked, number: int, result: SearchResult, outputs: dict[str, np.ndarray], page: Page
) -> None:
    """Assert that the answer to query `number` of a request is a page."""
    filled, width = len(page.places), one.request.get("top_k", 100)
    if one.bare:  # equal scores come in the order of the engine
        true, rows = {place.row: place.score for place in page.every}, result.rows[number, :filled].tolist()
        assert len(set(rows)) == filled
        assert [true[row] for row in rows] == pytest.approx([place.score for place in page.places], abs=1e-5)
    else:
        rows = [place.row for place in page.places]
    assert result.rows[number].tolist() == rows + [-1] * (width - filled)
    np.testing.assert_allclose(result.scores[number, :filled], [place.score for place in page.places], atol=1e-5)
    assert np.isneginf(result.scores[number, filled:]).all()
    assert result.channels[number].tolist() == [place.channels for place in page.places] + [0] * (width - filled)
    assert (result.product_ids[number, filled:] == -1).all()
    if not isinstance(shop.ids[0], str):
        assert result.product_ids[number, :filled].tolist() == [shop.ids[row] for row in rows]
    assert outputs["total"][number].tolist() == [page.total]
    if page.facets is None:
        assert outputs["facets"][number].tolist() in ([b""], [""])
    else:
        assert_same(json.loads(outputs["facets"][number, 0]), page.facets)
    if page.group_sizes is None:
        assert outputs["group_sizes"].shape[1] == 0
    else:
        assert outputs["group_sizes"][number].tolist() == page.group_sizes + [0] * (width - filled)
    names = one.request.get("fields", [])
    attributes = [{name: shown(shop.products[row][name]) for name in names} for row in rows]
    for name, expected in (("group_members", page.group_members), ("attributes", attributes if names else None)):
        found = outputs[name][number].tolist()
        if expected is None:
            assert found == []
        elif name == "group_members" and "," in one.request.get("channels", ""):
            assert [len(json.loads(text)) for text in found[:filled]] == [len(ids) for ids in expected]
        else:
            assert_same([json.loads(text) for text in found[:filled]], expected)
            assert len(found) == width and not any(found[filled:])


def assert_same(found: Any, expected: Any) -> None:
    """Assert equal JSON values, with equal kinds and keys in the same order. Moments may be written in any zone."""
    if isinstance(expected, dict):
        assert list(found) == list(expected)
        for name in expected:
            assert_same(found[name], expected[name])
    elif isinstance(expected, list):
        assert len(found) == len(expected), (found, expected)
        for one, other in zip(found, expected, strict=True):
            assert_same(one, other)
    elif isinstance(expected, str) and isinstance(found, str) and "T" in expected:
        assert comparable(found) == comparable(expected)
    else:
        assert isinstance(found, bool) == isinstance(expected, bool)
        assert found == expected


@settings(max_examples=200, derandomize=True)
@given(plan=plans(400), batch=batches(channels=("embedding", "embedding", "lexical")))
def test_any_pages_of_one_channel_are_what_brute_force_finds(plan: Plan, batch: list[Asked]) -> None:
    assert_pages(plan, batch)


@settings(max_examples=120, derandomize=True)
@given(plan=plans(100), batch=batches(channels=("both", "both", "embedding", "lexical")))
def test_any_pages_of_merged_channels_are_what_brute_force_finds(plan: Plan, batch: list[Asked]) -> None:
    assert_pages(plan, batch)


def assert_pages(plan: Plan, batch: list[Asked]) -> None:
    """Search for all requests at once, and assert that each gets its page."""
    shop, index = opened(plan)
    batch = [one for one in batch if answerable(shop, index, one)]
    for one, (result, outputs) in zip(batch, answers(shop, index, batch), strict=True):
        for number, query in enumerate(judges(shop, index, one)):
            try:
                page = query.page()
            except Undecided:
                continue
            if one.bare and query.channels == {"embedding", "lexical"} and query.has_ties():
                continue  # the merged scores depend on the order of the engine
            assert_page(shop, one, number, result, outputs, page)


def test_the_hit_is_the_first_member_of_its_group_also_if_channels_are_merged() -> None:
    shop, index = opened(Plan(rows=60, seed=0, missing=0.0))
    one = Asked(
        shop.vectors[:1].astype(np.float32),
        ["mug"],
        {"channels": "embedding,lexical", "collapse": {"by": "colour", "members": 1}, "top_k": 5},
    )
    ((result, outputs),) = answers(shop, index, [one])
    assert [json.loads(text) for text in outputs["group_members"][0]] == [[one] for one in result.product_ids[0]]


@pytest.fixture(scope="module")
def shelves() -> dict[str, tuple[Shop, ProductIndex]]:
    """Every kind of index over the same products, with a search that visits few of them."""
    plan = Plan(rows=500, seed=3, delta=0.1, dead=0.1)
    return {kind: opened(replace(plan, kind=kind, breadth=2)) for kind in KINDS}


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=50, derandomize=True)
@given(data=st.data())
def test_the_pages_of_a_request_show_every_product_or_group_once(
    shelves: dict[str, tuple[Shop, ProductIndex]], kind: str, data: st.DataObject
) -> None:
    shop, index = shelves[kind]
    request = data.draw(requests(channels=("embedding", "embedding", "lexical", "both")))
    size = data.draw(st.sampled_from([37, 111, 400]))
    one = data.draw(queries({**request, "top_k": size}))
    assume(answerable(shop, index, one))
    seen: list[list[int]] = [[] for _ in one.texts]
    for offset in range(0, len(shop.ids) + 1, size):
        page = replace(one, request={**one.request, "offset": offset})
        ((result, outputs),) = answers(shop, index, [page])
        for rows, found in zip(seen, result.rows.tolist(), strict=True):
            rows.extend(row for row in found if row >= 0)
    for number, (query, rows) in enumerate(zip(judges(shop, index, one), seen, strict=True)):
        can_be = query.rows(query.filter)
        if query.channels == {"lexical"}:
            can_be = [row for row in can_be if query.words[row] > 0]
        groups = {query.group(row) for row in can_be}
        assert len(set(rows)) == len(rows) and set(rows) <= set(can_be)
        assert len({query.group(row) for row in rows}) == len(rows)
        if "min_score" not in request:
            assert outputs["total"][number].tolist() == [len(groups)]
            if "sort" not in request:
                assert len(rows) == len(groups)
            elif "collapse" not in request:
                assert len(rows) == min(request["sort"]["among"], len(groups))
        if kind == "flat" or query.channels == {"lexical"}:
            assert_whole_ranking(query, rows)


@pytest.mark.parametrize("order", [{}, {"sort": {"by": "price"}}, {"diversity": 0.5}, {"collapse": "style"}])
@pytest.mark.parametrize("fusion", ["rrf", "weighted:0.5"])
def test_a_lowest_score_of_merged_channels_leaves_the_same_products_for_every_page(
    shelves: dict[str, tuple[Shop, ProductIndex]],
    monkeypatch: pytest.MonkeyPatch,
    order: dict[str, Any],
    fusion: str,
) -> None:
    monkeypatch.setattr(ranking, "_FUSED_STAGES", (20, 60, 150, 32_768))
    shop, index = shelves["flat"]
    request = {"channels": "embedding,lexical", "fusion": fusion, "min_score": "best*0.1", "top_k": 30, **order}
    one = Asked(shop.vectors[:1].astype(np.float32), ["mug"], request)
    rows, totals = list[int](), set[int]()
    for offset in range(0, len(shop.ids), 30):
        page = replace(one, request={**one.request, "offset": offset})
        ((result, outputs),) = answers(shop, index, [page])
        rows += [row for row in result.rows[0].tolist() if row >= 0]
        totals.add(int(outputs["total"][0, 0]))
    assert len(rows) == len(set(rows))
    assert totals == {len(rows)}


def assert_whole_ranking(query: Query, rows: list[int]) -> None:
    """Assert that all pages together are the exact ranking, unless channels are merged or rounding decides."""
    if len(query.channels) == 1:
        with suppress(Undecided):
            every = query.page().every
            assert rows == [place.row for place in every]


def clustered(rows: int, seed: int) -> np.ndarray:
    """Return (rows, 32) float32 unit vectors around the same 50 centres for each seed."""
    rng, centres = np.random.default_rng(seed), np.random.default_rng(0).normal(size=(50, 32))
    drawn = centres[rng.integers(50, size=rows)] + 0.7 * rng.normal(size=(rows, 32))
    unit: np.ndarray = drawn / np.linalg.norm(drawn, axis=1, keepdims=True)
    return unit.astype(np.float32)


@pytest.fixture(scope="module")
def clusters() -> dict[str, tuple[Shop, ProductIndex]]:
    """Every kind of index over 2,000 products in clusters."""
    shop = replace(made_by(Plan(rows=2_000, seed=4, dead=0.05)), vectors=clustered(2_000, 1).astype(np.float64))
    return {kind: (shop, indexed(shop, Plan(rows=2_000, seed=4, kind=kind))) for kind in KINDS}


BOOSTS: list[list[dict[str, Any]]] = [
    [{"if": {"in_stock": True}, "add": 0.05}],
    [{"if": {"supplier": 2**40}, "multiply": 1.5}, {"column": "stock", "multiply": 0.02}],
    [{"column": "made", "half_life_days": 30, "add": 0.3, "now": "2026-01-31"}],
    [{"if": {"colour": "red", "sizes": "S"}, "add": 0.6}],
    [{"column": "price", "add": -0.01}, {"if": {"stock": {"exists": False}}, "multiply": 0.5}],
]


@pytest.mark.parametrize("boost", BOOSTS)
@pytest.mark.parametrize("kind", KINDS)
def test_boosted_products_are_found_by_every_kind_of_index(
    clusters: dict[str, tuple[Shop, ProductIndex]], kind: str, boost: list[dict[str, Any]]
) -> None:
    shop, index = clusters[kind]
    vectors = clustered(20, 2)
    effects = [boosts(boost, product) for product in shop.products]
    factors, addends = (np.array(some) for some in zip(*[(np.prod(a), sum(b)) for a, b in effects], strict=True))
    scores = vectors.astype(np.float64) @ shop.vectors.T * factors + addends
    for filter in ({}, {"in_stock": True}, {"supplier": {"in": [1, 2]}, "price": {"exists": True}}):
        asked = Asked(vectors, [""] * 20, {"boost": boost, "filter": filter})
        (query, *_) = judges(shop, index, replace(asked, request={**asked.request, "collapse": "style"}))
        qualifying = query.rows(query.filter)
        best = -np.sort(-scores[:, qualifying], axis=1)
        for top_k in (1, 10, 100, 2_000):
            ((result, _),) = answers(shop, index, [replace(asked, request={**asked.request, "top_k": top_k})])
            k = min(top_k, len(qualifying))
            found = result.rows[:, :k]
            assert np.isin(found, qualifying).all() and all(len(set(rows)) == k for rows in found.tolist())
            assert (result.rows[:, k:] == -1).all()
            true = np.take_along_axis(scores, found, 1)
            np.testing.assert_allclose(result.scores[:, :k], true, atol=1e-5)
            hits = (true >= best[:, k - 1 : k] - 1e-5).sum()
            assert hits >= (1 if kind == "flat" else 0.95) * found.size
        ((result, outputs),) = answers(shop, index, [replace(asked, request={**query.request, "top_k": 300})])
        groups = Counter(query.group(row) for row in qualifying)
        filled = min(300, len(groups))
        for rows, sizes in zip(result.rows.tolist(), outputs["group_sizes"].tolist(), strict=True):
            assert len({query.group(row) for row in rows[:filled]}) == filled
            assert rows[filled:] == [-1] * (300 - filled)
            assert sizes[:filled] == [groups[query.group(row)] for row in rows[:filled]]
