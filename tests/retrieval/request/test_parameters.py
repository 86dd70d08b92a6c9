"""Request parameters: defaults, limits, and the errors about other values."""

from __future__ import annotations

import math
from typing import Any

import pytest

from shopwindow.retrieval import InvalidRequest, RequestParameters, parse_parameters
from shopwindow.retrieval.request.channel_choice import Channel
from shopwindow.retrieval.request.filter_conditions import Condition


def test_parameters_that_are_not_given_have_their_documented_defaults() -> None:
    assert parse_parameters({}) == RequestParameters(top_k=100, effort=5, filter=(), min_score=None)
    unset = {"top_k": None, "effort": None, "filter": None, "min_score": None}
    assert parse_parameters(unset) == RequestParameters()


@pytest.mark.parametrize(("given", "top_k"), [(1, 1), (10_000, 10_000), ("25", 25), (25, 25)])
def test_top_k_is_an_integer_or_its_decimal_text(given: Any, top_k: int) -> None:
    assert parse_parameters({"top_k": given}).top_k == top_k


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
def test_a_top_k_that_is_no_integer_within_its_limits_is_refused(value: Any, shown: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        parse_parameters({"top_k": value})
    assert caught.value.field == "top_k"
    assert str(caught.value).startswith(f"top_k: must be an integer from 1 to 10000, got {shown}")
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize(("given", "effort"), [(1, 1), (10, 10), ("7", 7)])
def test_effort_goes_from_1_to_10(given: Any, effort: int) -> None:
    assert parse_parameters({"effort": given}).effort == effort


@pytest.mark.parametrize("value", [0, 11])
def test_an_effort_outside_its_limits_is_refused(value: int) -> None:
    with pytest.raises(InvalidRequest, match=f"effort: must be an integer from 1 to 10, got {value}"):
        parse_parameters({"effort": value})


@pytest.mark.parametrize(("given", "score"), [(0.5, 0.5), ("0.5", 0.5), (0, 0.0), (-1, -1.0), ("-1e-3", -0.001)])
def test_min_score_is_a_number_or_its_decimal_text(given: Any, score: float) -> None:
    assert parse_parameters({"min_score": given}).min_score == score


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, "nan", "inf", "high", "", True, [0.5], 10**400])
def test_a_min_score_that_is_not_a_finite_number_is_refused(value: Any) -> None:
    with pytest.raises(InvalidRequest, match=r"min_score: must be a finite number, .*got ") as caught:
        parse_parameters({"min_score": value})
    assert caught.value.field == "min_score"


def test_a_filter_comes_as_json_text_or_as_an_object() -> None:
    expected = (Condition("colour", "eq", ("red",)), Condition("price", "lt", (50,)))
    assert parse_parameters({"filter": '{"price": {"lt": 50}, "colour": "red"}'}).filter == expected
    assert parse_parameters({"filter": {"price": {"lt": 50}, "colour": "red"}}).filter == expected


@pytest.mark.parametrize(("name", "meant"), [("topk", "top_k"), ("top-k", "top_k"), ("minscore", "min_score")])
def test_an_unknown_name_is_refused_with_a_suggestion(name: str, meant: str) -> None:
    with pytest.raises(InvalidRequest, match=f"did you mean {meant!r}") as caught:
        parse_parameters({name: 5})
    assert caught.value.field == name


def test_an_unknown_name_without_a_similar_one_is_refused_with_the_known_names() -> None:
    known = "allow_lower_effort, boost, channels, collapse"
    with pytest.raises(InvalidRequest, match=f"parameter; known: {known}"):
        parse_parameters({"x" * 5_000: 5})


@pytest.mark.parametrize(
    ("given", "channels"),
    [
        ("embedding", Channel.EMBEDDING),
        ("lexical", Channel.LEXICAL),
        ("embedding,lexical", Channel.BOTH),
        (" lexical , embedding ", Channel.BOTH),
    ],
)
def test_channels_are_named_with_commas_between_them(given: str, channels: Channel) -> None:
    assert parse_parameters({"channels": given}).channels == channels


@pytest.mark.parametrize("value", ["", ",", "words", "embedding,", "lexical,lexical", "Lexical", 3, True, ["lexical"]])
def test_other_channels_are_refused(value: Any) -> None:
    with pytest.raises(InvalidRequest) as caught:
        parse_parameters({"channels": value})
    assert caught.value.field == "channels"
    assert str(caught.value) == f"channels: must be embedding, lexical or embedding,lexical, got {value!r}"


@pytest.mark.parametrize(
    ("given", "weight"), [(None, None), ("rrf", None), ("weighted:0.7", 0.7), ("weighted:0", 0.0), ("weighted:1", 1.0)]
)
def test_fusion_is_by_rank_or_by_weight(given: str | None, weight: float | None) -> None:
    # Also in this order: the channels that fusion merges come after it.
    assert parse_parameters({"fusion": given, "channels": "embedding,lexical"}).embedding_weight == weight


@pytest.mark.parametrize(
    "value", ["", "RRF", "0.7", "weighted", "weighted:", "weighted:1.01", "weighted:-0.1", "weighted:nan", 0.7, True]
)
def test_another_fusion_is_refused(value: Any) -> None:
    with pytest.raises(InvalidRequest) as caught:
        parse_parameters({"channels": "embedding,lexical", "fusion": value})
    assert caught.value.field == "fusion"
    assert str(caught.value) == f"fusion: must be rrf, or weighted: and a number from 0 to 1, got {value!r}"


@pytest.mark.parametrize("given", [{}, {"channels": "embedding"}, {"channels": "lexical"}])
def test_a_fusion_of_one_channel_is_refused(given: dict[str, str]) -> None:
    with pytest.raises(InvalidRequest, match=r"fusion: merges two channels.* got 'weighted:0\.5'"):
        parse_parameters({**given, "fusion": "weighted:0.5"})


def test_parameters_of_triton_itself_are_ignored() -> None:
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
