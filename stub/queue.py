"""The queue before a model: what would have to wait too long is refused at once."""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable, Sequence
from typing import Any

import triton_python_backend_utils as pb_utils  # exists only inside the stub

import stub
from retrieval.backlog import Backlog

LIMIT_VARIABLE = "SHOPWINDOW_QUEUE_LIMIT_MS"
DEFAULT_LIMIT_MS = 250


class Queue:
    """Hands the batches of one instance to its model, and refuses with UNAVAILABLE what would wait for too long.

    Args:
        context: of the model.
        answer: the model's: one response per request, in order, given the seconds that each waited here.
        limit_ms: how long a request may have to wait; by default what SHOPWINDOW_QUEUE_LIMIT_MS says, else 250.
        refused: is told how many requests were refused.
    """

    def __init__(
        self,
        context: stub.Context,
        answer: Callable[[Sequence[Any], Sequence[float]], list[Any]],
        *,
        limit_ms: float | None = None,
        refused: Callable[[int], object] = lambda requests: None,
    ) -> None:
        if limit_ms is None:
            limit_ms = _limit_ms()
        self._model_answer, self._refused = answer, refused
        self._model, self._limit_ms = context.model, limit_ms
        self._backlog = Backlog[Any, Any](
            self._answer, self._send, self._refuse, full_rows=context.max_batch_size, limit_s=limit_ms / 1e3
        )

    def take(self, requests: Sequence[Any]) -> list[Any] | None:
        """What `execute` returns: a response per request, or None when they are sent later."""
        return self._backlog.take(list(requests), sum(request.inputs()[0].shape()[0] for request in requests))

    def close(self) -> None:
        """Answer what waits."""
        self._backlog.close()

    def _answer(self, requests: Sequence[Any], waited: Sequence[float]) -> list[Any]:
        try:
            return self._model_answer(requests, waited)
        except Exception as error:  # a fault of ours, which every caller has to hear of
            pb_utils.Logger.log_error(f"{self._model} failed: {traceback.format_exc()}")
            return [stub.failure(f"{type(error).__name__}: {error}", pb_utils.TritonError.INTERNAL) for _ in requests]

    def _send(self, request: Any, response: Any) -> None:
        try:
            request.get_response_sender().send(response, flags=pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL)
        except Exception:  # the others are answered all the same
            pb_utils.Logger.log_error(f"{self._model}: sending an answer failed: {traceback.format_exc()}")

    def _refuse(self, waiting: int) -> Any:
        self._refused(1)
        # "Exceeds maximum queue size" is what Triton itself says of a full queue.
        return stub.failure(
            f"Exceeds maximum queue size: {waiting} rows wait for {self._model}, longer than the {self._limit_ms:g} ms "
            f"of {LIMIT_VARIABLE}; send it again later, or elsewhere",
            pb_utils.TritonError.UNAVAILABLE,
        )


def _limit_ms() -> float:
    text = os.environ.get(LIMIT_VARIABLE, "")
    try:
        limit = float(text or DEFAULT_LIMIT_MS)
    except ValueError:
        limit = -1.0
    if not 0 <= limit < float("inf"):
        raise ValueError(f"{LIMIT_VARIABLE} must be a number of milliseconds, at least 0, got {text!r}")
    return limit
