"""Long descriptions: parts and row groups are bounded in bytes, and what older indexes hold can be joined."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from shopwindow.indexing.catalogue.plain_types import plain_table
from shopwindow.indexing.full_build import embedding, finishing
from shopwindow.indexing.full_build.run import build_index
from shopwindow.indexing.update.attribute_rows import Merge, merge_attributes
from shopwindow.indexing.update.run import update_index
from shopwindow.retrieval.index.home import resolve_index
from shopwindow.retrieval.opening import open_index
from shopwindow.retrieval.request.filter_reading import parse_filter


def test_long_texts_are_written_in_small_row_groups(
    tmp_path: Path, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedding, "PART_BYTES", 2**20)
    monkeypatch.setattr(finishing, "_GROUP_BYTES", 2**20)
    texts = [f"{number} " + "soft and warm " * 1_000 for number in range(600)]
    columns = {"product_id": range(600), "title": [f"mug {n}" for n in range(600)], "description": texts}
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")
    home = tmp_path / "index"
    build_index(tmp_path / "a.parquet", repository, home, recipe="flat", progress=False)
    groups = pq.read_metadata(resolve_index(home) / "attributes.parquet")
    assert groups.num_row_groups > 3
    assert max(groups.row_group(n).total_byte_size for n in range(groups.num_row_groups)) < 4 * 2**20
    (tmp_path / "changes.csv").write_text("product_id,description\n7,short\n")
    assert update_index(home, repository, changes=tmp_path / "changes.csv", progress=False).attributes_only == 1
    index = open_index(home)
    for text, row in ((texts[599], 599), ("short", 7)):
        found = index.mask(parse_filter({"description": text}))
        assert found is not None
        assert np.flatnonzero(found.rows).tolist() == [row]


@pytest.mark.parametrize("kind", [pa.string(), pa.dictionary(pa.int32(), pa.string())], ids=str)
def test_the_text_of_an_older_index_is_joined_in_a_type_without_limit(kind: pa.DataType) -> None:
    """Arrow's `string` counts bytes with 31 bits, so a merged column of 2 GiB must not be of it."""
    served = pa.table({"description": pa.chunked_array([pa.array(["a", None, "b"]).cast(kind)] * 3)})
    merge = Merge(served.num_rows)
    merge.add(pa.table({"description": pa.array(["short"], pa.large_string())}), {0: (5, False)})
    merged = merge_attributes(plain_table(served), merge)["description"]
    assert merged.type == pa.large_string()
    assert merged.to_pylist() == ["a", None, "b", "a", None, "short", "a", None, "b"]
