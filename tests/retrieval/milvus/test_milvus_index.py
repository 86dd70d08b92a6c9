"""The life of an index in Milvus: filled, served, replaced, rolled back, and refused if it does not fit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from shopwindow.indexing.full_build.into_milvus import load_into_milvus
from shopwindow.retrieval import IndexUnfit, InvalidRequest, parse_parameters
from shopwindow.retrieval.engines import EngineOptions, MilvusOptions, Where
from shopwindow.retrieval.engines.recipes import choose_recipe
from shopwindow.retrieval.engines.row_mask import RowMask
from shopwindow.retrieval.errors import EngineUnfit
from shopwindow.retrieval.index.checksums import Verify
from shopwindow.retrieval.index.folder import IndexFolder, read_manifest, write_index, write_manifest
from shopwindow.retrieval.index.home import IndexHome, resolve_index
from shopwindow.retrieval.milvus.collection import connect, milvus_recipe
from shopwindow.retrieval.milvus.index import open_in_milvus
from shopwindow.retrieval.opening import open_index
from tests.ranking import assert_is_exact_search
from tests.retrieval.index_parts import TOWERS, make_index, unit_vectors

ROWS = 500


def write(place: Path, folder: IndexFolder) -> Path:
    """Write an index folder with its updates."""
    write_index(
        place,
        manifest=folder.manifest,
        vectors=folder.vectors,
        product_ids=folder.product_ids,
        attributes=folder.attributes,
        engine=folder.engine,
        skipped="",
    )
    if folder.delta is not None:
        np.save(place / "delta.npy", folder.delta)
    if folder.alive is not None:
        np.save(place / "alive.npy", folder.alive.rows)
    return place


def test_an_index_in_milvus_answers_like_any_index(
    milvus: MilvusOptions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_index("flat", ROWS)
    manifest = load_into_milvus(
        write(tmp_path / "index", folder), tmp_path / "home", milvus, prefix="a", progress=False
    )
    assert (manifest.generation, manifest.count, manifest.recall_at_100) == (1, ROWS, 1.0)
    monkeypatch.setenv("SHOPWINDOW_MILVUS_URI", milvus.uri)
    index = open_index(tmp_path / "home", tower_hash=TOWERS)
    assert index.engine_description.startswith("Milvus, collection a_000001")
    queries = unit_vectors(3, seed=9)
    for top_k in (1, 700):  # more than there are
        parameters = parse_parameters({"top_k": top_k, "min_score": 0.2})
        index.check(queries, parameters)
        result = index.search_batch([(queries, parameters)])[0]
        assert_is_exact_search(
            result.product_ids, result.scores, queries, folder.vectors, folder.product_ids, min_score=0.2
        )
    with pytest.raises(InvalidRequest, match="did you mean 'colour'"):
        index.check(queries, parse_parameters({"filter": '{"color": "red"}'}))
    with pytest.raises(InvalidRequest, match=r"^fields: an index in Milvus cannot do this; serve"):
        index.check(queries, parse_parameters({"fields": '["colour"]'}))
    with pytest.raises(IndexUnfit, match="was filled by towers"):
        open_index(tmp_path / "home", tower_hash="b" * 64)


def test_a_new_generation_keeps_the_collections_that_a_rollback_needs_and_drops_older_ones(
    milvus: MilvusOptions, tmp_path: Path
) -> None:
    home, options = IndexHome(tmp_path / "home"), EngineOptions(milvus=milvus)
    for rows in (100, 200, 300, 400):
        index = write(tmp_path / f"index{rows}", make_index("flat", rows))
        load_into_milvus(index, home.path, milvus, prefix="b", progress=False)
    assert open_in_milvus(resolve_index(home.path), options).manifest.count == 400
    home.rollback()
    assert open_in_milvus(resolve_index(home.path), options).manifest.count == 300
    # The second is kept for a rollback from the third until a server has taken the fourth.
    collections = connect(milvus).list_collections()
    assert sorted(name for name in collections if name.startswith("b_")) == ["b_000002", "b_000003", "b_000004"]


def test_the_collection_of_a_killed_load_is_replaced(milvus: MilvusOptions, tmp_path: Path) -> None:
    client = connect(milvus)
    client.create_collection("c_000001", dimension=8)
    index = write(tmp_path / "index", make_index("flat", 100))
    load_into_milvus(index, tmp_path / "home", milvus, prefix="c", progress=False)
    found = open_in_milvus(resolve_index(tmp_path / "home"), EngineOptions(milvus=milvus))
    assert found.manifest.count == 100


def test_an_index_is_loaded_with_its_updates(milvus: MilvusOptions, tmp_path: Path) -> None:
    base, fresh = make_index("flat", 100), unit_vectors(20, seed=5)
    alive = np.ones(120, bool)
    alive[10:30] = False
    updated = replace(
        base,
        manifest=replace(base.manifest, count=100, delta=20, dead=20),
        product_ids=np.arange(120) + 7,
        attributes=pa.table({"colour": [f"colour {row}" for row in range(120)]}),
        delta=fresh,
        alive=RowMask(alive),
    )
    load_into_milvus(write(tmp_path / "index", updated), tmp_path / "home", milvus, prefix="d", progress=False)
    index = open_in_milvus(resolve_index(tmp_path / "home"), EngineOptions(milvus=milvus))
    assert (index.manifest.count, index.manifest.delta, index.manifest.dead) == (100, 0, 0)
    queries, vectors = unit_vectors(4, seed=6), np.concatenate([base.vectors, fresh])
    result = index.search_batch([(queries, parse_parameters({"top_k": 100}))])[0]
    assert_is_exact_search(result.product_ids, result.scores, queries, vectors, updated.product_ids, allowed=alive)
    parameters = parse_parameters({"top_k": 5, "filter": '{"colour": {"in": ["colour 15", "colour 110"]}}'})
    assert index.search_batch([(queries[:1], parameters)])[0].product_ids.tolist() == [[117, -1, -1, -1, -1]]


def test_a_missing_or_incomplete_collection_is_refused_with_the_reason(milvus: MilvusOptions, tmp_path: Path) -> None:
    home, options = tmp_path / "home", EngineOptions(milvus=milvus)
    load_into_milvus(write(tmp_path / "index", make_index("flat", 50)), home, milvus, prefix="e", progress=False)
    client, folder = connect(milvus), resolve_index(home)
    client.delete("e_000001", filter=f"product_id == {make_index('flat', 50).product_ids[0]}")
    with pytest.raises(EngineUnfit, match="'e_000001' has 49 products, but its index folder says 50"):
        open_in_milvus(folder, options)
    client.drop_collection("e_000001")
    with pytest.raises(EngineUnfit, match="'e_000001' is not in this Milvus: fill it"):
        open_in_milvus(folder, options)
    (folder / "milvus.json").write_text((folder / "milvus.json").read_text().replace("e_000001", "e_000002"))
    with pytest.raises(IndexUnfit, match=r"milvus\.json: is not what was written"):
        open_in_milvus(folder, options)
    (folder / "milvus.json").write_text("{}")
    write_manifest(folder, read_manifest(folder))
    with pytest.raises(IndexUnfit, match="not an index in Milvus"):
        open_in_milvus(folder, options)


def test_off_opens_a_manifest_that_was_changed(tmp_path: Path) -> None:
    folder = write(tmp_path / "index", make_index("flat", 50))
    (folder / "milvus.json").write_text("{}")
    manifest = folder / "manifest.json"
    manifest.write_text(manifest.read_text().replace("products.parquet", "shop.parquet"))
    with pytest.raises(IndexUnfit, match=r"manifest\.json: is not what was written"):
        open_in_milvus(folder)
    with pytest.raises(IndexUnfit, match="not an index in Milvus"):
        open_in_milvus(folder, verify=Verify.OFF)


def test_an_index_that_is_not_in_milvus_cannot_be_searched_there(tmp_path: Path) -> None:
    with pytest.raises(EngineUnfit, match="put them into Milvus with 'shopwindow milvus'"):
        open_index(write(tmp_path / "index", make_index("flat", 50)), engine=EngineOptions(where=Where.MILVUS))


def test_infinite_numbers_are_refused_and_nothing_is_published(milvus: MilvusOptions, tmp_path: Path) -> None:
    folder = replace(make_index("flat", 50), attributes=pa.table({"price": [float("inf"), *range(49)]}))
    with pytest.raises(IndexUnfit, match="price: holds infinite numbers"):
        load_into_milvus(write(tmp_path / "index", folder), tmp_path / "home", milvus, prefix="f", progress=False)
    assert IndexHome(tmp_path / "home").pointer is None


def test_an_index_in_milvus_is_built_by_its_recipe(milvus: MilvusOptions, tmp_path: Path) -> None:
    for kind, expected in (("ivf-sq8", {"nlist": 7}), ("hnsw", {"M": 32, "efConstruction": 200})):
        prefix = f"g_{kind.replace('-', '_')}"
        place = write(tmp_path / kind, make_index(kind, 300))
        load_into_milvus(place, tmp_path / f"{kind}-home", milvus, prefix=prefix, progress=False)
        built = connect(milvus).describe_index(f"{prefix}_000001", "vector")
        assert built["params"] == expected


def test_an_effort_means_the_same_share_of_lists_in_milvus() -> None:
    recipe = choose_recipe(100_000_000, "ivf").with_breadth(400)
    there = milvus_recipe(recipe)
    assert there.max_breadth == 4_096
    assert there.search_breadth / there.max_breadth == pytest.approx(400 / 40_000, rel=0.01)
    assert there.breadth_at(6) == 2 * there.breadth_at(5)


def test_milvus_options_come_from_the_environment_and_hide_the_token() -> None:
    given = {"SHOPWINDOW_MILVUS_URI": "http://milvus:19530", "SHOPWINDOW_MILVUS_TOKEN": "root:secret"}
    options = MilvusOptions.from_environment(given)
    assert options == MilvusOptions(uri="http://milvus:19530", token="root:secret")
    assert "secret" not in repr(options)
