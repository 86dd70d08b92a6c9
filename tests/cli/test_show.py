"""Titles and photos of found products, from an index and its catalogue."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from shopwindow.cli.server.show import look_up, table
from shopwindow.retrieval.index.folder import write_index
from shopwindow_client import Results
from tests.retrieval.index_parts import make_index


@pytest.mark.parametrize("kind", ["file", "folder", "many files"])
def test_photos_come_from_catalogues_whose_path_has_a_colon_and_from_long_lists(tmp_path: Path, kind: str) -> None:
    file = tmp_path / "of: today" / "part:1.parquet" if kind != "many files" else tmp_path / "part-1.parquet"
    files = [str(file), *(str(tmp_path / f"part-{number}.parquet") for number in range(2, 200))]
    catalog = {"file": str(file), "folder": str(file.parent), "many files": os.pathsep.join(files)}[kind]
    assert kind != "many files" or len(catalog) > 4_096  # the longest path of Linux
    made = make_index("flat", 8)
    ids = made.product_ids.tolist()
    file.parent.mkdir(exist_ok=True)
    pq.write_table(pa.table({"product_id": ids, "image": [b"%d" % product for product in ids]}), file)
    write_index(
        tmp_path / "index",
        manifest=replace(made.manifest, catalog=catalog),
        vectors=made.vectors,
        product_ids=made.product_ids,
        attributes=made.attributes,
        engine=made.engine,
        skipped="row,product_id,reason\n",
    )
    [found] = look_up(tmp_path / "index", True, {ids[3]}, images=True).values()
    assert found.image == b"%d" % ids[3]


def test_attributes_are_shown_beside_titles(tmp_path: Path) -> None:
    made = make_index("flat", 4)
    ids = made.product_ids.tolist()
    columns = {"title": ["mug"] * 4, "price": [4950.0, 7.5, None, 1.0], "sizes": [["S", "M"], [], None, ["L"]]}
    columns["photo"] = [b"1.png", b"2.png", None, None]  # where photos are, as the index keeps it
    write_index(
        tmp_path / "index",
        manifest=made.manifest,
        vectors=made.vectors,
        product_ids=made.product_ids,
        attributes=pa.table(columns),
        engine=made.engine,
        skipped="row,product_id,reason\n",
    )
    found = look_up(tmp_path / "index", True, {*ids}, images=False, beside=["price", "sizes"])
    assert [one.details for one in found.values()] == ["price 4950, sizes S, M", "price 7.5", "", "price 1, sizes L"]
    results = Results(np.array([ids]), np.full((1, 4), 0.5, np.float32))
    lines = table(["mugs"], results, found).splitlines()
    assert [line.partition("mug")[2] for line in lines[1:]] == [
        "  price 4950  sizes S, M",
        "  price 7.5",
        "",
        "  price 1  sizes L",
    ]
    with pytest.raises(
        ValueError, match=r"--show: the index has no attribute 'cost'; it has title, price, sizes, photo"
    ):
        look_up(tmp_path / "index", True, {*ids}, images=False, beside=["cost"])
    assert look_up(tmp_path / "index", True, {ids[1]}, images=False, beside=["photo"])[ids[1]].beside == "  photo 2.png"
