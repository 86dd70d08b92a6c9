"""What `min_score` leaves out, in its three forms, against plain Python over the uncut ranking."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from shopwindow.retrieval import InvalidRequest, ProductIndex, SearchResult, parse_parameters
from shopwindow.retrieval.embedding.calibration import Calibration
from shopwindow.retrieval.engines import FaissCpuEngine
from shopwindow.retrieval.index.lexical import LexicalIndex
from shopwindow.retrieval.search.by_channels import ChannelRequest, check_channels, search_channels
from shopwindow.retrieval.search.page_outputs import page_outputs
from tests.retrieval.index_parts import DIM, attribute_rows, make_index, unit_vectors

ROWS = 600
QUERIES = ["red", "blue", "no such word", "product 7"]
CALIBRATION = Calibration(
    towers="a" * 64, source="q, r", queries=40, products=ROWS, points=((0.5, 0.3), (0.8, 0.55), (0.9, 0.7))
)


@pytest.fixture(scope="module")
def index() -> ProductIndex:
    titles = [f"{row['colour']} {row['title']}" for row in attribute_rows(ROWS)]
    index = ProductIndex(replace(make_index("flat", ROWS), lexical=LexicalIndex.build(titles)))
    index.calibration = CALIBRATION
    return index


@pytest.fixture(scope="module")
def embeddings() -> np.ndarray:
    """Queries near products."""
    near = unit_vectors(ROWS)[[5, 300, 400, 590]] + 0.15 * np.random.default_rng(2).normal(size=(4, DIM))
    unit: np.ndarray = (near / np.linalg.norm(near, axis=1, keepdims=True)).astype(np.float32)
    return unit


def search(index: ProductIndex, embeddings: np.ndarray, **given: Any) -> SearchResult:
    parameters = parse_parameters(given)
    index.check(embeddings, parameters)
    check_channels(index, parameters, words=True)
    return search_channels(index, [ChannelRequest(embeddings, QUERIES, parameters)])[0]


def kept(result: SearchResult) -> list[list[int]]:
    """Return the ids of each row, and check that padding is whole and at the end."""
    rows = []
    parts = result.product_ids, result.scores, result.channels, result.rows
    for ids, scores, channels, places in zip(*parts, strict=True):
        count = int((ids >= 0).sum())
        assert (ids[count:] == -1).all() and np.isneginf(scores[count:]).all()
        assert not channels[count:].any() and (places[count:] == -1).all()
        rows.append(ids[:count].tolist())
    return rows


CHANNELS: list[dict[str, Any]] = [
    {},
    {"channels": "lexical"},
    {"channels": "embedding,lexical"},
    {"channels": "embedding,lexical", "fusion": "weighted:0.7"},
]


@pytest.mark.parametrize("share", [0.5, 0.85, 1.0])
@pytest.mark.parametrize("channels", CHANNELS)
def test_best_keeps_what_scores_the_share_of_the_best(
    index: ProductIndex, embeddings: np.ndarray, channels: dict[str, Any], share: float
) -> None:
    whole = search(index, embeddings, top_k=80, **channels)
    expected = []
    for ids, scores in zip(whole.product_ids.tolist(), whole.scores.tolist(), strict=True):
        least = np.float32(share * scores[0]) if scores[0] > 0 else scores[0]
        expected.append([one for one, score in zip(ids, scores, strict=True) if one >= 0 and score >= least])
    assert kept(search(index, embeddings, top_k=80, min_score=f"best*{share}", **channels)) == expected
    assert any(1 <= len(row) < 80 for row in expected)


def test_where_nothing_scores_above_0_only_the_best_is_kept() -> None:
    folder = make_index("flat", ROWS)
    vectors = np.abs(folder.vectors)
    vectors[7] = vectors[40]  # equal vectors score the same
    index = ProductIndex(replace(folder, vectors=vectors, engine=FaissCpuEngine.build(vectors, folder.manifest.recipe)))
    queries = np.stack([-vectors[40] - 0.01, -np.eye(DIM, dtype=np.float32)[0]])
    result = index.search_batch([(queries, parse_parameters({"min_score": "best*0.5", "top_k": ROWS}))])[0]
    for query, ids in zip(queries, kept(result), strict=True):
        scores = vectors @ query
        assert scores.max() <= 0
        assert ids == folder.product_ids[np.isclose(scores, scores.max(), rtol=0, atol=1e-7)].tolist()


@pytest.mark.parametrize(("asked", "score"), [(0.5, 0.3), (0.2, 0.3), (0.51, 0.55), (0.8, 0.55), (0.9, 0.7)])
def test_a_precision_is_the_score_of_the_next_calibrated_one(
    index: ProductIndex, embeddings: np.ndarray, asked: float, score: float
) -> None:
    found = search(index, embeddings, top_k=200, min_score=f"precision:{asked}")
    expected = search(index, embeddings, top_k=200, min_score=score)
    assert kept(found) == kept(expected)
    assert 0 < sum(map(len, kept(found))) < 4 * 200


PAGES: list[dict[str, Any]] = [
    {"offset": 3},
    {"boost": [{"if": {"colour": "red"}, "add": 0.2}, {"if": {"in_stock": False}, "multiply": 0.5}]},
    {"boost": [{"if": {"colour": "red"}, "multiply": 3}], "offset": 1, "channels": "lexical"},
]


@pytest.mark.parametrize(
    ("page", "form"), [*((page, "best*0.8") for page in PAGES), *((page, "precision:0.5") for page in PAGES[:2])]
)
def test_a_page_is_cut_off_by_final_scores_and_for_a_precision_by_those_before_boosts(
    index: ProductIndex, embeddings: np.ndarray, page: dict[str, Any], form: str
) -> None:
    whole = search(index, embeddings, top_k=ROWS, **{**page, "offset": 0})
    plain = search(index, embeddings, top_k=ROWS)
    cut = search(index, embeddings, top_k=200, min_score=form, **page)
    totals = page_outputs(index, cut, parse_parameters({"min_score": form, **page}), {"total"})["total"]
    skipped = page.get("offset", 0)
    for place, (ids, scores, found) in enumerate(zip(whole.product_ids, whole.scores, kept(cut), strict=True)):
        judged = dict(zip(ids.tolist(), scores.tolist(), strict=True))
        least = np.float32(0.8) * scores[0]
        if form.startswith("precision"):
            judged = dict(zip(plain.product_ids[place].tolist(), plain.scores[place].tolist(), strict=True))
            least = np.float32(0.3)
        qualifying = [one for one in ids.tolist() if one >= 0 and judged[one] >= least]
        assert found == qualifying[skipped : skipped + 200]
        assert totals[place, 0] == len(qualifying)


def test_facets_count_with_the_least_score_of_the_request(index: ProductIndex, embeddings: np.ndarray) -> None:
    """A facet leaves out the filter on its own column. Another product may then be the best, which must not matter."""
    given = {"filter": {"colour": "blue"}, "facets": {"colour": 5}, "min_score": "best*0.6", "top_k": 5}
    result = search(index, embeddings, **given)
    facets = page_outputs(index, result, parse_parameters(given), {"facets", "total"})
    everything = search(index, embeddings, top_k=ROWS)
    colour_of = dict(zip(index.product_ids.tolist(), [row["colour"] for row in attribute_rows(ROWS)], strict=True))
    for place in range(len(QUERIES)):
        least = np.float32(0.6) * result.scores[place, 0]
        colours = Counter(
            colour_of[one]
            for one, score in zip(everything.product_ids[place].tolist(), everything.scores[place], strict=True)
            if score >= least
        )
        counted = {each["value"]: each["count"] for each in json.loads(facets["facets"][place, 0])["colour"]}
        assert counted == {colour: count for colour, count in colours.items() if colour is not None}
        assert counted["blue"] == facets["total"][place, 0]


def test_requests_of_one_batch_may_cut_off_differently(index: ProductIndex, embeddings: np.ndarray) -> None:
    forms: list[dict[str, Any]] = [
        {},
        {"min_score": "precision:0.8"},
        {"min_score": "best*0.7"},
        {"min_score": 0.4},
        {"min_score": "best*0.9", "channels": "embedding,lexical"},
    ]
    together = search_channels(index, [ChannelRequest(embeddings, QUERIES, parse_parameters(form)) for form in forms])
    for form, result in zip(forms, together, strict=True):
        assert kept(result) == kept(search(index, embeddings, **form))


def test_a_precision_beyond_the_calibration_is_refused_with_the_limit(
    index: ProductIndex, embeddings: np.ndarray
) -> None:
    with pytest.raises(InvalidRequest) as caught:
        search(index, embeddings, min_score="precision:0.91")
    assert caught.value.field == "min_score"
    assert "must be at most 0.9, " in str(caught.value) and "got 'precision:0.91'" in str(caught.value)


def test_towers_without_a_calibration_refuse_a_precision_and_say_how_to_get_one(embeddings: np.ndarray) -> None:
    bare = ProductIndex(make_index("flat", ROWS))
    with pytest.raises(
        InvalidRequest, match=r"min_score: .*calibrated, got 'precision:0\.8'; run 'shopwindow evaluate"
    ):
        bare.check_parameters(parse_parameters({"min_score": "precision:0.8"}))
    assert kept(search(bare, embeddings, min_score="best*0.9"))


def test_a_precision_needs_words_because_only_their_scores_are_calibrated(index: ProductIndex) -> None:
    parameters = parse_parameters({"min_score": "precision:0.8"})
    check_channels(index, parameters, words=True)
    with pytest.raises(InvalidRequest, match=r"min_score: .* only if the request has a query text.*'precision:0\.8'"):
        check_channels(index, parameters, words=False)
