"""Filters read in plain Python: which products satisfy one, and what is left of it for a facet."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import Any

Product = dict[str, Any]
Expression = tuple[Any, ...]
"""("test", column, operator, operand, negated), or ("and", expressions) or ("or", expressions) with a frozenset."""

_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "eq": operator.eq,
    "lt": operator.lt,
    "lte": operator.le,
    "gt": operator.gt,
    "gte": operator.ge,
}


def values_of(value: Any) -> list[Any]:
    """Return the values that a product has in a column, each once: none, one, or those of its list."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return []
    return list(dict.fromkeys(value)) if isinstance(value, list) else [value]


def read(filter: dict[str, Any]) -> Expression:
    """Read a filter. `not` is pushed down to the tests, and `and` in `and` becomes one `and`."""
    parts = []
    for name, value in filter.items():
        if name in ("and", "or"):
            parts.append(_joined(name, [read(part) for part in value]))
        elif name == "not":
            parts.append(_negated(read(value)))
        else:
            for test, operand in (value if isinstance(value, dict) else {"eq": value}).items():
                positive = {"ne": "eq", "not_in": "in"}.get(test, test)
                kept = tuple(operand) if isinstance(operand, list) else operand
                negated = positive != test
                if test == "exists":
                    kept, negated = True, not operand
                parts.append(("test", name, positive, kept, negated))
    return _joined("and", parts)


def without(expression: Expression, column: str) -> Expression:
    """Return what is left of a filter without its expressions that test only this column."""
    parts = expression[1] if expression[0] == "and" else {expression}
    return _joined("and", [part for part in parts if _columns(part) != {column}])


def holds(expression: Expression, product: Product) -> bool:
    """Return whether a product satisfies an expression."""
    if expression[0] != "test":
        return (all if expression[0] == "and" else any)(holds(part, product) for part in expression[1])
    _, column, test, operand, negated = expression
    has = values_of(product[column])
    if test == "exists":
        found = bool(has)
    elif test == "contains_all":
        found = all(one in has for one in operand)
    elif test == "in":
        found = any(_passes("eq", value, one) for value in has for one in operand)
    else:
        found = any(_passes(test, value, operand) for value in has)
    return bool(found != negated)


def _passes(test: str, value: Any, operand: Any) -> bool:
    if isinstance(value, date):
        operand = comparable(operand)
        # A date stands for its whole day if it is compared with moments.
        value = value.date() if isinstance(value, datetime) and not isinstance(operand, datetime) else value
    return _COMPARE[test](value, operand)


def comparable(text: str) -> date:
    """Return the date, or the moment, that a text in ISO 8601 stands for."""
    if len(text) == len("2024-01-31"):
        return date.fromisoformat(text)
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _joined(join: str, parts: list[Expression]) -> Expression:
    flat: set[Expression] = set()
    for part in parts:
        flat |= set(part[1]) if part[0] == join else {part}
    return next(iter(flat)) if len(flat) == 1 else (join, frozenset(flat))


def _negated(expression: Expression) -> Expression:
    if expression[0] == "test":
        return (*expression[:4], not expression[4])
    return _joined("or" if expression[0] == "and" else "and", [_negated(part) for part in expression[1]])


def _columns(expression: Expression) -> set[str]:
    if expression[0] == "test":
        return {expression[1]}
    return set().union(*map(_columns, expression[1]))
