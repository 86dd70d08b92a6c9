"""How long requests can have waited, and for which batches the model asks whether callers cancelled."""

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
        (2, False, 0.03, 0.031, True),  # asking for two requests costs next to nothing
        (16, True, 0.03, math.inf, True),  # the previous batch was full, so requests may have waited for longer
    ],
)
def test_requests_of_the_next_batch_waited_at_most_for_the_previous_one(
    requests: int, full_before: bool, took: float, longest_s: float, asked: bool
) -> None:
    waiting = QueueWait()
    waiting.begin(REST)
    waiting.end(REST + took, full=full_before)
    waiting.begin(REST + took + 0.001)
    assert waiting.longest_s == pytest.approx(longest_s)
    assert waiting.may_be_long(requests) is asked


def test_requests_after_a_rest_did_not_wait_but_the_model_still_asks() -> None:
    waiting = QueueWait()
    waiting.begin(REST)
    assert waiting.may_be_long(16)  # nothing is known yet
    waiting.end(REST + 0.01, full=False)
    waiting.begin(REST + 1.0)
    assert waiting.longest_s == 0.0
    assert waiting.may_be_long(16)
