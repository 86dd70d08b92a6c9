"""A parsed filter against the columns of an index: does it fit them, and which products satisfy it."""

from __future__ import annotations

import difflib
import math
import operator

import numpy as np

from shopwindow.retrieval.errors import InvalidRequest, show
from shopwindow.retrieval.request.attribute_columns import AttributeTable, NumberColumn, TextColumn
from shopwindow.retrieval.request.filter_conditions import Condition, Expression, Filter, Group, conditions_of

RANGES = {"lt": operator.lt, "lte": operator.le, "gt": operator.gt, "gte": operator.ge}

# A limit between two whole numbers, as the whole number that divides them alike: n < 2.5 means n < 3, n > 2.5 n > 2.
WHOLE_LIMIT = {"lt": math.ceil, "gte": math.ceil, "lte": math.floor, "gt": math.floor}


def check_filter(conditions: Filter, table: AttributeTable) -> None:
    """Raise InvalidRequest when a condition names an unknown column or a value of the wrong type for its column."""
    for condition in conditions_of(conditions):
        field = f"filter.{condition.column}"[:60]
        column = table.get(condition.column)
        if column is None:
            near = difflib.get_close_matches(condition.column, table.names, n=1)
            hint = f" (did you mean {near[0]!r}?)" if near else ""
            known = ", ".join(table.names) or "none"
            raise InvalidRequest(field, f"no such attribute{hint}; this index has: {known}")
        if isinstance(column, TextColumn) and condition.operator in RANGES:
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
    return _mask(Group("and", conditions), table)


def _mask(expression: Expression, table: AttributeTable) -> np.ndarray:
    """(rows,) bool, the caller's own to change."""
    if isinstance(expression, Group):
        join, start = (np.logical_and, True) if expression.operator == "and" else (np.logical_or, False)
        mask = np.full(table.rows, start)
        for part in expression.parts:  # one at a time: a long filter must not hold a mask for each of its conditions
            join(mask, _mask(part, table), out=mask)
        return mask
    column = table.get(expression.column)
    if isinstance(column, TextColumn):
        mask = _text_mask(expression, column)
    else:
        assert column is not None, f"unchecked filter: no column {expression.column!r}"
        mask = _number_mask(expression, column)
    return np.logical_not(mask, out=mask) if expression.negated else mask


def _text_mask(condition: Condition, column: TextColumn) -> np.ndarray:
    if condition.operator == "exists":
        return np.asarray(column.codes >= 0)
    codes = [column.values[v] for v in condition.values if isinstance(v, str) and v in column.values]
    if len(codes) == 1:
        return np.asarray(column.codes == codes[0])
    wanted = np.zeros(len(column.values) + 1, dtype=bool)
    wanted[codes] = True
    return np.asarray(wanted[column.codes])  # a missing value's code, -1, reads the last entry: False


def _number_mask(condition: Condition, column: NumberColumn) -> np.ndarray:
    if condition.operator == "exists":
        return column.present.copy()
    numbers = column.numbers
    if condition.operator in RANGES:
        mask = _range_mask(condition, numbers)
    else:
        values = _values_like(condition, numbers)
        mask = np.asarray(numbers == values[0]) if len(values) == 1 else np.isin(numbers, values)
    mask &= column.present
    return mask


def _range_mask(condition: Condition, numbers: np.ndarray) -> np.ndarray:
    compare, value = RANGES[condition.operator], condition.values[0]
    assert not isinstance(value, str)
    if numbers.dtype.kind == "f":
        with np.errstate(over="ignore"):  # beyond float32, infinity is as good a limit
            return np.asarray(compare(numbers, numbers.dtype.type(value)))
    limit, bounds = WHOLE_LIMIT[condition.operator](value), np.iinfo(numbers.dtype)
    if not bounds.min <= limit <= bounds.max:  # every number lies on the same side of it as 0
        return np.full(len(numbers), compare(0, limit))
    return np.asarray(compare(numbers, limit))


def _values_like(condition: Condition, numbers: np.ndarray) -> np.ndarray:
    """The operands in the column's own type: 64-bit ids don't pass through floats, and 19.99 finds a float32 19.99."""
    values = [value for value in condition.values if not isinstance(value, str)]
    if numbers.dtype.kind == "f":
        with np.errstate(over="ignore"):
            return np.array(values, dtype=numbers.dtype)
    bounds = np.iinfo(numbers.dtype)
    # What is not whole, or too large for the column, equals none of its numbers.
    return np.array([int(v) for v in values if v == int(v) and bounds.min <= v <= bounds.max], dtype=numbers.dtype)
