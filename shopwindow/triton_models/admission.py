"""Admit requests to a model. In an overload, refuse those at once that would have to wait too long."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import triton_python_backend_utils as pb_utils  # exists only inside Triton's stub process

from shopwindow.triton_models import batch_io
from shopwindow.triton_models.context import Context
from shopwindow.triton_models.overload import Overload, QueueStatistics

LIMIT_VARIABLE = "SHOPWINDOW_QUEUE_LIMIT_MS"
# `shopwindow serve` sets these two.
HTTP_VARIABLE = "SHOPWINDOW_HTTP"
OWNER_FILE_VARIABLE = "SHOPWINDOW_OWNER_FILE"
DEFAULT_LIMIT_MS = 250
_DEFAULT_HTTP = "localhost:8000"


class Admission:
    """Answers the batches of one model instance. In an overload it refuses a part of each batch with UNAVAILABLE.

    Args:
        context: the model's context.
        answer: the model's function that answers requests: one response per request, in order.
        limit_ms: how long requests may wait, in milliseconds; 0 for no limit. None takes SHOPWINDOW_QUEUE_LIMIT_MS, or
            250 if that is not set.
        count: called with "refused" and the number of such requests.
    """

    def __init__(
        self,
        context: Context,
        answer: Callable[[Sequence[Any]], list[Any]],
        *,
        limit_ms: float | None = None,
        count: Callable[[str, int], object] = lambda event, requests: None,
    ) -> None:
        self._answer, self._count, self._model = answer, count, context.model
        self._limit_ms = _limit_ms() if limit_ms is None else limit_ms
        address = os.environ.get(HTTP_VARIABLE) or _DEFAULT_HTTP
        statistics = QueueStatistics(address, context.model, pb_utils.Logger.log_warn, _owner_headers())
        self._overload = Overload(statistics.waited, full_rows=context.max_batch_size, limit_s=self._limit_ms / 1e3)

    def answer(self, requests: Sequence[Any]) -> list[Any]:
        """Return what the model's `execute` must return: one response per request, in order."""
        rows = [request.inputs()[0].shape()[0] for request in requests]
        answered = self._overload.answered(rows)
        batch_io.note_batch(full=self._overload.full)
        responses = self._answer(requests[:answered]) if answered else []
        self._overload.ended()
        if answered < len(requests):
            self._count("refused", len(requests) - answered)
        return [*responses, *(self._refusal() for _ in requests[answered:])]

    def _refusal(self) -> Any:
        # Triton itself says "Exceeds maximum queue size" if a queue is full, and clients match on that.
        return batch_io.failure(
            f"Exceeds maximum queue size: requests to {self._model} waited longer than {self._limit_ms:g} ms, so some "
            "are refused; send this one again later, or to another server",
            pb_utils.TritonError.UNAVAILABLE,
        )


def _owner_headers() -> dict[str, str]:
    file = os.environ.get(OWNER_FILE_VARIABLE)
    return {"shopwindow-owner": Path(file).read_text()} if file else {}


def _limit_ms() -> float:
    text = os.environ.get(LIMIT_VARIABLE, "")
    try:
        limit = float(text or DEFAULT_LIMIT_MS)
    except ValueError:
        limit = -1.0
    if not 0 <= limit < float("inf"):
        raise ValueError(f"{LIMIT_VARIABLE} must be a number of milliseconds, 0 for no limit, got {text!r}")
    return limit
