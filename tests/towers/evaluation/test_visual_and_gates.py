"""Titles without colour words, and modality weights by category."""

from __future__ import annotations

import numpy as np
import pytest

from shopwindow.towers.data.colours import colour_words, without_words
from shopwindow.towers.evaluation.gates import gates_table


def test_colour_words_are_removed_as_whole_words_in_any_case() -> None:
    words = colour_words(["Sea Green", "NA", None])
    titles = ["Nike NAVY Blue Shirt", "Redmi phone, red", "sea-green scarf NA", "Black"]
    assert without_words(titles, words) == ["Nike Shirt", "Redmi phone,", "- scarf NA", ""]


def test_weights_are_averaged_by_category_over_products_with_both_modalities() -> None:
    weights = np.array([[0.8, 0.2], [0.6, 0.4], [0.5, 0.5], [1.0, 0.0]], dtype=np.float32)
    both = np.array([True, True, True, False])
    everything, mugs = gates_table(weights, ["mug", "mug", None, "mug"], both).rows
    assert everything["products"] == 3
    assert mugs["category"] == "mug"
    assert mugs["products"] == 2
    assert mugs["title"] == pytest.approx(0.7)
    assert mugs["photo"] == pytest.approx(0.3)
    assert mugs["standard deviation"] == pytest.approx(0.1)


def test_chinese_colour_words_are_removed_wherever_they_stand() -> None:
    titles = ["Nordvale女士大红色条纹连衣裙", "red连衣裙粉红色", "雾霾色Redmi手机壳"]
    assert without_words(titles, colour_words(["雾霾色", "红"])) == ["Nordvale女士 条纹连衣裙", "连衣裙", "Redmi手机壳"]
