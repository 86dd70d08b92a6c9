"""Levels over time, and open-loop arrivals that follow them."""

from __future__ import annotations

import numpy as np
import pytest

from shopwindow_loadtests.scenario.shapes import Shape, due_times


def shape(kind: str, *levels: float, duration_s: float = 100.0) -> Shape:
    return Shape(kind=kind, levels=levels, duration_s=duration_s)


@pytest.mark.parametrize(
    ("of", "expected"),
    [
        (shape("soak", 5), {0: 5, 99: 5}),
        (shape("steps", 1, 2, 4, 8), {0: 1, 24.9: 1, 25.1: 2, 50.1: 4, 99: 8}),
        (shape("spike", 3, 30), {0: 3, 39: 3, 41: 30, 59: 30, 61: 3, 99: 3}),
        (shape("ramp", 10, 20), {0: 10, 50: 15, 100: 20, 200: 20}),
    ],
)
def test_levels(of: Shape, expected: dict[float, float]) -> None:
    assert {at: of.level(at) for at in expected} == pytest.approx(expected)


@pytest.mark.parametrize(
    ("kind", "levels", "named"),
    [
        ("soak", (1, 2), "soak takes 1 level"),
        ("spike", (1,), "spike takes 2 level"),
        ("steps", (1,), "steps takes at least 2"),
        ("waves", (1,), "shape must be one of soak, steps, spike, ramp, got 'waves'"),
        ("soak", (0,), "above 0"),
    ],
)
def test_a_wrong_shape_is_refused(kind: str, levels: tuple[float, ...], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        shape(kind, *levels)


@pytest.mark.parametrize("arrivals", ["poisson", "constant"])
@pytest.mark.parametrize("of", [shape("steps", 20, 60), shape("spike", 10, 100), shape("ramp", 5, 95)])
@pytest.mark.parametrize("workers", [1, 3])
def test_arrivals_follow_the_shape_with_any_number_of_workers(of: Shape, arrivals: str, workers: int) -> None:
    parts = [due_times(of, arrivals=arrivals, seed=1, worker=row, workers=workers) for row in range(workers)]
    times = np.sort(np.concatenate(parts))
    assert all((np.diff(part) >= 0).all() for part in parts)
    assert times[0] >= 0
    assert times[-1] < 100
    fine = np.arange(0, 100, 0.001)  # the expected count is the integral of the level; a sum will do
    expected = np.add.reduceat([of.level(float(at)) * 0.001 for at in fine], np.arange(0, len(fine), 10_000))
    counted = np.histogram(times, bins=10, range=(0, 100))[0]
    allowed = 6 * np.sqrt(expected) if arrivals == "poisson" else np.full(10, workers + 1.0)
    assert (np.abs(counted - expected) <= allowed).all()


def test_constant_arrivals_are_evenly_spaced_over_all_workers() -> None:
    parts = [due_times(shape("soak", 50), arrivals="constant", seed=0, worker=row, workers=2) for row in range(2)]
    assert np.diff(np.sort(np.concatenate(parts))) == pytest.approx(np.full(4999, 0.02))


def test_poisson_arrivals_are_independent() -> None:
    """Waiting times of a Poisson process are exponential: their mean is their standard deviation."""
    gaps = np.diff(due_times(shape("soak", 200), arrivals="poisson", seed=2))
    assert gaps.mean() == pytest.approx(1 / 200, rel=0.05)
    assert gaps.std() == pytest.approx(1 / 200, rel=0.05)


def test_the_same_seed_gives_the_same_arrivals_and_workers_differ() -> None:
    def draw(seed: int, worker: int) -> list[float]:
        times: list[float] = due_times(
            shape("soak", 5), arrivals="poisson", seed=seed, worker=worker, workers=2
        ).tolist()
        return times

    assert draw(1, 0) == draw(1, 0)
    assert draw(1, 0) != draw(2, 0)
    assert draw(1, 0) != draw(1, 1)
