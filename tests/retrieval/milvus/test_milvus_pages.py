"""Result pages of an index in Milvus: pages and totals work, and what needs the products in memory is refused."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from shopwindow.indexing.full_build.into_milvus import load_into_milvus
from shopwindow.retrieval import InvalidRequest, SearchResult, parse_parameters
from shopwindow.retrieval.engines import EngineOptions, MilvusOptions
from shopwindow.retrieval.errors import GenerationGone
from shopwindow.retrieval.index.home import resolve_index
from shopwindow.retrieval.milvus.index import MilvusIndex, open_in_milvus
from shopwindow.retrieval.request.parameters import with_outputs
from shopwindow.retrieval.search.by_channels import ChannelRequest, search_channels
from shopwindow.retrieval.search.like import embed_like
from shopwindow.retrieval.search.page_outputs import page_outputs
from tests.ranking import assert_is_exact_search
from tests.retrieval.index_parts import make_index, unit_vectors
from tests.retrieval.milvus.test_milvus_index import write

ROWS = 500
FOLDER = make_index("flat", ROWS)
RED = np.array([colour == "red" for colour in FOLDER.attributes["colour"].to_pylist()])
QUERIES = unit_vectors(2, seed=9)


@pytest.fixture(scope="module")
def index(milvus: MilvusOptions, tmp_path_factory: pytest.TempPathFactory) -> MilvusIndex:
    place = tmp_path_factory.mktemp("pages")
    load_into_milvus(write(place / "index", FOLDER), place / "home", milvus, prefix="pages", progress=False)
    return open_in_milvus(resolve_index(place / "home"), EngineOptions(milvus=milvus))


def searched(index: MilvusIndex, **values: Any) -> tuple[SearchResult, list[int]]:
    """Return the products of a page, and the totals."""
    parameters = with_outputs(parse_parameters(values), {"total"})
    index.check(QUERIES, parameters)
    (result,) = search_channels(index, [ChannelRequest(QUERIES, (), parameters)])
    return result, page_outputs(index, result, parameters, {"total"})["total"][:, 0].tolist()


@pytest.mark.parametrize("allowed", [None, RED], ids=["all", "filtered"])
def test_pages_follow_each_other_and_say_how_many_products_qualify(
    index: MilvusIndex, allowed: np.ndarray | None
) -> None:
    count = ROWS if allowed is None else int(allowed.sum())
    filter = {} if allowed is None else {"filter": '{"colour": "red"}'}
    pages = []
    for offset in range(0, ROWS + 1, 125):
        result, totals = searched(index, top_k=125, offset=offset, generation=1, **filter)
        assert totals == [count, count]
        pages.append(result)
    ids, scores = (np.concatenate([getattr(page, name) for page in pages], 1) for name in ("product_ids", "scores"))
    assert_is_exact_search(ids, scores, QUERIES, FOLDER.vectors, FOLDER.product_ids, allowed=allowed)
    assert searched(index, top_k=5, **filter)[1] == [count, count]


def test_products_above_a_least_score_are_not_counted(index: MilvusIndex) -> None:
    result, totals = searched(index, top_k=5, offset=0, min_score="best*0.99")
    assert totals == [-1, -1]
    assert (result.scores[:, 0] > 0).all() and np.isneginf(result.scores[:, -1]).all()


REFUSED: list[tuple[str, Any]] = [
    ("fields", ["colour"]),
    ("facets", {"colour": 5}),
    ("collapse", "colour"),
    ("boost", [{"if": {"colour": "red"}, "add": 1}]),
    ("sort", {"by": "price", "among": 5}),
    ("diversity", 0.5),
]


@pytest.mark.parametrize(("name", "value"), REFUSED)
def test_what_needs_the_products_in_memory_is_refused(index: MilvusIndex, name: str, value: Any) -> None:
    given = json.dumps(value) if isinstance(value, list | dict) else value
    with pytest.raises(InvalidRequest, match=rf"^{name}: an index in Milvus cannot do this; serve an index in memory"):
        searched(index, **{name: given})


def test_products_to_be_like_and_other_generations_are_refused(index: MilvusIndex) -> None:
    with pytest.raises(InvalidRequest, match=r"^like: needs an index in memory"):
        embed_like(index, [b'{"ids": [7]}'])
    with pytest.raises(GenerationGone, match=r"^generation: 2 is not served here, but 1 is"):
        searched(index, generation=2)
