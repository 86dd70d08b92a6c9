"""Random requests over made-up products: any filter, top_k and effort, in any mix. Also checks of the answers."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from hypothesis import strategies as st

from shopwindow.retrieval import SearchResult
from shopwindow.retrieval.index.folder import IndexFolder
from shopwindow.retrieval.request.parameters import DEFAULT_EFFORT
from tests.ranking import TOLERANCE
from tests.retrieval.index_parts import DIM, unit_vectors

ROWS = 2_000
QUERIES_EACH = 40  # per request; so many that one missed product is less than 5 % of the best

BRANDS, CATEGORIES = ["Nordvale", "Kesto", "größe", ""], ["mug", "dress", "lamp"]


def product_columns() -> dict[str, np.ndarray]:
    """Return column -> (ROWS,) object array. A missing value is None or NaN. Vectors of one category are neighbours."""
    rng = np.random.default_rng(5)
    columns = {
        "brand": rng.choice(np.array(BRANDS, object), ROWS, p=[0.7, 0.2, 0.07, 0.03]),
        "category": np.array(CATEGORIES, object)[np.argmax(unit_vectors(ROWS)[:, :3], axis=1)],
        "supplier_id": rng.geometric(0.15, ROWS).astype(object),
        "price": (rng.integers(0, 400, ROWS) / 4).astype(object),
        "in_stock": (rng.random(ROWS) < 0.8).astype(object),
    }
    for values in columns.values():
        values[rng.random(ROWS) < 0.1] = None
    columns["price"][::50] = np.nan
    return columns


COLUMNS = product_columns()

OPERANDS: dict[str, st.SearchStrategy[Any]] = {
    "brand": st.sampled_from([*BRANDS, "unheard of"]),
    "category": st.sampled_from(CATEGORIES),
    "supplier_id": st.integers(0, 20) | st.sampled_from([2.5, 10**12]),
    "price": st.integers(0, 420).map(lambda n: n / 4) | st.integers(-1, 101),
    "in_stock": st.booleans(),
}


def condition(column: str) -> st.SearchStrategy[Any]:
    """Draw a bare value, or one to three operators."""
    one, several = OPERANDS[column], st.lists(OPERANDS[column], min_size=1, max_size=4)
    operators = {"eq": one, "ne": one, "in": several, "not_in": several, "exists": st.booleans()}
    if column not in ("brand", "category"):
        operators.update(lt=one, lte=one, gt=one, gte=one)
    chosen = st.lists(st.sampled_from(sorted(operators)), unique=True, min_size=1, max_size=3)
    return one | chosen.flatmap(lambda names: st.fixed_dictionaries({name: operators[name] for name in names}))


CONDITION = {column: condition(column) for column in OPERANDS}
ON_COLUMNS = st.fixed_dictionaries({}, optional=CONDITION).filter(lambda filter: 1 <= len(filter) <= 2)


def combined(inner: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    """Draw combinations of filters, sometimes beside a condition."""
    several = st.lists(inner, min_size=1, max_size=3)
    joins = {"and": several, "or": several, "not": inner, "price": CONDITION["price"]}
    return st.sampled_from([("and",), ("or",), ("not",), ("or", "not"), ("or", "price"), ("not", "price")]).flatmap(
        lambda names: st.fixed_dictionaries({name: joins[name] for name in names})
    )


FILTERS = st.recursive(ON_COLUMNS, combined, max_leaves=6)
SMALL_FILTERS = ON_COLUMNS | combined(ON_COLUMNS)  # small enough that a test can nest them further


def keeps(filter: dict[str, Any]) -> np.ndarray:
    """Return (ROWS,) bool from a plain reading of the grammar. A missing value fails `eq`, `in` and the ranges.
    Negations are complements."""
    mask = np.ones(ROWS, bool)
    for name, value in filter.items():
        if name == "and":
            mask &= np.all([keeps(part) for part in value], axis=0)
        elif name == "or":
            mask &= np.any([keeps(part) for part in value], axis=0)
        elif name == "not":
            mask &= ~keeps(value)
        else:
            for operator, operand in (value if isinstance(value, dict) else {"eq": value}).items():
                mask &= passes(COLUMNS[name], operator, operand)
    return mask


def passes(values: np.ndarray, operator: str, operand: Any) -> np.ndarray:
    """Return (ROWS,) bool for one operator."""
    present = np.array([value is not None and value == value for value in values])
    if operator == "exists":
        return present == operand
    if operator in ("eq", "ne"):
        return (values == operand) == (operator == "eq")
    if operator in ("in", "not_in"):
        return np.any([values == one for one in operand], axis=0) == (operator == "in")
    numbers = np.where(present, values, np.nan).astype(float)
    return {"lt": np.less, "lte": np.less_equal, "gt": np.greater, "gte": np.greater_equal}[operator](numbers, operand)


@dataclass(frozen=True)
class Request:
    """The request of one caller."""

    queries: np.ndarray
    top_k: int
    effort: int
    filter: dict[str, Any]

    def parameters(self) -> dict[str, Any]:
        """Return the parameters as a caller sends them."""
        return {"top_k": self.top_k, "effort": self.effort, "filter": json.dumps(self.filter)}


def queries_near_products() -> np.ndarray:
    """Return (400, DIM) float32 unit vectors near products."""
    rng = np.random.default_rng(6)
    near = unit_vectors(ROWS)[rng.integers(0, ROWS, 400)] + 0.2 * rng.normal(size=(400, DIM))
    return (near / np.linalg.norm(near, axis=1, keepdims=True)).astype(np.float32)


QUERIES = queries_near_products()


@st.composite
def batches(draw: st.DrawFn, largest: int = 10_000) -> list[Request]:
    """Draw one to five requests for up to `largest` products that share a few filters."""
    filters = [*draw(st.lists(FILTERS, min_size=1, max_size=3)), *draw(st.sampled_from([[], [{}]]))]
    return [
        Request(
            queries=QUERIES[(start := draw(st.integers(0, len(QUERIES) - QUERIES_EACH))) : start + QUERIES_EACH],
            top_k=draw(st.sampled_from([1, 10, 50, 100, largest])),
            effort=draw(st.sampled_from([1, 2, DEFAULT_EFFORT, 6, 10])),
            filter=draw(st.sampled_from(filters)),
        )
        for _ in range(draw(st.integers(1, 5)))
    ]


def product_table() -> pa.Table:
    """Return the columns of the products as a catalogue has them."""
    schema = {"supplier_id": pa.int64(), "price": pa.float64(), "in_stock": pa.bool_()}
    return pa.table({name: pa.array(values, schema.get(name, pa.string())) for name, values in COLUMNS.items()})


def assert_valid(folder: IndexFolder, request: Request, allowed: np.ndarray, result: SearchResult) -> None:
    """Assert true scores in falling order, of qualifying products, as many as exist up to top_k, then padding."""
    k = min(request.top_k, int(allowed.sum()))
    assert result.product_ids.shape == result.scores.shape == (len(request.queries), request.top_k)
    assert (result.product_ids[:, k:] == -1).all()
    assert np.isneginf(result.scores[:, k:]).all()
    order = np.argsort(folder.product_ids)
    rows = order[np.searchsorted(folder.product_ids, result.product_ids[:, :k], sorter=order).clip(max=ROWS - 1)]
    assert (folder.product_ids[rows] == result.product_ids[:, :k]).all()
    assert allowed[rows].all()
    assert all(len(np.unique(some)) == k for some in rows)
    true = np.take_along_axis(request.queries.astype(np.float64) @ folder.vectors.T.astype(np.float64), rows, 1)
    np.testing.assert_allclose(result.scores[:, :k], true, rtol=0, atol=TOLERANCE)
    assert (np.diff(result.scores[:, :k], axis=1) <= 0).all()


def found(folder: IndexFolder, request: Request, allowed: np.ndarray, result: SearchResult) -> tuple[int, int]:
    """Return how many of the best products are in the answer, and how many could be. Equal scores count as best."""
    k = min(request.top_k, int(allowed.sum()))
    best = np.sort(request.queries.astype(np.float64) @ folder.vectors[allowed].T.astype(np.float64), axis=1)[:, ::-1]
    return int((result.scores[:, :k] >= best[:, k - 1 : k] - TOLERANCE).sum()), k * len(request.queries)
