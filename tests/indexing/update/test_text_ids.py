"""An index with text ids through its whole life: it answers as the same index with whole numbers does."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from shopwindow.base.product_keys import KeyNumber, key_number, key_numbers
from shopwindow.base.skipped_rows import Skipped
from shopwindow.indexing.catalogue.id_set import ProductSet
from shopwindow.indexing.catalogue.reading import Catalog, CatalogRows, keep
from shopwindow.indexing.errors import CatalogError
from shopwindow.indexing.full_build.run import build_index
from shopwindow.indexing.update.compaction import compact
from shopwindow.indexing.update.run import Update, update_index
from shopwindow.retrieval import InProcessPipeline
from shopwindow.retrieval.index.folder import read_index
from tests.indexing.homes import SCHEMA, Product

Name = Callable[[int], Any]
SKU: Name = lambda number: f"sku-{number}"  # noqa: E731
QUERIES = ["red dress", "navy trainers", "mug"]


def write(file: Path, rows: list[Product], name: Name) -> Path:
    kind = pa.string() if isinstance(name(0), str) else pa.int64()
    schema = SCHEMA.set(0, pa.field("product_id", kind))
    pq.write_table(pa.Table.from_pylist([{**row, "product_id": name(row["product_id"])} for row in rows], schema), file)
    return file


def test_text_ids_answer_as_whole_numbers_do(tmp_path: Path, repository: Path, pool: list[Product]) -> None:
    names: dict[str, Name] = {"whole": lambda number: number, "text": SKU}
    pool = [{**row, "product_id": row["product_id"] % 2**40} for row in pool]  # 0 and up

    def compare() -> None:
        found = []
        for kind in names:
            pipeline = InProcessPipeline(repository, tmp_path / kind)
            for channels in ("embedding", "embedding,lexical", "lexical"):
                result = pipeline.retrieve(QUERIES, top_k=50, channels=channels)
                keys = pipeline.index.product_keys(result)
                if kind == "whole":
                    assert keys.shape == (3, 0)
                    found.append(
                        [[SKU(one).encode() if one >= 0 else b"" for one in row] for row in result.product_ids]
                    )
                else:
                    assert keys.tolist() == found.pop(0)
                    real = result.product_ids >= 0
                    expected = key_numbers(key.decode() for key in keys[real])
                    np.testing.assert_array_equal(result.product_ids[real], expected)

    def update(rows: list[Product], removed: list[int]) -> list[Update]:
        return [
            update_index(
                tmp_path / kind,
                repository,
                changes=write(tmp_path / "changes", rows, name),
                removed=[name(number) for number in removed],
                progress=False,
            )
            for kind, name in names.items()
        ]

    for kind, name in names.items():
        catalogue = write(tmp_path / f"{kind}.parquet", pool[:40], name)
        build_index(catalogue, repository, tmp_path / kind, progress=False)
    compare()
    changed = [{**pool[3], "title": "red dress"}, {**pool[5], "price": 7.0}, *pool[40:50]]
    whole, text = update(changed, [pool[7]["product_id"], 10**9])
    assert (whole.added, whole.embedded_again, whole.attributes_only, whole.removed) == (10, 1, 1, 1)
    assert (text.added, text.embedded_again, text.attributes_only, text.removed) == (10, 1, 1, 1)
    assert (whole.unknown, text.unknown) == ((10**9,), (SKU(10**9),))
    compare()
    for kind, name in names.items():
        update_index(tmp_path / kind, repository, removed=[name(pool[8]["product_id"])], progress=False)
    compare()
    for kind in names:
        compact(tmp_path / kind, progress=False)
    compare()
    folder = read_index(tmp_path / "text")
    assert folder.product_keys is not None
    assert sorted(folder.product_keys.to_pylist()) == sorted(
        SKU(row["product_id"]) for row in pool[:50] if row not in (pool[7], pool[8])
    )


def test_an_index_refuses_ids_of_the_other_kind(tmp_path: Path, repository: Path, pool: list[Product]) -> None:
    build_index(write(tmp_path / "p.parquet", pool[:3], SKU), repository, tmp_path / "index", progress=False)
    changes = write(tmp_path / "c.parquet", pool[3:4], lambda number: number)
    with pytest.raises(
        CatalogError, match=r"changes: .*'product_id' is text in the index, and whole numbers in .*c\.p"
    ):
        update_index(tmp_path / "index", repository, changes=changes, progress=False)
    with pytest.raises(CatalogError, match="removed: the index has texts as ids, got 7: write them as text"):
        update_index(tmp_path / "index", repository, removed=[7], progress=False)
    (tmp_path / "digits.csv").write_text("product_id,title\n17,white mug\n")
    assert update_index(tmp_path / "index", repository, changes=tmp_path / "digits.csv", progress=False).added == 1
    assert update_index(tmp_path / "index", repository, removed=["17"], progress=False).removed == 1


@pytest.mark.parametrize(
    ("files", "ids"),
    [
        ({"a.csv": "1\n2", "b.csv": "3\nA-4"}, ["1", "2", "3", "A-4"]),
        ({"a.csv": "0012"}, ["0012"]),
        ({"a.csv": "1\n2"}, [1, 2]),
        ({"a.csv": ""}, []),
    ],
)
def test_the_files_of_a_catalogue_decide_together(tmp_path: Path, files: dict[str, str], ids: list[Any]) -> None:
    for name, column in files.items():
        rows = "".join(f"{one},mug\n" for one in column.split())
        (tmp_path / name).write_text(f"product_id,title\n{rows}")
    found = [rows.shop_id(place) for rows in Catalog(tmp_path).read(64) for place in range(len(rows.ids))]
    assert found == ids


def test_ids_that_change_type_between_files_are_named_with_both(tmp_path: Path) -> None:
    pq.write_table(pa.table({"product_id": [1], "title": ["mug"]}), tmp_path / "a.parquet")
    pq.write_table(pa.table({"product_id": ["A-1"], "title": ["mug"]}), tmp_path / "b.parquet")
    with pytest.raises(CatalogError, match=r"is whole numbers in .*a\.parquet, and text in .*b\.parquet: write both"):
        Catalog(tmp_path)
    (tmp_path / "b.parquet").unlink()
    (tmp_path / "c.csv").write_text("product_id,title\n7,mug\nA-2,cup\n")
    with pytest.raises(
        CatalogError, match=r"whole numbers in .*a\.parquet, and row 1 of .*c\.csv has 'A-2': write both"
    ):
        Catalog(tmp_path)


def test_odd_text_ids_are_listed_and_uuids_are_text(tmp_path: Path) -> None:
    one = uuid.UUID(int=2**100)
    pq.write_table(pa.table({"product_id": pa.array([one.bytes], pa.uuid()), "title": ["mug"]}), tmp_path / "u.parquet")
    (rows,) = Catalog(tmp_path / "u.parquet").read(64)
    assert rows.keys == [str(one)] and rows.ids == [key_number(str(one))]
    odd = ["A", "", None, "  ", "a\tb", "\x85", "é" * 256, "é" * 257, "A"]
    pq.write_table(pa.table({"product_id": odd, "title": ["mug"] * len(odd)}), tmp_path / "o.parquet")
    (rows,) = Catalog(tmp_path / "o.parquet").read(64)
    skipped = Skipped()
    kept, numbers, keys = keep(rows, {}, ProductSet(), skipped)
    assert (kept, keys) == ([0, 6], ["A", "é" * 256]) and numbers.tolist() == [key_number("A"), key_number("é" * 256)]
    reasons = [reason for _, _, reason in skipped.rows]
    assert reasons[0] == reasons[1] == "product_id: is missing; give every product one"
    assert all("must be 1 to 512 bytes of text" in reason for reason in reasons[2:6])
    assert skipped.rows[-1][1:] == ("A", "product_id: appears twice")


def test_two_texts_with_one_number_are_not_confused() -> None:
    """No such texts are known, so the rows say that they have one number."""
    rows = CatalogRows(
        start=0, ids=[5, 5, 5], keys=["a", "b", "a"], titles=[], photos=[], refused={}, attributes=pa.table({})
    )
    seen, skipped = ProductSet(), Skipped()
    assert keep(rows, {}, seen, skipped)[0] == [0]
    assert keep(rows, {}, seen, skipped)[0] == []  # the same against rows that were kept before
    assert [reason.partition("; ")[0] for _, _, reason in skipped.rows] == [
        *("product_id: 'b' happens to have the number of another id in this index", "product_id: appears twice"),
        *("product_id: appears twice", "product_id: 'b' happens to have the number of another id in this index"),
        "product_id: appears twice",
    ]


def test_a_number_of_a_text_shows_the_text() -> None:
    number = KeyNumber("A-1")
    assert number == key_number("A-1") and {number} == {key_number("A-1")}
    assert f"{number} {number!r}" == "'A-1' 'A-1'" and 0 <= number < 2**63
