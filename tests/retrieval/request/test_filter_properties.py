"""Every way of writing a filter is one filter."""

from __future__ import annotations

import json
from random import Random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from shopwindow.retrieval.request.filter_reading import parse_filter
from tests.retrieval.request.any_request import SMALL_FILTERS


def rewritten(wanted: dict[str, Any], rng: Random) -> dict[str, Any]:
    """A filter that means the same: other orders, repetitions, needless nesting, negations of negations."""
    parts: list[dict[str, Any]] = []
    for name, what in wanted.items():
        if name in ("and", "or"):
            parts.append({name: shuffled([rewritten(part, rng) for part in what], rng)})
        elif name == "not":
            parts.append({"not": rewritten(what, rng)})
        else:
            operators = what if isinstance(what, dict) else {"eq": what}
            parts.extend({name: one_operator(operator, operators[operator], rng)} for operator in operators)
    whole = {"and": shuffled(parts, rng)}
    return rng.choice([whole, {"not": {"not": whole}}, {"or": [whole]}])


def one_operator(operator: str, operand: Any, rng: Random) -> dict[str, Any]:
    """A condition of one operator, its list in another order."""
    return {operator: shuffled(operand, rng) if isinstance(operand, list) else operand}


def shuffled(some: list[Any], rng: Random) -> list[Any]:
    """The same elements in any order, one of them twice."""
    again = [*some, rng.choice(some)]
    rng.shuffle(again)
    return again


@settings(max_examples=100)
@given(wanted=SMALL_FILTERS, rng=st.randoms(use_true_random=False))
def test_a_filter_that_is_written_otherwise_compares_and_hashes_equal(wanted: dict[str, Any], rng: Random) -> None:
    first, second = parse_filter(wanted), parse_filter(json.dumps(rewritten(wanted, rng)))
    assert first == second
    assert hash(first) == hash(second)
