"""Of which batches it is asked whether their callers gave up."""

from __future__ import annotations

import pytest

from retrieval.waiting import Waiting


@pytest.mark.parametrize(
    ("requests", "rows_before", "began_before", "asked"),
    [
        (16, 16, 0.03, False),  # all came within 30 ms
        (16, 16, 0.10, True),
        (2, 16, 0.03, True),  # costs next to nothing
        (16, 64, 0.03, True),  # the batch before was full: who knows how many wait, and how long
    ],
)
def test_it_is_asked_when_requests_may_have_waited_long(
    requests: int, rows_before: int, began_before: float, asked: bool
) -> None:
    waiting = Waiting()
    assert waiting.may_be_long(requests, 0.0)  # nothing is known
    waiting.end(8, 10.0)
    waiting.end(rows_before, 10.0 + began_before)
    assert waiting.may_be_long(requests, 10.0 + began_before) is asked


def test_requests_that_come_after_a_rest_may_have_waited_for_another_instance() -> None:
    waiting = Waiting()
    for end in (10.0, 10.01):
        waiting.end(8, end)
    assert waiting.may_be_long(16, 11.0)
