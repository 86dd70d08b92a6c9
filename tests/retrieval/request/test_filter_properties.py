"""Filters that mean the same compare equal, however they are written."""

from __future__ import annotations

import json
from random import Random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from shopwindow.retrieval.request.filter_reading import parse_filter
from tests.retrieval.request.any_request import SMALL_FILTERS


def rewritten(filter: dict[str, Any], rng: Random) -> dict[str, Any]:
    """Return a filter that means the same, with another order, repetitions, needless nesting and double negations."""
    parts: list[dict[str, Any]] = []
    for name, value in filter.items():
        if name in ("and", "or"):
            parts.append({name: shuffled([rewritten(part, rng) for part in value], rng)})
        elif name == "not":
            parts.append({"not": rewritten(value, rng)})
        else:
            operators = value if isinstance(value, dict) else {"eq": value}
            parts.extend({name: one_operator(operator, operators[operator], rng)} for operator in operators)
    whole = {"and": shuffled(parts, rng)}
    return rng.choice([whole, {"not": {"not": whole}}, {"or": [whole]}])


def one_operator(operator: str, operand: Any, rng: Random) -> dict[str, Any]:
    """Return a condition of one operator, with its list in another order."""
    return {operator: shuffled(operand, rng) if isinstance(operand, list) else operand}


def shuffled(some: list[Any], rng: Random) -> list[Any]:
    """Return the same elements in any order, one of them twice."""
    again = [*some, rng.choice(some)]
    rng.shuffle(again)
    return again


@settings(max_examples=100)
@given(filter=SMALL_FILTERS, rng=st.randoms(use_true_random=False))
def test_a_filter_written_in_another_way_compares_and_hashes_equal(filter: dict[str, Any], rng: Random) -> None:
    first, second = parse_filter(filter), parse_filter(json.dumps(rewritten(filter, rng)))
    assert first == second
    assert hash(first) == hash(second)
