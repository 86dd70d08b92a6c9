"""Judgements written as sets of relevant products."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from shopwindow.towers.judging.judgements import Judgements


def judged_by(
    queries: list[str], relevant: Sequence[Collection[int]], groups: dict[str, list[str | None]] | None = None
) -> Judgements:
    """Return judgements in which all relevant products have the grade 1."""
    grades = [dict.fromkeys(answers, 1.0) for answers in relevant]
    return Judgements(queries=queries, grades=grades, groups=groups or {})
