"""The forms of the request parameter `min_score`."""

from __future__ import annotations

from typing import Any

import pytest

from shopwindow.retrieval import InvalidRequest, RequestParameters, parse_parameters
from shopwindow.retrieval.request.min_score_reading import MinScore, parse_min_score


@pytest.mark.parametrize(
    ("given", "read"),
    [
        ("best*0.85", MinScore("best", 0.85)),
        (" best * 1 ", MinScore("best", 1.0)),
        ("precision:0.8", MinScore("precision", 0.8)),
        ("precision: 1e-2", MinScore("precision", 0.01)),
        ("0.25", 0.25),
    ],
)
def test_a_least_score_is_a_number_or_depends_on_the_query_or_the_towers(given: str, read: float | MinScore) -> None:
    assert parse_min_score(given) == read


def test_each_form_sets_an_attribute_of_its_own() -> None:
    assert parse_parameters({"min_score": 0.25}) == RequestParameters(min_score=0.25)
    assert parse_parameters({"min_score": "best*0.85"}) == RequestParameters(min_score_of_best=0.85)
    assert parse_parameters({"min_score": "precision:0.8"}) == RequestParameters(min_precision=0.8)


@pytest.mark.parametrize("number", ["", "0", "-0.5", "1.01", "85", "nan", "inf", "half", "0.8,0.9", "0x1"])
@pytest.mark.parametrize("prefix", ["best*", "precision:"])
def test_a_share_that_is_not_above_0_and_at_most_1_is_refused(prefix: str, number: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        parse_min_score(prefix + number)
    assert str(caught.value) == (
        f"min_score: after {prefix} must be a number above 0, at most 1, got '{prefix}{number}'"
    )


@pytest.mark.parametrize("value", ["best", "precision", "0.85*best", "recall:0.8", "Best*0.5", ["best*0.5"]])
def test_other_texts_are_refused_with_the_three_forms(value: Any) -> None:
    with pytest.raises(InvalidRequest) as caught:
        parse_min_score(value)
    assert str(caught.value) == (
        f"min_score: must be a finite number, best* or precision: with a number, got {value!r}"
    )


@pytest.mark.parametrize("channels", ["lexical", "embedding,lexical"])
def test_a_precision_is_refused_for_scores_that_are_not_calibrated(channels: str) -> None:
    with pytest.raises(InvalidRequest, match=r"min_score: .* only if channels is embedding.* got 'precision:0\.8'"):
        parse_parameters({"min_score": "precision:0.8", "channels": channels})
