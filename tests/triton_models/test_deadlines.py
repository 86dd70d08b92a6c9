"""Deadlines of requests, and the effort that fits into the time left."""

from __future__ import annotations

import time

import pytest

from shopwindow.retrieval.errors import InvalidRequest
from shopwindow.retrieval.request.parameters import RequestParameters, parse_parameters
from shopwindow.triton_models import deadlines
from shopwindow.triton_models.deadlines import SearchCosts, deadline_of

WILLING = RequestParameters(allow_lower_effort=True)


def test_the_earlier_of_timeout_and_deadline_counts() -> None:
    now, unix_ms = time.perf_counter(), time.time() * 1e3
    assert deadline_of(RequestParameters(), 0, now) == float("inf")
    assert deadline_of(RequestParameters(), 2_000_000, now) == pytest.approx(now + 2)
    for timeout_us, unix_s, expected in ((0, 3, 3), (2_000_000, 3, 2), (5_000_000, 3, 3), (0, -1, -1)):
        parameters = RequestParameters(deadline_unix_ms=int(unix_ms + unix_s * 1e3))
        assert deadline_of(parameters, timeout_us, now) == pytest.approx(now + expected, abs=0.5)


def test_the_effort_is_lowered_until_the_search_of_the_batch_fits() -> None:
    costs = SearchCosts()
    costs.note(5, rows=10, seconds=0.32)  # 32 ms a row; each step down halves that
    for rows, left_s, effort in ((1, 0.033, 5), (1, 0.031, 4), (1, 0.009, 3), (1, 0.0, 1), (10, 0.17, 4), (10, 9.0, 5)):
        assert costs.fit(WILLING, rows, left_s).effort == effort
    assert costs.fit(RequestParameters(), 10, 0.001).effort == 5  # the caller does not allow a lower effort
    assert costs.fit(RequestParameters(allow_lower_effort=True, effort=2), 1, 9.0).effort == 2  # never raised


def test_a_measurement_at_an_effort_counts_more_than_an_estimate_from_the_next_effort() -> None:
    costs = SearchCosts()
    costs.note(5, rows=1, seconds=0.32)
    costs.note(4, rows=1, seconds=0.30)  # a search has costs that do not depend on the effort
    assert costs.fit(WILLING, 1, 0.2).effort == 3
    assert costs.expected(4, 1) == pytest.approx(0.30)


def test_newer_measurements_count_more_and_old_ones_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    costs = SearchCosts()
    assert costs.fit(WILLING, 1, 0.0).effort == 5  # there are no measurements yet
    costs.note(5, rows=1, seconds=1.0)
    assert costs.fit(WILLING, 1, 0.5).effort == 4
    for _ in range(20):
        costs.note(5, rows=1, seconds=0.1)
    assert costs.fit(WILLING, 1, 0.5).effort == 5
    costs.note(5, rows=1, seconds=100.0)
    monkeypatch.setattr(deadlines, "_FORGOTTEN_AFTER_S", -1.0)
    assert costs.fit(WILLING, 1, 0.5).effort == 5


def test_the_parameters_are_read_and_checked() -> None:
    for value, expected in ((True, True), ("true", True), (False, False), ("false", False)):
        assert parse_parameters({"allow_lower_effort": value}).allow_lower_effort is expected
    assert parse_parameters({"deadline_unix_ms": "1700000000000"}).deadline_unix_ms == 1_700_000_000_000
    for name, value in (("allow_lower_effort", "yes"), ("allow_lower_effort", 1), ("deadline_unix_ms", "soon")):
        with pytest.raises(InvalidRequest, match=f"{name}: must be"):
            parse_parameters({name: value})
