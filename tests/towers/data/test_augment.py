"""Augmentation: what it changes, and what it must leave as it is."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shopwindow.towers.data.augment import drop_words, jitter, some_words

SEEDS = st.integers(0, 2**32 - 1)
TEXTS = st.lists(st.text("abc", min_size=1, max_size=3), min_size=1, max_size=8).map(" ".join)


def is_subsequence(part: list[str], whole: list[str]) -> bool:
    remaining = iter(whole)
    return all(word in remaining for word in part)


@given(text=TEXTS, seed=SEEDS, share=st.floats(0, 1))
def test_dropping_words_keeps_some_in_order(text: str, seed: int, share: float) -> None:
    kept = drop_words(text, np.random.default_rng(seed), share).split()
    assert kept
    assert is_subsequence(kept, text.split())


def test_chinese_words_are_dropped_too() -> None:
    kept = {drop_words("Nordvale红色裙", np.random.default_rng(seed), 0.5) for seed in range(200)}
    assert {"红 裙", "Nordvale 红 色 裙", "Nordvale"} < kept
    assert {some_words("红裙", np.random.default_rng(seed)) for seed in range(50)} == {"红", "裙", "红 裙"}


def test_a_share_of_none_keeps_all_words_and_of_all_the_first_one() -> None:
    rng = np.random.default_rng(0)
    assert drop_words("red summer dress", rng, 0.0) == "red summer dress"
    assert drop_words("red summer dress", rng, 1.0) == "red"
    assert drop_words("", rng, 0.5) == ""


def test_the_share_decides_how_many_words_are_dropped() -> None:
    rng = np.random.default_rng(0)
    words = " ".join(map(str, range(5_000)))
    assert len(drop_words(words, rng, 0.3).split()) == pytest.approx(3_500, abs=150)


@given(text=TEXTS, seed=SEEDS)
def test_some_words_of_a_query_are_at_least_one(text: str, seed: int) -> None:
    kept = some_words(text, np.random.default_rng(seed)).split()
    assert kept
    assert is_subsequence(kept, text.split())


@given(seed=SEEDS)
def test_jitter_only_mirrors_and_shifts(seed: int) -> None:
    photo = np.arange(12 * 12 * 3, dtype=np.uint16).reshape(12, 12, 3)
    changed = jitter(photo, np.random.default_rng(seed))
    shifts = range(-3, 4)
    possible = [
        np.roll(mirrored, (down, right), axis=(0, 1))
        for mirrored in (photo, photo[:, ::-1])
        for down in shifts
        for right in shifts
    ]
    assert any(np.array_equal(changed, candidate) for candidate in possible)


def test_jitter_does_not_change_its_input() -> None:
    photo = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    before = photo.copy()
    for seed in range(10):
        jitter(photo, np.random.default_rng(seed))
    assert np.array_equal(photo, before)
