"""Check a filter against the columns of an index, and find the products that satisfy it."""

from __future__ import annotations

import difflib
import math
import operator

import numpy as np

from shopwindow.retrieval.errors import InvalidRequest, show
from shopwindow.retrieval.request.attribute_columns import (
    AttributeTable,
    Column,
    ListColumn,
    NumberColumn,
    TextColumn,
    TimeColumn,
)
from shopwindow.retrieval.request.filter_conditions import Condition, Expression, Filter, Group, Scalar, conditions_of
from shopwindow.retrieval.request.moments import DAY, read_moment

RANGES = {"lt": operator.lt, "lte": operator.le, "gt": operator.gt, "gte": operator.ge}

# How to round a limit so that whole numbers compare the same: n < 2.5 means n < 3, and n > 2.5 means n > 2.
WHOLE_LIMIT = {"lt": math.ceil, "gte": math.ceil, "lte": math.floor, "gt": math.floor}


def check_filter(conditions: Filter, table: AttributeTable, field: str = "filter") -> None:
    """Raise InvalidRequest if a condition names an unknown column, or a value of the wrong type for its column.

    `field` is where the caller wrote the filter, for errors.
    """
    for condition in conditions_of(conditions):
        name = f"{field}.{condition.column}"[:60]
        _check_condition(name, condition, known_column(name, condition.column, table))


def known_column(field: str, name: str, table: AttributeTable) -> Column:
    """Return a column of the index. If it has none of that name, raise InvalidRequest, which names `field`."""
    column = table.get(name)
    if column is None:
        near = difflib.get_close_matches(name, table.names, n=1)
        hint = f" (did you mean {near[0]!r}?)" if near else ""
        known = ", ".join(table.names) or "none"
        raise InvalidRequest(field, f"no such attribute{hint}; this index has: {known}; got {show(name)}")
    return column


def _check_condition(field: str, condition: Condition, column: Column) -> None:
    if condition.operator == "contains_all" and not isinstance(column, ListColumn):
        raise InvalidRequest(field, f"contains_all needs a column of lists; {condition.column} holds single values")
    single = column.values if isinstance(column, ListColumn) else column
    if isinstance(single, TextColumn) and condition.operator in RANGES:
        raise InvalidRequest(field, f"{condition.operator} needs a number column; {condition.column} holds text")
    for value in condition.values:
        if isinstance(single, TimeColumn):
            _check_moment(field, value)
        elif isinstance(single, TextColumn) != isinstance(value, str):
            kind = "text" if isinstance(single, TextColumn) else "numbers"
            raise InvalidRequest(field, f"the column holds {kind}, got {show(value)}")


def _check_moment(field: str, value: Scalar) -> None:
    try:
        read_moment(str(value) if isinstance(value, str) else "")
    except ValueError:
        raise InvalidRequest(
            field,
            f"the column holds dates; write one like 2024-01-31 or 2024-01-31T12:00:00Z, got {show(value)}",
        ) from None


def filter_mask(conditions: Filter, table: AttributeTable) -> np.ndarray:
    """Find the products that satisfy every condition.

    Args:
        conditions: from `parse_filter`, checked with `check_filter`.
        table: the attribute columns of the index.

    Returns:
        (rows,) bool, in index order.
    """
    return _mask(Group("and", conditions), table)


def _mask(expression: Expression, table: AttributeTable) -> np.ndarray:
    """Return (rows,) bool. The array is new, so the caller may change it."""
    if isinstance(expression, Group):
        join, start = (np.logical_and, True) if expression.operator == "and" else (np.logical_or, False)
        mask = np.full(table.rows, start)
        for part in expression.parts:  # one at a time: a long filter would need much memory for a mask per condition
            join(mask, _mask(part, table), out=mask)
        return mask
    column = table.get(expression.column)
    assert column is not None, f"unchecked filter: no column {expression.column!r}"
    mask = _list_mask(expression, column) if isinstance(column, ListColumn) else single_mask(expression, column)
    return np.logical_not(mask, out=mask) if expression.negated else mask


