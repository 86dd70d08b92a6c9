"""Read filters over attribute columns from JSON.

The keys of an object are columns, and all their conditions must hold. `and`, `or` and `not` combine such objects.

    {"colour": "red"}                                    equal
    {"colour": {"ne": "red"}}                            not equal
    {"brand": {"in": ["Nordvale", "Kesto"]}}             one of; "not_in": none of
    {"price": {"gte": 10, "lt": 50}}                     range (lt, lte, gt, gte; any two sides): a price band
    {"stock": {"exists": true}}                          has a value; false: has none
    {"sizes": "M"}                                       the list of sizes has M; all other tests hold if one value does
    {"sizes": {"contains_all": ["S", "M"]}}              the list has S and M
    {"made": {"gte": "2024-01-01", "lt": "2024-04-01"}}  dates and timestamps, see `moments`
    {"or": [{"stock": {"gt": 0}}, {"made_to_order": true}], "price": {"lt": 50}}
    {"not": {"brand": "Kesto", "colour": "red"}}         everything but red products of Kesto
    {"supplier_id": {"ne": 17}, "in_stock": true}        same-style search: other suppliers only, in stock
    {"supplier_id": 17}                                  duplicates: one supplier only

**A product without a value fails `eq`, `in`, `contains_all` and the ranges. It passes `ne`, `not_in` and `not` of
these.** A product without a colour fails {"colour": "red"}, and passes {"colour": {"ne": "red"}} and
{"not": {"colour": "red"}}. To leave such products out as well, write {"colour": {"ne": "red", "exists": true}}. An
empty list is no value.

A column may be called `and`, `or` or `not`. These names combine only if their value cannot be a condition. So
{"not": "x"} and {"not": {"lt": 5}} are conditions on a column called `not`, and {"not": {"lt": {"eq": 5}}} negates a
condition on a column called `lt`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from shopwindow.retrieval.errors import InvalidRequest, show
from shopwindow.retrieval.request.filter_conditions import (
    Condition,
    Expression,
    Filter,
    Group,
    Scalar,
    conditions_of,
    joined,
    negated,
)
from shopwindow.retrieval.request.filter_rows import RANGES
from shopwindow.retrieval.request.json_text import MAX_JSON_BYTES, read_json

MAX_FILTER_BYTES = MAX_JSON_BYTES
MAX_IN_VALUES = 1_000
MAX_CONDITIONS = 200
MAX_DEPTH = 8

_COMBINATIONS = ("and", "or", "not")
_COMPLEMENTS = {"ne": "eq", "not_in": "in"}
_SEVERAL = ("in", "not_in", "contains_all")
_OPERATORS = ("eq", "in", *RANGES, *_COMPLEMENTS, "contains_all", "exists")


def parse_filter(text: str | Mapping[str, Any], field: str = "filter") -> Filter:
    """Read a filter.

    Args:
        text: the JSON text, or the object that it stands for.
        field: where the caller wrote it, for errors.

    Returns:
        Expressions that must all hold; none for `{}`. It does not depend on the order of keys and lists, on
        repetitions, on `and` inside `and`, on `or` inside `or`, or on `not` of `not`.

    Raises:
        InvalidRequest: not JSON, not an object, an unknown operator, a value of the wrong form, or beyond a limit.
    """
    if isinstance(text, str):
        text = read_json(field, text, on_repeats="; one condition may have both sides of a range")
    if not isinstance(text, Mapping):
        raise InvalidRequest(field, f"must be a JSON object of column: condition, got {show(text)}")
    whole = _expression(field, text, depth=0)
    parts = whole.parts if isinstance(whole, Group) and whole.operator == "and" else (whole,)
    count = sum(1 for _ in conditions_of(parts))
    if count > MAX_CONDITIONS:
        raise InvalidRequest(field, f"at most {MAX_CONDITIONS} different conditions, got {count}; use in or not_in")
    return parts


def _expression(path: str, filter: Mapping[str, Any], depth: int) -> Expression:
    parts: list[Expression] = []
    for name, value in filter.items():
        if name in _COMBINATIONS and _combines(value):
            parts.append(_combination(f"{path}.{name}", name, value, depth + 1))
        else:
            parts.extend(_conditions(f"{path}.{name[:53]}", name, value))
    return joined("and", parts)


def _combines(value: Any) -> bool:
    """Return whether the value of `and`, `or` or `not` cannot be a condition on a column of that name."""
    if isinstance(value, Mapping):
        return any(name not in _OPERATORS or isinstance(operand, Mapping) for name, operand in value.items())
    return isinstance(value, list)


def _combination(field: str, name: str, value: Any, depth: int) -> Expression:
    if depth > MAX_DEPTH:
        raise InvalidRequest(field, f"at most {MAX_DEPTH} of and, or, not may be nested, got {depth} or more")
    if name == "not":
        if not isinstance(value, Mapping):
            raise InvalidRequest(field, f'must be an object, got {show(value)}; to exclude several: {{"or": [...]}}')
        return negated(_expression(field, value, depth))
    if not isinstance(value, list) or not value:
        raise InvalidRequest(field, f"must be a list of at least one object, got {show(value)}")
    parts = []
    for position, part in enumerate(value):
        if not isinstance(part, Mapping):
            raise InvalidRequest(f"{field}[{position}]", f"must be an object of column: condition, got {show(part)}")
        parts.append(_expression(f"{field}[{position}]", part, depth))
    return joined(name, parts)


def _conditions(field: str, column: str, condition: Any) -> list[Condition]:
    if not isinstance(condition, Mapping):
        return [Condition(column, "eq", (_scalar(field, condition),))]
    if not condition:
        raise InvalidRequest(field, f"an empty condition; give a value or one of {', '.join(_OPERATORS)}")
    return [_condition(field, column, name, value) for name, value in condition.items()]


def _condition(field: str, column: str, name: str, value: Any) -> Condition:
    if name not in _OPERATORS:
        raise InvalidRequest(field, f"unknown operator {show(name)}; known: {', '.join(_OPERATORS)}")
    field = f"{field}.{name}"
    if name == "exists":
        if not isinstance(value, bool):
            raise InvalidRequest(field, f"must be true or false, got {show(value)}")
        return Condition(column, name, (), negated=not value)
    if name not in _SEVERAL:
        value = [value]
    elif not isinstance(value, list) or not 1 <= len(value) <= MAX_IN_VALUES:
        raise InvalidRequest(field, f"must be a list of 1 to {MAX_IN_VALUES} values, got {show(value)}")
    # Sorted by text, because a list may mix types that Python cannot compare.
    values = tuple(dict.fromkeys(sorted((_scalar(field, v) for v in value), key=repr)))
    return Condition(column, _COMPLEMENTS.get(name, name), values, negated=name in _COMPLEMENTS)


def _scalar(field: str, value: Any) -> Scalar:
    if not isinstance(value, (str, int, float, bool)):
        raise InvalidRequest(field, f"must be a text, a number or true/false, got {show(value)}")
    if isinstance(value, float) and not math.isfinite(value):
        raise InvalidRequest(field, f"must be finite, got {value}")
    if isinstance(value, int) and not -(2**63) <= value < 2**64:
        raise InvalidRequest(field, f"must fit 64 bits, got {show(value)}")
    return value
