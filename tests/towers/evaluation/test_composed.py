"""Composed queries: the draw, the arithmetic and the scores, checked by hand."""

from __future__ import annotations

import numpy as np
import pytest

from shopwindow.towers.evaluation.composed import Edit, draw_edits, score_edits, shift

ARTICLES = ["mug", "mug", "mug", "mug", "lamp", None]
COLOURS = ["red", "red", "blue", "green", "red", "red"]


def test_scores_are_shares_of_places_with_the_article_the_colour_and_both() -> None:
    edits = [Edit(row=0, colour="blue", available=1), Edit(row=4, colour="red", available=1)]
    found = np.array([[2, 3, 4, -1], [0, 4, 2, 5]])
    scores = score_edits(found, edits, ARTICLES, COLOURS)
    assert scores["both"] == pytest.approx([1 / 4, 1 / 4])  # the blue mug; the red lamp
    assert scores["article kept"] == pytest.approx([2 / 4, 1 / 4])
    assert scores["colour changed"] == pytest.approx([1 / 4, 3 / 4])


def test_an_edit_asks_for_another_colour_in_which_the_article_exists_often_enough() -> None:
    articles = ["mug"] * 8 + ["lamp"] * 3
    colours: list[str | None] = [*["red"] * 3, *["blue"] * 3, "green", None, *["red"] * 3]
    usable = np.ones(11, dtype=bool)
    usable[0] = False
    edits = draw_edits(articles, colours, usable, seed=1)
    asked = {edit.row: edit.colour for edit in edits}
    # Green is too rare to ask for, but a green mug may be changed. Lamps have no other colour. Row 0 has no photo, and
    # row 7 has no colour.
    assert set(asked) == {1, 2, 3, 4, 5, 6}
    assert {asked[1], asked[2]} == {"blue"}
    assert {asked[3], asked[4], asked[5]} == {"red"}
    assert {edit.available for edit in edits} == {3}


def test_the_draw_has_a_limit_and_depends_on_the_seed() -> None:
    articles, colours = ["mug"] * 90, ["red", "blue", "green"] * 30
    usable = np.ones(90, dtype=bool)
    first = draw_edits(articles, colours, usable, seed=7, most=20)
    assert len(first) == 20
    assert first == draw_edits(articles, colours, usable, seed=7, most=20)
    assert first != draw_edits(articles, colours, usable, seed=8, most=20)


def test_arithmetic_replaces_the_old_direction_by_the_new() -> None:
    article, old, new = np.eye(3, dtype=np.float32)
    photo = (article + old)[None]
    np.testing.assert_allclose(shift(photo, old[None], new[None]), (article + new)[None] / np.sqrt(2), atol=1e-6)
