"""Milvus expressions keep exactly the products that row masks keep, evaluated by Milvus Lite."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shopwindow.indexing.full_build.into_milvus import load_into_milvus
from shopwindow.retrieval import InvalidRequest, open_index
from shopwindow.retrieval.engines import MilvusOptions
from shopwindow.retrieval.index.folder import write_index
from shopwindow.retrieval.milvus.collection import ID, connect
from shopwindow.retrieval.milvus.filter_expressions import fields_of, milvus_expression
from shopwindow.retrieval.request.attribute_columns import AttributeTable
from shopwindow.retrieval.request.filter_reading import parse_filter
from shopwindow.retrieval.request.filter_rows import filter_mask
from shopwindow.retrieval.request.parameters import parse_parameters
from tests.retrieval.index_parts import make_index
from tests.retrieval.request.any_request import FILTERS, product_table

ROWS = 600
EXTREMES = [-(2**63), 2**63 - 1, -1, 0, 1, 2**53 + 1, -(2**53) - 1, 2, None]
FLOATS = [0.0, -0.0, 19.99, 1e-300, -1e300, 1.5, 3.0, None, float("nan")]
SINGLES = [0.0, 19.99, 1e-38, -1.5, 16_777_217.0, 3.0, None]
HALVES = [0.0, 19.99, -1.5, 65_504.0, None]
TEXTS = ["", "it's", 'a "b"', "back\\slash", "tab\tnew\nline\r", "größe", "日本", "{x}", "c0 == 1", "%_", None]

DAYS = [None, date(1969, 12, 31), date(1970, 1, 1), date(1970, 1, 2), date(2024, 2, 29)]
MOMENTS = [None, *(datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=n) for n in (-1, 0, 1, 86_400_000_000))]


def awkward_table() -> pa.Table:
    """Columns whose names and values are hard to write in a query language."""
    return pa.table(
        {
            "title": pa.array([f"product {row}" for row in range(ROWS)]),
            "and": pa.array([EXTREMES[row % len(EXTREMES)] for row in range(ROWS)], pa.int64()),
            "größe in cm": pa.array([FLOATS[row % len(FLOATS)] for row in range(ROWS)], pa.float64()),
            "32": pa.array([SINGLES[row % len(SINGLES)] for row in range(ROWS)], pa.float32()),
            "16": pa.array([None if v is None else np.float16(v) for v in (HALVES * ROWS)[:ROWS]], pa.float16()),
            "unsigned": pa.array([abs(v or 0) % 2**63 for v in (EXTREMES * ROWS)[:ROWS]], pa.uint64()),
            "text": pa.array([TEXTS[row % len(TEXTS)] for row in range(ROWS)]),
            "code": pa.array([TEXTS[row % len(TEXTS)] for row in range(ROWS)]).dictionary_encode(),
            "flag": pa.array([[True, False, None][row % 3] for row in range(ROWS)], pa.bool_()),
            "small": pa.array([row % 200 for row in range(ROWS)], pa.uint8()),
            "made": pa.array([DAYS[row % len(DAYS)] for row in range(ROWS)], pa.date32()),
            "seen": pa.array([MOMENTS[row % len(MOMENTS)] for row in range(ROWS)], pa.timestamp("us", "UTC")),
            "tags": pa.array([["a", "b"], []] * (ROWS // 2), pa.list_(pa.string())),
            "never": pa.array([None] * ROWS, pa.float64()),
        }
    )


NUMBERS = st.sampled_from(
    [n for n in [*EXTREMES, *FLOATS, *SINGLES, *HALVES, 2.5, 1e39, -1e39, 1e308, 255, 256] if n == n and n is not None]
)
WORDS = st.sampled_from([*(text for text in TEXTS if text is not None), "absent", "\ud800"])
TIMES = st.sampled_from([m.isoformat() for m in [*DAYS, *MOMENTS] if m])
OPERANDS: dict[str, st.SearchStrategy[Any]] = {
    "and": NUMBERS,
    "größe in cm": NUMBERS,
    "32": NUMBERS,
    "16": NUMBERS,
    "unsigned": NUMBERS,
    "text": WORDS,
    "code": WORDS,
    "flag": st.booleans() | NUMBERS,
    "small": NUMBERS,
    "never": NUMBERS,
    "made": TIMES,
    "seen": TIMES,
}


@st.composite
def one_column(draw: st.DrawFn) -> dict[str, Any]:
    """Draw a filter of one operator, plain or negated."""
    column = draw(st.sampled_from(sorted(OPERANDS)))
    one = OPERANDS[column]
    operators = {"eq": one, "ne": one, "in": st.lists(one, min_size=1, max_size=4), "exists": st.booleans()}
    operators["not_in"] = operators["in"]
    if column not in ("text", "code"):
        operators.update(lt=one, lte=one, gt=one, gte=one)
    name = draw(st.sampled_from(sorted(operators)))
    filter = {"and": [{column: {name: draw(operators[name])}}]}
    return {"not": filter} if draw(st.booleans()) else filter


class Filled:
    """A table of products in a collection.

    Args:
        place: an empty folder.
        milvus: where Milvus is.
        table: columns of the products.
        name: prefix of the collection's name.
    """

    def __init__(self, place: Path, milvus: MilvusOptions, table: pa.Table, name: str) -> None:
        folder = make_index("flat", table.num_rows)
        write_index(
            place / "index",
            manifest=folder.manifest,
            vectors=folder.vectors,
            product_ids=folder.product_ids,
            attributes=table,
            engine=folder.engine,
            skipped="",
        )
        self.home, self.towers = place / "home", folder.manifest.tower_hash
        load_into_milvus(place / "index", self.home, milvus, prefix=name, progress=False)
        self.table = AttributeTable(table)
        self._fields = fields_of(self.table)
        self._collection = f"{name}_000001"
        self._client = connect(milvus)
        self._ids = folder.product_ids

    def kept(self, filter: dict[str, Any]) -> np.ndarray:
        """Return (rows,) bool, as Milvus evaluates the filter."""
        expression = milvus_expression(parse_filter(filter), self._fields)
        if isinstance(expression, bool):
            return np.full(len(self._ids), expression)
        found = self._client.query(self._collection, filter=expression, output_fields=[ID], limit=len(self._ids))
        return np.isin(self._ids, [row[ID] for row in found])


@pytest.fixture(scope="module")
def awkward(tmp_path_factory: pytest.TempPathFactory, milvus: MilvusOptions) -> Filled:
    """Columns whose names and values are hard to write in a query language."""
    return Filled(tmp_path_factory.mktemp("awkward"), milvus, awkward_table(), "awkward")


@pytest.fixture(scope="module")
def products(tmp_path_factory: pytest.TempPathFactory, milvus: MilvusOptions) -> Filled:
    """The products of the property tests of engines."""
    return Filled(tmp_path_factory.mktemp("products"), milvus, product_table(), "products")


@settings(max_examples=120)
@given(filter=one_column())
def test_every_operator_keeps_the_same_products_as_a_mask(awkward: Filled, filter: dict[str, Any]) -> None:
    np.testing.assert_array_equal(awkward.kept(filter), filter_mask(parse_filter(filter), awkward.table))


@settings(max_examples=40)
@given(filter=FILTERS)
def test_combinations_keep_the_same_products_as_a_mask(products: Filled, filter: dict[str, Any]) -> None:
    np.testing.assert_array_equal(products.kept(filter), filter_mask(parse_filter(filter), products.table))


def test_a_filter_on_lists_is_refused(awkward: Filled, milvus: MilvusOptions, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOPWINDOW_MILVUS_URI", milvus.uri)
    index = open_index(awkward.home, tower_hash=awkward.towers)
    with pytest.raises(InvalidRequest, match=r"filter\.tags: the column holds lists, and an index in Milvus cannot"):
        index.check_parameters(parse_parameters({"filter": '{"tags": "a"}'}))


def test_fields_depend_on_types_only() -> None:
    table = awkward_table()
    assert fields_of(AttributeTable(table.slice(0, 0))) == fields_of(AttributeTable(table))
