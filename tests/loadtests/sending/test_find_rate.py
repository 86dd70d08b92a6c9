"""The search for the highest rate, on servers with a known limit."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shopwindow_loadtests import HarnessFailure, LoadTestOptions, find_rate
from shopwindow_loadtests.scenario.errors import GeneratorTooSlow


@pytest.fixture
def options(tmp_path: Path) -> Callable[..., LoadTestOptions]:
    queries = tmp_path / "queries.txt"
    queries.write_text("mug\n")

    def make(*rate: float, **changes: Any) -> LoadTestOptions:
        return LoadTestOptions(queries=queries, rate=rate, **changes)

    return make


@pytest.mark.parametrize("start", [1.0, 100.0, 700.0, 5000.0])
@pytest.mark.parametrize("tolerance", [0.1, 0.02])
def test_the_limit_is_found_from_both_sides(options: Any, start: float, tolerance: float) -> None:
    found = find_rate(options(start), tolerance=tolerance, meets=lambda rate: rate <= 437)
    assert found.highest is not None
    assert found.lowest_broken is not None
    assert found.highest <= 437 < found.lowest_broken
    assert found.lowest_broken - found.highest <= tolerance * found.lowest_broken
    assert "all trials agree" in str(found)


def test_noisy_trials_are_outvoted_and_reported(options: Any) -> None:
    random = np.random.default_rng(0)
    found = find_rate(options(50.0), meets=lambda rate: bool(rate + random.normal(0, 20) <= 437))
    assert found.highest == pytest.approx(437, rel=0.2)
    answers = iter([True, False, True])
    split = find_rate(options(400.0), highest=400.0, meets=lambda rate: next(answers))
    assert str(split).startswith("400 requests/s meets the limits (in 2 of 3 trials)")
    answers = iter([True, False, True, False, True, False])
    split = find_rate(options(400.0), highest=420.0, meets=lambda rate: next(answers))
    assert "420 does not (in 2 of 3); the trials disagree" in str(split)


def test_no_rate_at_all(options: Any) -> None:
    found = find_rate(options(64.0), meets=lambda rate: False)
    assert found.highest is None
    assert "no rate that was tried meets the limits, the lowest of them 1 requests/s" in str(found)


def test_the_search_goes_no_higher_than_told(options: Any) -> None:
    found = find_rate(options(100.0), highest=300.0, meets=lambda rate: True)
    assert list(found.trials) == [100.0, 200.0, 300.0]
    assert "300 requests/s meets the limits (in 2 of 2 trials); the search went no higher than 300" in str(found)


def test_a_generator_that_is_too_slow_is_not_taken_for_the_servers_limit(options: Any) -> None:
    def meets(rate: float) -> bool:
        if rate > 500:
            raise GeneratorTooSlow("sent late")
        return True

    found = find_rate(options(100.0), meets=meets)
    assert found.highest == 400.0
    assert str(found).endswith("higher rates cannot be judged: sent late")
    with pytest.raises(HarnessFailure):
        find_rate(options(600.0), meets=meets)


def test_only_an_open_loop_soak_can_be_searched(options: Any) -> None:
    with pytest.raises(ValueError, match="open loop"):
        find_rate(options(1.0, 2.0, shape="ramp"))
