"""Before a model: in an overload, requests that would have to wait too long are refused at once."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

import triton_python_backend_utils as pb_utils  # exists only inside the stub

from shopwindow.triton_models import batch_io
from shopwindow.triton_models.context import Context
from shopwindow.triton_models.overload import Overload, QueueStatistics

LIMIT_VARIABLE = "SHOPWINDOW_QUEUE_LIMIT_MS"
HTTP_VARIABLE = "SHOPWINDOW_HTTP"  # `shopwindow serve` sets it
DEFAULT_LIMIT_MS = 250
_DEFAULT_HTTP = "localhost:8000"


class Admission:
    """Answers the batches of one instance; in an overload only part of each, and refuses the rest with UNAVAILABLE.

    Args:
        context: of the model.
        answer: the model's: one response per request, in order.
        limit_ms: how long requests may wait; by default what SHOPWINDOW_QUEUE_LIMIT_MS says, else 250. 0 refuses none.
        refused: is told how many requests were refused.
    """

    def __init__(
        self,
        context: Context,
        answer: Callable[[Sequence[Any]], list[Any]],
        *,
        limit_ms: float | None = None,
        refused: Callable[[int], object] = lambda requests: None,
    ) -> None:
        self._answer, self._refused, self._model = answer, refused, context.model
        self._limit_ms = _limit_ms() if limit_ms is None else limit_ms
        address = os.environ.get(HTTP_VARIABLE) or _DEFAULT_HTTP
        statistics = QueueStatistics(address, context.model, pb_utils.Logger.log_warn)
        self._overload = Overload(statistics.waited, full_rows=context.max_batch_size, limit_s=self._limit_ms / 1e3)

    def take(self, requests: Sequence[Any]) -> list[Any]:
        """What `execute` returns: a response per request."""
        rows = [request.inputs()[0].shape()[0] for request in requests]
        count = self._overload.answered(rows)
        batch_io.handed_over(full=self._overload.full)
        answered = self._answer(requests[:count]) if count else []
        self._overload.ended()
        if count < len(requests):
            self._refused(len(requests) - count)
        return [*answered, *(self._refusal() for _ in requests[count:])]

    def _refusal(self) -> Any:
        # "Exceeds maximum queue size" is what Triton itself says of a full queue.
        return batch_io.failure(
            f"Exceeds maximum queue size: requests to {self._model} waited longer than {self._limit_ms:g} ms, so some "
            "are refused; send it again later, or elsewhere",
            pb_utils.TritonError.UNAVAILABLE,
        )


def _limit_ms() -> float:
    text = os.environ.get(LIMIT_VARIABLE, "")
    try:
        limit = float(text or DEFAULT_LIMIT_MS)
    except ValueError:
        limit = -1.0
    if not 0 <= limit < float("inf"):
        raise ValueError(f"{LIMIT_VARIABLE} must be a number of milliseconds, 0 for no limit, got {text!r}")
    return limit
