"""Request parameters: defaults, limits, and what is said about a value outside them."""

from __future__ import annotations

import math
from typing import Any

import pytest

from retrieval import InvalidRequest, RequestParameters, parse_parameters
from retrieval.filters import Condition


def test_nothing_given_means_the_documented_defaults() -> None:
    assert parse_parameters({}) == RequestParameters(top_k=100, effort=5, filter=(), min_score=None)
    unset = {"top_k": None, "effort": None, "filter": None, "min_score": None}
    assert parse_parameters(unset) == RequestParameters()


@pytest.mark.parametrize(("given", "top_k"), [(1, 1), (10_000, 10_000), ("25", 25), (25, 25)])
def test_top_k_is_an_integer_or_its_decimal_text(given: Any, top_k: int) -> None:
    assert parse_parameters({"top_k": given}).top_k == top_k


@pytest.mark.parametrize(
    ("name", "limit"), [("top_k", "an integer from 1 to 10000"), ("effort", "an integer from 1 to 10")]
)
@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0, "0"),
        (-1, "-1"),
        (10**9, "1000000000"),
        ("ten", "'ten'"),
        ("", "''"),
        (True, "True"),
        (1.5, "1.5"),
        ("1.5", "'1.5'"),
        (math.nan, "nan"),
        ([5], r"[5]"),
        pytest.param("9" * 5_000, "'9999", id="long text"),
        pytest.param(10**5_000, "an integer of thousands of digits", id="long integer"),
    ],
)
def test_an_integer_outside_its_limits_is_refused(name: str, limit: str, value: Any, shown: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        parse_parameters({name: value})
    assert caught.value.field == name
    assert str(caught.value).startswith(f"{name}: must be {limit}, got {shown}")
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize(("given", "effort"), [(1, 1), (10, 10), ("7", 7)])
def test_effort_goes_from_1_to_10(given: Any, effort: int) -> None:
    assert parse_parameters({"effort": given}).effort == effort


@pytest.mark.parametrize(("given", "score"), [(0.5, 0.5), ("0.5", 0.5), (0, 0.0), (-1, -1.0), ("-1e-3", -0.001)])
def test_min_score_is_a_number_or_its_decimal_text(given: Any, score: float) -> None:
    assert parse_parameters({"min_score": given}).min_score == score


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, "nan", "inf", "high", "", True, [0.5], 10**400])
def test_a_min_score_that_is_no_finite_number_is_refused(value: Any) -> None:
    with pytest.raises(InvalidRequest, match="min_score: must be a finite number, got ") as caught:
        parse_parameters({"min_score": value})
    assert caught.value.field == "min_score"


def test_a_filter_comes_as_json_text_or_as_an_object() -> None:
    expected = (Condition("colour", "eq", ("red",)), Condition("price", "lt", (50,)))
    assert parse_parameters({"filter": '{"price": {"lt": 50}, "colour": "red"}'}).filter == expected
    assert parse_parameters({"filter": {"price": {"lt": 50}, "colour": "red"}}).filter == expected


@pytest.mark.parametrize(("name", "meant"), [("topk", "top_k"), ("top-k", "top_k"), ("minscore", "min_score")])
def test_an_unknown_name_is_refused_with_the_nearest_known_one(name: str, meant: str) -> None:
    with pytest.raises(InvalidRequest, match=f"did you mean {meant!r}") as caught:
        parse_parameters({name: 5})
    assert caught.value.field == name


def test_an_unknown_name_without_a_near_one_lists_the_known() -> None:
    with pytest.raises(InvalidRequest, match="unknown request parameter; known: effort, filter, min_score, top_k"):
        parse_parameters({"x" * 5_000: 5})


def test_names_that_triton_keeps_for_itself_are_ignored() -> None:
    reserved = {
        "timeout": 5_000,
        "priority": 1,
        "headers": "x",
        "sequence_id": 0,
        "sequence_start": True,
        "sequence_end": True,
        "binary_data_output": True,
        "triton_enable_empty_final_response": True,
    }
    assert parse_parameters({**reserved, "top_k": 3}) == RequestParameters(top_k=3)