def _list_mask(condition: Condition, column: ListColumn) -> np.ndarray:
    if condition.operator != "contains_all":
        return column.any(single_mask(condition, column.values))
    mask = np.ones(len(column.ends) - 1, bool)
    for value in condition.values:
        mask &= column.any(single_mask(Condition(condition.column, "eq", (value,)), column.values))
    return mask


def single_mask(condition: Condition, column: TextColumn | NumberColumn | TimeColumn) -> np.ndarray:
    """Return which values of a column of single values, (rows,), pass a checked test: (rows,) bool, a new array.

    It does not look at the condition's `column` and `negated`.
    """
    if isinstance(column, TextColumn):
        return _text_mask(condition, column)
    if condition.operator == "exists":
        return column.present.copy()
    mask = _time_mask(condition, column) if isinstance(column, TimeColumn) else _number_mask(condition, column)
    mask &= column.present
    return mask


def _time_mask(condition: Condition, column: TimeColumn) -> np.ndarray:
    moments = [read_moment(value) for value in condition.values if isinstance(value, str)]
    numbers = column.numbers
    if condition.operator in RANGES:
        return _compared(condition.operator, numbers, moments[0].limit(condition.operator, days=column.days))
    spans = [span for moment in moments if (span := moment.span(days=column.days))]
    mask = np.isin(numbers, [first for first, last in spans if first == last])
    if days := [first // DAY for first, last in spans if first < last]:
        mask |= np.isin(numbers // DAY, days)
    return mask


def _text_mask(condition: Condition, column: TextColumn) -> np.ndarray:
    if condition.operator == "exists":
        return np.asarray(column.codes >= 0)
    codes = [column.values[v] for v in condition.values if isinstance(v, str) and v in column.values]
    if len(codes) == 1:
        return np.asarray(column.codes == codes[0])
    allowed = np.zeros(len(column.values) + 1, dtype=bool)
    allowed[codes] = True
    return np.asarray(allowed[column.codes])  # the code of a missing value, -1, reads the last entry, which is False


def _number_mask(condition: Condition, column: NumberColumn) -> np.ndarray:
    numbers = column.numbers
    if condition.operator in RANGES:
        return _range_mask(condition, numbers)
    values = _values_like(condition, numbers)
    return np.asarray(numbers == values[0]) if len(values) == 1 else np.isin(numbers, values)


def _range_mask(condition: Condition, numbers: np.ndarray) -> np.ndarray:
    compare, value = RANGES[condition.operator], condition.values[0]
    assert not isinstance(value, str)
    if numbers.dtype.kind == "f":
        with np.errstate(over="ignore"):  # for a limit beyond float32, infinity gives the same answer
            return np.asarray(compare(numbers, numbers.dtype.type(value)))
    return _compared(condition.operator, numbers, WHOLE_LIMIT[condition.operator](value))


def _compared(operator: str, numbers: np.ndarray, limit: int) -> np.ndarray:
    """Compare whole numbers, of any integer type, with a whole number of any size."""
    compare, bounds = RANGES[operator], np.iinfo(numbers.dtype)
    if not bounds.min <= limit <= bounds.max:  # every number of the column is on the same side of the limit as 0
        return np.full(len(numbers), compare(0, limit))
    return np.asarray(compare(numbers, limit))


def _values_like(condition: Condition, numbers: np.ndarray) -> np.ndarray:
    """Return the operands in the column's type, so that 64-bit ids stay exact and 19.99 equals a float32 19.99."""
    values = [value for value in condition.values if not isinstance(value, str)]
    if numbers.dtype.kind == "f":
        with np.errstate(over="ignore"):
            return np.array(values, dtype=numbers.dtype)
    bounds = np.iinfo(numbers.dtype)
    # A value that is not whole, or too large for the column, equals none of its numbers.
    return np.array([int(v) for v in values if v == int(v) and bounds.min <= v <= bounds.max], dtype=numbers.dtype)
