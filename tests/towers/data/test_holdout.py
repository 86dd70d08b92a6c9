"""The choice of held-out products depends on the id alone and never changes."""

from __future__ import annotations

import numpy as np
import pytest

from shopwindow.towers.data.holdout import held_out

MASK = 2**64 - 1
GOLDEN = [3, 10, 18, 21, 33, 41, 48, 49]


def splitmix64(value: int) -> int:
    """The published mixer, with Python's unlimited integers."""
    value = (value + 0x9E3779B97F4A7C15) & MASK
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & MASK
    return value ^ (value >> 31)


def test_the_mixer_is_splitmix64_for_every_int64() -> None:
    assert splitmix64(0) == 0xE220A8397B1DCDAF  # its first output from the seed 0, as published
    ids = np.array([0, 1, 7, 1163, 59999, 2**40, 2**63 - 1, -1, -(2**63)])
    expected = [splitmix64(product & MASK) / 2**64 < 0.4 for product in ids.tolist()]
    assert held_out(ids, 0.4).tolist() == expected


def test_these_ids_stay_held_out_in_every_version() -> None:
    # After a change, trained checkpoints would be judged on products that they saw.
    assert np.flatnonzero(held_out(np.arange(60), 0.2)).tolist() == GOLDEN


@pytest.mark.parametrize("share", [0.05, 0.3, 0.9])
@pytest.mark.parametrize("first", [0, 10**12])
def test_the_share_is_the_share_asked_for(share: float, first: int) -> None:
    assert held_out(np.arange(first, first + 20_000), share).mean() == pytest.approx(share, abs=0.015)


def test_each_id_is_decided_alone_and_a_larger_share_includes_a_smaller_one() -> None:
    ids = np.random.default_rng(0).integers(0, 10**9, 2_000)
    small, large = held_out(ids, 0.1), held_out(ids, 0.25)
    assert (large | ~small).all()
    assert held_out(ids[::-1], 0.1).tolist() == small[::-1].tolist()
    assert [bool(held_out(ids[row : row + 1], 0.1)[0]) for row in range(50)] == small[:50].tolist()


def test_a_share_of_none_holds_out_nothing_and_an_empty_catalogue_works() -> None:
    assert not held_out(np.arange(1_000), 0.0).any()
    assert held_out(np.array([], dtype=np.int64), 0.5).shape == (0,)


@pytest.mark.parametrize("share", [-0.1, 1.0, 1.5, float("nan")])
def test_a_share_out_of_range_is_refused(share: float) -> None:
    with pytest.raises(ValueError, match=f"at least 0 and below 1, got {share}"):
        held_out(np.arange(3), share)
