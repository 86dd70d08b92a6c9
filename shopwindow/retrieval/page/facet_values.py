"""Which products have which value of a facet, or lie in which of its ranges."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from shopwindow.retrieval.request.attribute_columns import Column, ListColumn, NumberColumn, TextColumn, TimeColumn
from shopwindow.retrieval.request.filter_conditions import Condition
from shopwindow.retrieval.request.filter_rows import single_mask
from shopwindow.retrieval.request.page.facet_reading import Facet

_Single = TextColumn | NumberColumn | TimeColumn


@dataclass(frozen=True, kw_only=True)
class FacetValues:
    """The values of some products, each value of a product once.

    Attributes:
        codes: (pairs,) of an integer type: the number of the value in `values`, or of the range.
        places: (pairs,) of a signed integer type: the place of the product that has it, among the rows asked for.
        values: (size,), rising: texts (object), numbers, or times as in TimeColumn; None for ranges.
        size: how many values or ranges there are.
    """

    codes: np.ndarray
    places: np.ndarray
    values: np.ndarray | None
    size: int

    @property
    def nbytes(self) -> int:
        """How much memory it takes, without the texts."""
        return self.codes.nbytes + self.places.nbytes + (0 if self.values is None else self.values.nbytes)


def facet_values(facet: Facet, column: Column, rows: np.ndarray | None = None) -> FacetValues:
    """Find the values of products in one column.

    Args:
        facet: a checked facet on the column.
        column: the column.
        rows: (chosen,) int64 row numbers; None for all rows in order.
    """
    single: _Single
    if isinstance(column, ListColumn):
        single, (at, places) = column.values, _inside_lists(column, rows)
    else:
        single, at, places = column, rows, None
    codes, values, size = _ranges(facet, single, at) if facet.edges is not None else _numbered(single, at)
    held = np.flatnonzero(codes >= 0)
    codes, places = codes[held], held if places is None else places[held]
    if isinstance(column, ListColumn):  # a list may have a value twice
        order = np.argsort(codes, kind="stable")  # leaves places rising for each value, so that repeats are neighbours
        codes, places = codes[order], places[order]
        first = np.ones(len(codes), bool)
        first[1:] = (codes[1:] != codes[:-1]) | (places[1:] != places[:-1])
        codes, places = codes[first], places[first]
    places = places.astype(np.min_scalar_type(-int(places.max(initial=0)) - 1))
    return FacetValues(codes=codes, places=places, values=values, size=size)


def shown(column: Column, values: np.ndarray) -> list[Any]:
    """Return values of a facet as JSON has them: texts, numbers, true and false, ISO dates and timestamps in UTC."""
    single = column.values if isinstance(column, ListColumn) else column
    if isinstance(single, TimeColumn):
        return [
            _moment(text) for text in values.astype("datetime64[D]" if single.days else "datetime64[us]").astype(str)
        ]
    if isinstance(single, NumberColumn) and single.boolean:
        return list(map(bool, values))
    if values.dtype in (np.float32, np.float16):
        return [float(str(value)) for value in values]  # the shortest text: as float64, a float32 19.99 has more digits
    return list(values.tolist())


def _moment(text: str) -> str:
    return text.removesuffix(".000000") + "Z" if "T" in text else text


def _inside_lists(column: ListColumn, rows: np.ndarray | None) -> tuple[np.ndarray | None, np.ndarray]:
    """Return where the values of some rows lie, (values,) or None for all, and for each the place of its row."""
    ends = column.ends if rows is None else np.stack([column.ends[rows], column.ends[rows + 1]])
    lengths = np.diff(ends, axis=0).reshape(-1)
    places = np.repeat(np.arange(len(lengths)), lengths)
    if rows is None:
        return None, places
    before = np.cumsum(lengths, dtype=np.int64) - lengths
    return np.arange(len(places)) + (ends[0] - before)[places], places


def _numbered(single: _Single, at: np.ndarray | None) -> tuple[np.ndarray, np.ndarray, int]:
    """Return the number of each value, -1 if it is missing or infinite, which JSON has not; and the values, rising."""
    if isinstance(single, TextColumn):
        return _numbered_texts(single, at)
    numbers, present = (single.numbers, single.present) if at is None else (single.numbers[at], single.present[at])
    if numbers.dtype.kind == "f":
        present = present & np.isfinite(numbers)
        numbers = numbers + numbers.dtype.type(0)  # 0 for -0
    values, found = np.unique(numbers[present], return_inverse=True)
    codes = np.full(len(numbers), -1, np.min_scalar_type(-len(values) - 1))
    codes[present] = found
    return codes, values, len(values)


def _numbered_texts(single: TextColumn, at: np.ndarray | None) -> tuple[np.ndarray, np.ndarray, int]:
    if at is None:
        codes, texts = single.codes, single.texts
    else:  # few rows of a column may have few of very many values
        seen, codes = np.unique(single.codes[at], return_inverse=True)
        missing = int(np.count_nonzero(seen < 0))  # 1 if a value is missing: it is the first
        texts = [single.texts[code] for code in seen[missing:].tolist()]
        codes = codes - missing
    # UTF-8 sorts as code points do. Arrow lets other threads run meanwhile.
    order = np.asarray(pc.array_sort_indices(pa.array(texts, pa.large_string())))
    ranks = np.full(len(texts) + 1, -1, np.min_scalar_type(-len(texts) - 1))
    ranks[order] = np.arange(len(texts))
    return ranks[codes], np.array(texts, object)[order], len(texts)  # code -1 reads the last rank, which is -1


def _ranges(facet: Facet, single: _Single, at: np.ndarray | None) -> tuple[np.ndarray, None, int]:
    """Return the number of each value's range, -1 if it lies in none. An edge compares as in a filter."""
    assert facet.edges is not None and not isinstance(single, TextColumn)
    if at is not None:
        single = replace(single, numbers=single.numbers[at], present=single.present[at])
    reached = np.zeros(len(single.numbers), np.int8)  # how many edges: there are at most 100
    for edge in facet.edges:
        if edge is not None:
            reached += single_mask(Condition(facet.column, "gte", (edge,)), single)
    codes = reached if facet.edges[0] is None else reached - np.int8(1)
    size = len(facet.edges) - 1
    return np.where(single.present & (codes < size), codes, np.int8(-1)), None, size
