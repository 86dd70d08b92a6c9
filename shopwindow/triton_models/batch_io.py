"""What the Python models share inside Triton's stub process: reading requests, answering each alone."""

from __future__ import annotations

import json
import os
import time
import traceback
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils  # exists only inside the stub

from shopwindow.retrieval.embedding.bundle import Bundle
from shopwindow.retrieval.errors import InvalidRequest, TowersDiffer, show
from shopwindow.triton_models.deadlines import Expired
from shopwindow.triton_models.queue_wait import QueueWait

# A tokeniser with threads of its own would take the cores of the other instances, at a multiple of the work.
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

_MANY_ROWS = 32  # the smallest max_batch_size: a batch with so many may have left others waiting
_waiting = QueueWait()  # a process serves one instance
_full: bool | None = None


def array(request: Any, name: str) -> np.ndarray:
    """An input tensor, batch axis first."""
    tensor: np.ndarray = pb_utils.get_input_tensor_by_name(request, name).as_numpy()
    return tensor


def given(request: Any, name: str) -> bool:
    """Whether the request has an optional input."""
    return pb_utils.get_input_tensor_by_name(request, name) is not None


def texts(request: Any, name: str) -> list[bytes]:
    """A BYTES input of shape (batch, 1) as a list."""
    return list(array(request, name).reshape(-1))


def parameters(request: Any) -> dict[str, Any]:
    """The request parameters by name.

    Raises:
        InvalidRequest: one is not UTF-8, which HTTP lets through.
    """
    try:
        text = request.parameters()
        return json.loads(text) if text else {}
    except UnicodeDecodeError as error:
        raise InvalidRequest(
            "parameters", f"must be UTF-8; byte {error.start} of {show(error.object)} is not"
        ) from None


def named(towers: Bundle, rows: int) -> np.ndarray:
    """The output `towers` of so many rows: what `product_index` takes as the parameter of that name."""
    return np.full((rows, 1), towers.tower_hash.encode(), dtype=np.object_)


def split(rows: np.ndarray, sizes: Sequence[int]) -> list[np.ndarray]:
    """Cut (total, ...) into consecutive parts of the given sizes."""
    return np.split(rows, np.cumsum(sizes)[:-1])


def answer(
    requests: Sequence[Any],
    prepare: Callable[[Any], Any],
    compute: Callable[[list[Any]], Iterable[dict[str, np.ndarray] | Exception]],
) -> list[Any]:
    """Answer a batch so that a bad request spoils no other.

    Args:
        requests: what Triton hands to `execute`.
        prepare: reads and checks one request; its InvalidRequest becomes that request's INVALID_ARGUMENT.
        compute: answers everything that was prepared, together: output arrays by name, one dict per item, in order;
            an exception in the place of one that it can't answer.

    Returns:
        One response per request, in order, holding the outputs which that request asked for.
    """
    prepared: list[tuple[int, Any]] = []
    responses: list[Any] = [None] * len(requests)
    _waiting.begin(time.perf_counter())
    ask = _waiting.may_be_long(len(requests))
    for position, request in enumerate(requests):
        if ask and request.is_cancelled():  # its caller gave up: no work for nobody
            responses[position] = failure("the caller cancelled the request", pb_utils.TritonError.CANCELLED)
            continue
        try:
            prepared.append((position, prepare(request)))
        except InvalidRequest as error:
            responses[position] = failure(str(error), pb_utils.TritonError.INVALID_ARG)
        except TowersDiffer as error:
            responses[position] = failure(str(error), pb_utils.TritonError.UNAVAILABLE)
        except Exception as error:  # a fault of ours; the neighbours are answered all the same
            pb_utils.Logger.log_error(f"preparing a request failed: {traceback.format_exc()}")
            responses[position] = failure(f"{type(error).__name__}: {error}", pb_utils.TritonError.INTERNAL)
    outcomes = isolated(compute, [item for _, item in prepared])
    rows = len(requests)  # those without an answer count as one
    for (position, _), outcome in zip(prepared, outcomes, strict=True):
        if isinstance(outcome, Expired):
            responses[position] = failure(str(outcome), pb_utils.TritonError.UNAVAILABLE)
        elif isinstance(outcome, Exception):
            message = f"{type(outcome).__name__}: {outcome}"
            responses[position] = failure(message, pb_utils.TritonError.INTERNAL)
        else:
            wanted = requests[position].requested_output_names()
            tensors = [pb_utils.Tensor(name, array) for name, array in outcome.items() if name in wanted]
            responses[position] = pb_utils.InferenceResponse(tensors)
            rows += len(next(iter(outcome.values()))) - 1
    _waiting.end(time.perf_counter(), full=rows >= _MANY_ROWS if _full is None else _full)
    return responses


def handed_over(*, full: bool) -> None:
    """Take note of whether the batch that Triton handed over was full; `answer` may see only a part of it."""
    global _full
    _full = full


def longest_wait() -> float:
    """How long at most, in seconds, requests of the batch at work waited in Triton's queue; infinite when unknown."""
    return _waiting.longest_s


def isolated(
    compute: Callable[[list[Any]], Iterable[dict[str, np.ndarray] | Exception]], items: list[Any]
) -> list[dict[str, np.ndarray] | Exception]:
    """What `compute` makes of everything together; when that fails, one by one, so that what fails fails alone."""
    if not items:
        return []
    try:
        return list(compute(items))
    except Exception as error:
        if len(items) == 1:
            pb_utils.Logger.log_error(f"answering a request failed: {traceback.format_exc()}")
            return [error]
        return [outcome for item in items for outcome in isolated(compute, [item])]


def failure(message: str, code: Any) -> Any:
    """The answer to a request that gets no other."""
    return pb_utils.InferenceResponse(error=pb_utils.TritonError(message, code))
