"""Random mixed batches of any filter, top_k and effort, on every engine, against brute force in numpy."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings

from shopwindow.indexing.full_build.into_milvus import load_into_milvus
from shopwindow.retrieval import ProductIndex, parse_parameters
from shopwindow.retrieval.engines import EngineOptions, FaissCpuEngine, MilvusOptions
from shopwindow.retrieval.engines.recipes import choose_recipe
from shopwindow.retrieval.index.folder import IndexFolder, write_index
from shopwindow.retrieval.index.home import resolve_index
from shopwindow.retrieval.milvus import index as milvus_index
from shopwindow.retrieval.milvus.index import MilvusIndex, open_in_milvus
from shopwindow.retrieval.request.parameters import DEFAULT_EFFORT
from shopwindow.retrieval.search import product_index
from tests.ranking import assert_is_exact_search
from tests.retrieval.index_parts import make_index
from tests.retrieval.request.any_request import (
    QUERIES,
    ROWS,
    Request,
    assert_valid,
    batches,
    found,
    keeps,
    product_table,
)

RARE = 60  # at most this many qualifying products are searched exactly here
IVF_LISTS = 12  # lists that a search visits, of 51: enough for 95 % recall without a filter, and not more

KINDS = ("flat", "hnsw", "ivf", "ivf-sq8")


@pytest.fixture(scope="module")
def folders() -> dict[str, IndexFolder]:
    """Every kind of index over the same products."""
    made = {kind: replace(make_index(kind, ROWS), attributes=product_table()) for kind in KINDS}
    recipe = choose_recipe(ROWS, "ivf").with_breadth(IVF_LISTS)
    made["ivf"] = replace(
        made["ivf"],
        engine=FaissCpuEngine.build(made["ivf"].vectors, recipe),
        manifest=replace(made["ivf"].manifest, recipe=recipe),
    )
    return made


def in_milvus(folder: IndexFolder, milvus: MilvusOptions, place: Path) -> MilvusIndex:
    """Put the products of an index into a collection as the command does, and open it."""
    write_index(
        place / "index",
        manifest=folder.manifest,
        vectors=folder.vectors,
        product_ids=folder.product_ids,
        attributes=folder.attributes,
        engine=folder.engine,
        skipped="",
    )
    load_into_milvus(
        place / "index", place / "home", milvus, prefix=folder.manifest.recipe.kind.replace("-", "_"), progress=False
    )
    return open_in_milvus(resolve_index(place / "home"), EngineOptions(milvus=milvus))


@pytest.fixture(scope="module", params=["flat", "hnsw", "ivf-sq8"])
def filled(
    request: pytest.FixtureRequest,
    folders: dict[str, IndexFolder],
    milvus: MilvusOptions,
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[IndexFolder, MilvusIndex]:
    """An index of one kind, and the same products in Milvus."""
    return folders[request.param], in_milvus(folders[request.param], milvus, tmp_path_factory.mktemp(request.param))


@pytest.fixture(scope="module")
def few_are_rare() -> Iterator[None]:
    """Send filters that leave more than RARE products through the engine's selector."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(product_index, "EXACT_ROWS", RARE)
        patch.setattr(milvus_index, "EXACT_ROWS", RARE)
        yield


def assert_answers(folder: IndexFolder, index: ProductIndex, batch: list[Request], *, exact: bool) -> None:
    """Assert valid answers to every request: the best products if the search is exact, otherwise 95 % of them."""
    asked = [(request.queries, parse_parameters(request.parameters())) for request in batch]
    for queries, parameters in asked:
        index.check(queries, parameters)
    for request, result in zip(batch, index.search_batch(asked), strict=True):
        allowed = keeps(request.filter)
        assert_valid(folder, request, allowed, result)
        if exact or (request.filter and allowed.sum() <= RARE):
            assert_is_exact_search(
                result.product_ids, result.scores, request.queries, folder.vectors, folder.product_ids, allowed=allowed
            )
        elif request.effort >= DEFAULT_EFFORT:  # with less effort, callers accept lower recall
            hits, best = found(folder, request, allowed, result)
            assert hits >= 0.95 * best


@pytest.mark.usefixtures("few_are_rare")
@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=60)
@given(batch=batches())
def test_any_batch_is_answered_like_brute_force(
    folders: dict[str, IndexFolder], kind: str, batch: list[Request]
) -> None:
    assert_answers(folders[kind], ProductIndex(folders[kind]), batch, exact=kind == "flat")


@pytest.mark.usefixtures("few_are_rare")
@settings(max_examples=8)
@given(batch=batches(largest=100))  # Milvus Lite is slow, because it makes an object of every product
def test_milvus_answers_any_batch_like_brute_force(
    filled: tuple[IndexFolder, MilvusIndex], batch: list[Request]
) -> None:
    folder, index = filled
    assert_answers(folder, index, batch, exact=folder.manifest.recipe.kind == "flat")


def test_milvus_finds_every_product_if_top_k_is_large_enough(filled: tuple[IndexFolder, MilvusIndex]) -> None:
    folder, index = filled
    for filter in ({}, {"in_stock": True}):
        request = Request(queries=QUERIES[:2], top_k=10_000, effort=DEFAULT_EFFORT, filter=filter)
        assert_answers(folder, index, [request], exact=folder.manifest.recipe.kind == "flat")
