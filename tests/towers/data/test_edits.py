"""Query edits: pairs of queries that differ in one word."""

from __future__ import annotations

import numpy as np

from shopwindow.towers.data.edits import QueryEdits

QUERIES = ["red mug", "blue mug", "red lamp", "Red chair", "mug", "red big mug"]


def drawn(query: str) -> set[tuple[str, str]]:
    edits = QueryEdits(QUERIES)
    rng = np.random.default_rng(0)
    found = (edits.draw(QUERIES.index(query), rng) for _ in range(200))
    return {(QUERIES[edit[0]], edit[1]) for edit in found if edit is not None}


def test_edits_start_from_every_query_that_differs_in_one_word() -> None:
    assert drawn("red mug") == {("blue mug", "red"), ("red lamp", "mug"), ("Red chair", "mug")}
    assert drawn("blue mug") == {("red mug", "blue")}


def test_words_that_differ_only_in_case_are_the_same() -> None:
    assert ("Red chair", "lamp") in drawn("red lamp")
    assert QueryEdits(["red mug", "Red mug"]).draw(0, np.random.default_rng(0)) is None


def test_a_query_without_such_a_partner_has_no_edit() -> None:
    assert drawn("mug") == set()
    assert drawn("red big mug") == set()


def test_a_chinese_character_is_a_word() -> None:
    queries = ["红色马克杯", "蓝色马克杯", "红色 茶壶"]
    rng = np.random.default_rng(0)
    assert {QueryEdits(queries).draw(0, rng) for _ in range(20)} == {(1, "红")}
