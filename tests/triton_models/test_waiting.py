"""How long requests can have waited, and of which batches it is asked whether their callers gave up."""

from __future__ import annotations

import math

import pytest

from shopwindow.triton_models.queue_wait import QueueWait

REST = 10.0


@pytest.mark.parametrize(
    ("requests", "full_before", "took", "longest_s", "asked"),
    [
        (16, False, 0.03, 0.031, False),
        (16, False, 0.10, 0.101, True),
        (2, False, 0.03, 0.031, True),  # costs next to nothing
        (16, True, 0.03, math.inf, True),  # the batch before was full: who knows how many wait, and how long
    ],
)
def test_a_batch_came_while_the_one_before_was_under_way(
    requests: int, full_before: bool, took: float, longest_s: float, asked: bool
) -> None:
    waiting = QueueWait()
    waiting.begin(REST)
    waiting.end(REST + took, full=full_before)
    waiting.begin(REST + took + 0.001)
    assert waiting.longest_s == pytest.approx(longest_s)
    assert waiting.may_be_long(requests) is asked


def test_after_a_rest_they_came_just_now_unless_the_server_was_stopped() -> None:
    waiting = QueueWait()
    waiting.begin(REST)
    assert waiting.may_be_long(16)  # nothing is known
    waiting.end(REST + 0.01, full=False)
    waiting.begin(REST + 1.0)
    assert waiting.longest_s == 0.0
    assert waiting.may_be_long(16)
