"""Filters over attribute columns: JSON in, a row mask out.

Grammar: an object whose keys are columns, all of which must hold.

    {"colour": "red"}                          equal
    {"brand": {"in": ["Nordvale", "Kesto"]}}   one of
    {"price": {"gte": 10, "lt": 50}}           range (lt, lte, gt, gte; any two sides)

A product whose value is missing satisfies no condition on that column.
"""

from __future__ import annotations

import difflib
import json
import math
import operator
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from retrieval.attributes import AttributeTable, NumberColumn, TextColumn
from retrieval.errors import InvalidRequest, show

MAX_FILTER_BYTES = 16_384
MAX_IN_VALUES = 1_000

_RANGES = {"lt": operator.lt, "lte": operator.le, "gt": operator.gt, "gte": operator.ge}
_OPERATORS = ("eq", "in", *_RANGES)

Scalar = str | int | float | bool


@dataclass(frozen=True, order=True)
class Condition:
    """One test on one column. `values` has one entry, or several for the operator `in`."""

    column: str
    operator: str
    values: tuple[Scalar, ...]


Filter = tuple[Condition, ...]
"""Conditions that must all hold, in a canonical order, so that equal filters compare and hash equal."""


def parse_filter(text: str | Mapping[str, Any]) -> Filter:
    """Read a filter.

    Args:
        text: the JSON text, or the object it stands for.

    Returns:
        The conditions; empty for `{}`.

    Raises:
        InvalidRequest: not JSON, not an object, an unknown operator, or a value of the wrong form.
    """
    if isinstance(text, str):
        size = len(text.encode("utf-8", "surrogatepass"))
        if size > MAX_FILTER_BYTES:
            raise InvalidRequest("filter", f"at most {MAX_FILTER_BYTES} bytes of JSON, got {size}")
        try:
            text = json.loads(text, object_pairs_hook=_no_repeats)
        except InvalidRequest:
            raise
        except (ValueError, RecursionError) as error:  # ValueError: malformed, or an integer of thousands of digits
            raise InvalidRequest("filter", f"not valid JSON ({error}): {show(text)}") from None
    if not isinstance(text, Mapping):
        raise InvalidRequest("filter", f"must be a JSON object of column: condition, got {show(text)}")
    conditions: list[Condition] = []
    for column, condition in text.items():
        conditions.extend(_conditions(column, condition))
    # Text order of the values, not their own: a list may mix types that Python refuses to compare.
    return tuple(sorted(conditions, key=lambda c: (c.column, c.operator, repr(c.values))))


def _no_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object's pairs as a dict; plain `json` would silently drop all but the last condition on a column."""
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise InvalidRequest("filter", f"{show(name)} appears twice; one condition may have both sides of a range")
        found[name] = value
    return found


def _conditions(column: str, condition: Any) -> list[Condition]:
    field = f"filter.{column}"[:60]
    if not isinstance(condition, Mapping):
        return [Condition(column, "eq", (_scalar(field, condition),))]
    if not condition:
        raise InvalidRequest(field, f"an empty condition; give a value or one of {', '.join(_OPERATORS)}")
    found = []
    for name, value in condition.items():
        if name not in _OPERATORS:
            raise InvalidRequest(field, f"unknown operator {show(name)}; known: {', '.join(_OPERATORS)}")
        if name == "in":
            if not isinstance(value, list) or not 1 <= len(value) <= MAX_IN_VALUES:
                raise InvalidRequest(f"{field}.in", f"must be a list of 1 to {MAX_IN_VALUES} values, got {show(value)}")
            found.append(Condition(column, "in", tuple(_scalar(f"{field}.in", v) for v in value)))
        else:
            found.append(Condition(column, name, (_scalar(f"{field}.{name}", value),)))
    return found


def _scalar(field: str, value: Any) -> Scalar:
    if not isinstance(value, (str, int, float, bool)):
        raise InvalidRequest(field, f"must be a text, a number or true/false, got {show(value)}")
    if isinstance(value, float) and not math.isfinite(value):
        raise InvalidRequest(field, f"must be finite, got {value}")
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        raise InvalidRequest(field, f"must fit 64 bits, got {show(value)}")
    return value


def check_filter(conditions: Filter, table: AttributeTable) -> None:
    """Raise InvalidRequest when a condition names an unknown column or a value of the wrong type for its column."""
    for condition in conditions:
        field = f"filter.{condition.column}"[:60]
        column = table.get(condition.column)
        if column is None:
            near = difflib.get_close_matches(condition.column, table.names, n=1)
            hint = f" (did you mean {near[0]!r}?)" if near else ""
            known = ", ".join(table.names) or "none"
            raise InvalidRequest(field, f"no such attribute{hint}; this index has: {known}")
        if isinstance(column, TextColumn) and condition.operator in _RANGES:
            raise InvalidRequest(field, f"{condition.operator} needs a number column; {condition.column} holds text")
        for value in condition.values:
            if isinstance(column, TextColumn) != isinstance(value, str):
                kind = "text" if isinstance(column, TextColumn) else "numbers"
                raise InvalidRequest(field, f"the column holds {kind}, got {show(value)}")


def filter_mask(conditions: Filter, table: AttributeTable) -> np.ndarray:
    """Which products satisfy every condition.

    Args:
        conditions: from `parse_filter`, checked with `check_filter`.
        table: the index's attribute columns.

    Returns:
        (rows,) bool.
    """
    mask = np.ones(table.rows, dtype=bool)
    for condition in conditions:
        column = table.get(condition.column)
        if isinstance(column, TextColumn):
            codes = [column.values[v] for v in condition.values if isinstance(v, str) and v in column.values]
            mask &= np.isin(column.codes, codes) if len(codes) != 1 else column.codes == codes[0]
        elif isinstance(column, NumberColumn):
            if condition.operator in _RANGES:
                mask &= _RANGES[condition.operator](column.numbers, condition.values[0])
            else:
                mask &= np.isin(column.numbers, condition.values)
            mask &= column.present
    return mask
