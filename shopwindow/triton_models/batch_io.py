"""Read the requests of a batch and answer each of them, so that a bad one does not affect the others."""

from __future__ import annotations

import json
import os
import time
import traceback
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils  # exists only inside Triton's stub process

from shopwindow.retrieval.embedding.bundle import Bundle
from shopwindow.retrieval.errors import InvalidRequest, TowersDiffer, show
from shopwindow.triton_models.deadlines import Expired
from shopwindow.triton_models.queue_wait import QueueWait

# If the tokeniser started its own threads, it would take cores from the other instances and do several times the work.
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

_MANY_ROWS = 32  # the smallest max_batch_size; a batch with this many rows may have left other requests waiting
_waiting = QueueWait()  # one for the whole process, because a stub process serves one instance
_full: bool | None = None


def array(request: Any, name: str) -> np.ndarray:
    """Return an input tensor, batch axis first."""
    tensor: np.ndarray = pb_utils.get_input_tensor_by_name(request, name).as_numpy()
    return tensor


def has_input(request: Any, name: str) -> bool:
    """Return whether the request has an optional input."""
    return pb_utils.get_input_tensor_by_name(request, name) is not None


def texts(request: Any, name: str) -> list[bytes]:
    """Return a BYTES input of shape (batch, 1) as a list."""
    return list(array(request, name).reshape(-1))


def parameters(request: Any) -> dict[str, Any]:
    """Return the request parameters by name.

    Raises:
        InvalidRequest: a parameter is not UTF-8. Triton accepts that over HTTP.
    """
    try:
        text = request.parameters()
        return json.loads(text) if text else {}
    except UnicodeDecodeError as error:
        raise InvalidRequest(
            "parameters", f"must be UTF-8; byte {error.start} of {show(error.object)} is not"
        ) from None


def towers_output(towers: Bundle, rows: int) -> np.ndarray:
    """Return the output `towers`, (rows, 1) bytes: the hash that clients send as the parameter `towers`."""
    return np.full((rows, 1), towers.tower_hash.encode(), dtype=np.object_)


def split(rows: np.ndarray, sizes: Sequence[int]) -> list[np.ndarray]:
    """Cut an array (total, ...) into consecutive parts of the given sizes."""
    return np.split(rows, np.cumsum(sizes)[:-1])


def answer(
    requests: Sequence[Any],
    prepare: Callable[[Any], Any],
    compute: Callable[[list[Any]], Iterable[dict[str, np.ndarray] | Exception]],
) -> list[Any]:
    """Answer a batch. A bad request gets an error and does not affect the others.

    Args:
        requests: the requests that Triton passes to `execute`.
        prepare: reads and checks one request. If it raises InvalidRequest, that request gets INVALID_ARGUMENT;
            TowersDiffer gives UNAVAILABLE, any other exception INTERNAL.
        compute: answers all prepared requests together. It returns, in order, a dict of output arrays by name for each
            of them, or an exception if it cannot answer one.

    Returns:
        One response per request, in order, with the outputs that the request asked for.
    """
    prepared: list[tuple[int, Any]] = []
    responses: list[Any] = [None] * len(requests)
    _waiting.begin(time.perf_counter())
    ask = _waiting.may_be_long(len(requests))
    for position, request in enumerate(requests):
        if ask and request.is_cancelled():
            responses[position] = failure("the caller cancelled the request", pb_utils.TritonError.CANCELLED)
            continue
        try:
            prepared.append((position, prepare(request)))
        except InvalidRequest as error:
            responses[position] = failure(str(error), pb_utils.TritonError.INVALID_ARG)
        except TowersDiffer as error:
            responses[position] = failure(str(error), pb_utils.TritonError.UNAVAILABLE)
        except Exception as error:  # a bug; the other requests are still answered
            pb_utils.Logger.log_error(f"preparing a request failed: {traceback.format_exc()}")
            responses[position] = failure(f"{type(error).__name__}: {error}", pb_utils.TritonError.INTERNAL)
    outcomes = compute_isolated(compute, [item for _, item in prepared])
    rows = len(requests)  # a request without an answer counts as one row
    for (position, _), outcome in zip(prepared, outcomes, strict=True):
        if isinstance(outcome, Expired):
            responses[position] = failure(str(outcome), pb_utils.TritonError.UNAVAILABLE)
        elif isinstance(outcome, Exception):
            message = f"{type(outcome).__name__}: {outcome}"
            responses[position] = failure(message, pb_utils.TritonError.INTERNAL)
        else:
            requested = requests[position].requested_output_names()
            tensors = [pb_utils.Tensor(name, array) for name, array in outcome.items() if name in requested]
            responses[position] = pb_utils.InferenceResponse(tensors)
            rows += len(next(iter(outcome.values()))) - 1
    _waiting.end(time.perf_counter(), full=rows >= _MANY_ROWS if _full is None else _full)
    return responses


def note_batch(*, full: bool) -> None:
    """Note whether Triton's batch was full. `answer` cannot tell, because it may see only a part of the batch."""
    global _full
    _full = full


def longest_wait() -> float:
    """Return the longest time that requests of the current batch waited in Triton's queue, in seconds.

    It is an upper limit, and infinite if unknown.
    """
    return _waiting.longest_s


def compute_isolated(
    compute: Callable[[list[Any]], Iterable[dict[str, np.ndarray] | Exception]], items: list[Any]
) -> list[dict[str, np.ndarray] | Exception]:
    """Compute all items together. If that fails, compute each alone, so that only the failing ones get an exception."""
    if not items:
        return []
    try:
        return list(compute(items))
    except Exception as error:
        if len(items) == 1:
            pb_utils.Logger.log_error(f"answering a request failed: {traceback.format_exc()}")
            return [error]
        return [outcome for item in items for outcome in compute_isolated(compute, [item])]


def failure(message: str, code: Any) -> Any:
    """Return an error response."""
    return pb_utils.InferenceResponse(error=pb_utils.TritonError(message, code))
