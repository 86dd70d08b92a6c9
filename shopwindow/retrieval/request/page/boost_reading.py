"""The request parameter `boost`: terms that change scores before the best products are chosen.

    final score = score * product of factors + sum of addends

    {"if": {"on_sale": true}, "add": 0.05}               products that satisfy a filter; "multiply": 1.2 multiplies
    {"column": "margin", "add": 0.1}                     adds 0.1 * margin
    {"column": "sales", "multiply": 0.2}                 multiplies by 1 + 0.2 * sales
    {"column": "made", "half_life_days": 30, "add": 0.1} adds 0.1 for a product made today, 0.05 after 30 days, and so
                                                         on; "multiply": 0.1 multiplies by 1.1, 1.05, ...

A product without a value counts as one with the value 0, so its score stays. Ages count up to the start of the day of
the request in UTC, or of the day in `"now": "2026-01-31"`. A date in the future has the age 0.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from shopwindow.retrieval.errors import InvalidRequest, show
from shopwindow.retrieval.request.attribute_columns import AttributeTable, ListColumn, NumberColumn, TextColumn
from shopwindow.retrieval.request.filter_conditions import Filter
from shopwindow.retrieval.request.filter_reading import parse_filter
from shopwindow.retrieval.request.filter_rows import check_filter, known_column
from shopwindow.retrieval.request.json_text import read_json, refuse_unknown_keys

MAX_TERMS = 10
# Limits of all factors and of all addends of a product, so that no float32 score becomes 0 or infinite.
LEAST_FACTOR, MOST = 1e-30, 1e30

_KNOWN = ("if", "column", "half_life_days", "now", "add", "multiply")


@dataclass(frozen=True, kw_only=True)
class BoostTerm:
    """One term of a boost: what it looks at (`condition` or `column`) and what it does (`add` or `multiply`).

    Attributes:
        condition: the filter under `if`; None if the term has a column.
        column: the column whose value counts; None if the term has a condition.
        half_life_days: after how many days the value of a date has halved; None if the column holds numbers.
        now: the day from whose start ages count; None for the day of the request.
        add: what a product that satisfies the condition gets added, or what is added for each unit of the value.
        multiply: the factor of a product that satisfies the condition, or what each unit of the value adds to the
            factor 1.
    """

    condition: Filter | None = None
    column: str | None = None
    half_life_days: float | None = None
    now: date | None = None
    add: float | None = None
    multiply: float | None = None


def parse_boost(value: str | Sequence[Any]) -> tuple[BoostTerm, ...]:
    """Read the parameter `boost`.

    Args:
        value: the JSON text, at most MAX_JSON_BYTES, or the list that it stands for.

    Returns:
        1 to MAX_TERMS terms, in the order given.

    Raises:
        InvalidRequest: not JSON, not a list, an unknown key, a value of the wrong form, or beyond a limit.
    """
    terms = read_json("boost", value) if isinstance(value, str) else value
    if not isinstance(terms, list | tuple) or not 1 <= len(terms) <= MAX_TERMS:
        got = f"{len(terms)} terms" if isinstance(terms, list | tuple) else show(terms)
        raise InvalidRequest("boost", f"must be a JSON list of 1 to {MAX_TERMS} terms, got {got}")
    return tuple(_term(f"boost[{number}]", term) for number, term in enumerate(terms))


def _term(field: str, term: Any) -> BoostTerm:
    if not isinstance(term, Mapping):
        raise InvalidRequest(field, f"must be an object, got {show(term)}")
    refuse_unknown_keys(field, term, _KNOWN)
    subject, act = _one_of(field, term, "if", "column"), _one_of(field, term, "add", "multiply")
    if "half_life_days" in term and subject == "if":
        raise InvalidRequest(f"{field}.half_life_days", "belongs to a column of dates; this term has if")
    if "now" in term and "half_life_days" not in term:
        raise InvalidRequest(f"{field}.now", "is the day from which ages count; this term has no half_life_days")
    read: dict[str, Any] = {act: _number(f"{field}.{act}", term[act])}
    if subject == "if":
        if not isinstance(term["if"], Mapping):
            message = f"must be an object of column: condition, got {show(term['if'])}"
            raise InvalidRequest(f"{field}.if", message)
        read["condition"] = parse_filter(term["if"], f"{field}.if")
        if act == "multiply" and read[act] <= 0:
            raise InvalidRequest(f"{field}.multiply", f"must be > 0, got {show(term[act])}")
        return BoostTerm(**read)
    if not isinstance(term["column"], str):
        raise InvalidRequest(f"{field}.column", f"must be the name of a column, got {show(term['column'])}")
    if "half_life_days" in term:
        days = read["half_life_days"] = _number(f"{field}.half_life_days", term["half_life_days"])
        if days <= 0:
            raise InvalidRequest(f"{field}.half_life_days", f"must be > 0, got {show(term['half_life_days'])}")
    if "now" in term:
        read["now"] = _day(f"{field}.now", term["now"])
    return BoostTerm(column=term["column"], **read)


def _one_of(field: str, term: Mapping[str, Any], one: str, other: str) -> str:
    if (one in term) == (other in term):
        raise InvalidRequest(field, f"must have {one} or {other}, and not both, got {show(dict(term))}")
    return one if one in term else other


def _number(field: str, value: Any) -> float:
    try:
        number = float(value) if isinstance(value, int | float) and not isinstance(value, bool) else math.nan
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise InvalidRequest(field, f"must be a finite number, got {show(value)}")
    return number


def _day(field: str, value: Any) -> date:
    try:
        return date.fromisoformat(value)
    except (TypeError, ValueError):
        raise InvalidRequest(field, f"must be a date like 2026-01-31, got {show(value)}") from None


def check_boost(terms: Sequence[BoostTerm], table: AttributeTable) -> None:
    """Check that the columns of an index fit the terms of a boost.

    Raises:
        InvalidRequest: an unknown column, one of the wrong type, a factor that is not above 0 for every product, or
            terms that together leave the range of scores (LEAST_FACTOR, MOST).
    """
    least = most = 1.0
    added = 0.0
    for number, term in enumerate(terms):
        field = f"boost[{number}]"
        ends = _ends(field, term, table)
        if term.add is not None:
            added += max(abs(term.add * end) for end in ends)
        else:
            factors = [_factor(term, end) for end in ends]
            if min(factors) <= 0:
                _refuse_factor(field, term, ends, factors)
            least, most = least * min(1.0, *factors), most * max(1.0, *factors)
    if not (least >= LEAST_FACTOR and most <= MOST):
        raise InvalidRequest(
            "boost", f"the factors of all terms must stay from {LEAST_FACTOR} to {MOST}, got {least:.6g} to {most:.6g}"
        )
    if not added <= MOST:
        raise InvalidRequest("boost", f"all terms together may add at most {MOST}, got {added:.6g}")


def _ends(field: str, term: BoostTerm, table: AttributeTable) -> tuple[float, float]:
    """Check the column, or the columns, of a term. Return the smallest and the largest value that it can have."""
    if term.condition is not None:
        check_filter(term.condition, table, f"{field}.if")
        return 0.0, 1.0
    name = term.column or ""
    column = known_column(f"{field}.column", name, table)
    if isinstance(column, TextColumn | ListColumn):
        held = "text" if isinstance(column, TextColumn) else "lists"
        raise InvalidRequest(f"{field}.column", f"must be a column of numbers or dates; {show(name)} holds {held}")
    if isinstance(column, NumberColumn):
        if term.half_life_days is not None:
            raise InvalidRequest(f"{field}.half_life_days", f"belongs to a column of dates; {show(name)} holds numbers")
        if not all(map(math.isfinite, column.limits)):
            raise InvalidRequest(f"{field}.column", f"must be a column of finite numbers; {show(name)} holds infinity")
        return column.limits
    if term.half_life_days is None:
        raise InvalidRequest(field, f"half_life_days is needed, because {show(name)} holds dates")
    return 0.0, 1.0


def _factor(term: BoostTerm, value: float) -> float:
    assert term.multiply is not None
    if term.condition is not None:
        return term.multiply if value else 1.0
    return 1.0 + term.multiply * value


def _refuse_factor(field: str, term: BoostTerm, ends: tuple[float, float], factors: list[float]) -> None:
    if term.half_life_days is not None:
        raise InvalidRequest(f"{field}.multiply", f"must be > -1 with half_life_days, got {term.multiply:g}")
    at = factors.index(min(factors))
    raise InvalidRequest(
        f"{field}.multiply",
        f"the factor 1 + {term.multiply:g} * {show(term.column)} must be > 0 for every product; the column's "
        f"{('minimum', 'maximum')[at]} is {ends[at]:g}, which makes {factors[at]:g}",
    )
