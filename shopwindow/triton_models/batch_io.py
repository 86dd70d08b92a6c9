"""Read the requests of a batch and answer each of them, so that a bad one does not affect the others."""

from __future__ import annotations

import json
import os
import secrets
import time
import traceback
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import triton_python_backend_utils as pb_utils  # exists only inside Triton's stub process

from shopwindow.retrieval.embedding.bundle import Bundle
from shopwindow.retrieval.errors import GenerationGone, InvalidRequest, RetrievalError, TowersDiffer, show
from shopwindow.retrieval.request.parameters import RequestParameters
from shopwindow.triton_models.deadlines import Expired, deadline_of
from shopwindow.triton_models.queue_wait import QueueWait

# If the tokeniser started its own threads, it would take cores from the other instances and do several times the work.
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")


def _serialize(texts: np.ndarray) -> bytes | tuple[()]:
    """Return an output of bytes objects as Triton sends it: each after its length. Triton's own takes twice as long."""
    if not texts.size:
        return ()  # NumPy makes one byte of b""
    lengths: dict[int, bytes] = {}
    parts: list[bytes] = []
    for text in texts.ravel().tolist():
        size = len(text)
        parts += lengths.get(size) or lengths.setdefault(size, size.to_bytes(4, "little")), text
    return b"".join(parts)


pb_utils.serialize_byte_tensor = _serialize  # `pb_utils.Tensor` looks it up

_MANY_ROWS = 32  # the smallest max_batch_size; a batch with this many rows may have left other requests waiting
_waiting = QueueWait()  # one for the whole process, because a stub process serves one instance
_full: bool | None = None


Compute = Callable[[list[Any]], Iterable[dict[str, np.ndarray] | Exception]]


class Cancelled(RetrievalError):
    """Raised when a caller no longer waits for the answer; served as CANCELLED."""

    def __init__(self) -> None:
        super().__init__("the caller cancelled the request")


class Busy(RetrievalError):
    """Raised when too much is waiting already; served as UNAVAILABLE."""


@dataclass
class Prepared:
    """A request of a batch, after its input was checked.

    Attributes:
        position: its place in the batch.
        request: Triton's request.
        item: what `prepare` returned for it, or the exception that it raised.
    """

    position: int
    request: Any
    item: Any


class Desk(Protocol):
    """Does a step between `prepare` and `compute` that may take long, such as decoding photos."""

    def sort_out(self, prepared: list[Prepared], compute: Compute) -> list[Prepared]:
        """Do the step for some requests and return those. The others are answered later, through their senders."""
        ...


def array(request: Any, name: str) -> np.ndarray:
    """Return an input tensor, batch axis first.

    Raises:
        InvalidRequest: it is missing. Triton 2.51 lets that pass if the request has an optional input instead.
    """
    found = pb_utils.get_input_tensor_by_name(request, name)
    if found is None:
        raise InvalidRequest(name, "this input must be given")
    tensor: np.ndarray = found.as_numpy()
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


def deadline(request: Any) -> float:
    """Return the time until which a request must be answered, in seconds of `time.perf_counter`, from now.

    It ignores other parameters, and a deadline that is no integer.
    """
    given = parameters(request).get("deadline_unix_ms")
    unix_ms = given if isinstance(given, int) and not isinstance(given, bool) else None
    return deadline_of(RequestParameters(deadline_unix_ms=unix_ms), request.timeout(), time.perf_counter())


def towers_output(towers: Bundle, rows: int) -> np.ndarray:
    """Return the output `towers`, (rows, 1) bytes: the hash that clients send as the parameter `towers`."""
    return np.full((rows, 1), towers.tower_hash.encode(), dtype=np.object_)


def split(rows: np.ndarray, sizes: Sequence[int]) -> list[np.ndarray]:
    """Cut an array (total, ...) into consecutive parts of the given sizes."""
    return np.split(rows, np.cumsum(sizes)[:-1])


def answer(
    requests: Sequence[Any], prepare: Callable[[Any], Any], compute: Compute, desk: Desk | None = None
) -> list[Any]:
    """Answer a batch. A bad request gets an error and does not affect the others.

    Args:
        requests: the requests that Triton passes to `execute`.
        prepare: reads and checks one request. If it raises InvalidRequest, that request gets INVALID_ARGUMENT;
            TowersDiffer gives UNAVAILABLE, GenerationGone NOT_FOUND, any other exception INTERNAL.
        compute: answers all prepared requests together. It returns, in order, a dict of output arrays by name for each
            of them, or an exception if it cannot answer one.
        desk: does a step in between; None if there is none.

    Returns:
        One response per request, in order, with the outputs that the request asked for. It is None for a request that
        the desk answers later.
    """
    prepared: list[Prepared] = []
    _waiting.begin(time.perf_counter())
    ask = _waiting.may_be_long(len(requests))
    for position, request in enumerate(requests):
        try:
            if ask and request.is_cancelled():
                raise Cancelled
            item = prepare(request)
        except Exception as error:  # the other requests are still answered
            item = error
        prepared.append(Prepared(position, request, item))
    if desk is not None:
        prepared = desk.sort_out(prepared, compute)
    responses: list[Any] = [None] * len(requests)
    rows = len(requests)  # a request without an answer counts as one row
    for each, outcome in zip(prepared, _outcomes(prepared, compute), strict=True):
        responses[each.position] = response(outcome, each.request.requested_output_names())
        if not isinstance(outcome, Exception):
            rows += len(next(iter(outcome.values()))) - 1
    _waiting.end(time.perf_counter(), full=rows >= _MANY_ROWS if _full is None else _full)
    return responses


def _outcomes(prepared: list[Prepared], compute: Compute) -> Iterable[dict[str, np.ndarray] | Exception]:
    computed = iter(compute_isolated(compute, [each.item for each in prepared if not isinstance(each.item, Exception)]))
    return [each.item if isinstance(each.item, Exception) else next(computed) for each in prepared]


def response(outcome: dict[str, np.ndarray] | Exception, requested: Iterable[str]) -> Any:
    """Return Triton's response.

    Args:
        outcome: output arrays by name, or the exception that tells why there are none.
        requested: names of the outputs that the request asks for.
    """
    if not isinstance(outcome, Exception):
        wanted = set(requested)
        return pb_utils.InferenceResponse([pb_utils.Tensor(name, a) for name, a in outcome.items() if name in wanted])
    code = pb_utils.TritonError
    if isinstance(outcome, InvalidRequest):
        return failure(str(outcome), code.INVALID_ARG)
    if isinstance(outcome, GenerationGone):
        return failure(str(outcome), code.NOT_FOUND)
    if isinstance(outcome, TowersDiffer | Expired | Busy):
        return failure(str(outcome), code.UNAVAILABLE)
    if isinstance(outcome, Cancelled):
        return failure(str(outcome), code.CANCELLED)
    # A bug, or a fault of this machine. Its text may hold paths or names that are no business of the caller.
    number = secrets.token_hex(4)
    reason = "".join(traceback.format_exception(outcome))
    pb_utils.Logger.log_error(f"internal error {number}: {reason}")
    return failure(f"internal error {number}: the server's log has the reason under this number", code.INTERNAL)


def note_batch(*, full: bool) -> None:
    """Note whether Triton's batch was full. `answer` cannot tell, because it may see only a part of the batch."""
    global _full
    _full = full


def longest_wait() -> float:
    """Return the longest time that requests of the current batch waited in Triton's queue, in seconds.

    It is an upper limit, and infinite if unknown.
    """
    return _waiting.longest_s


def compute_isolated(compute: Compute, items: list[Any]) -> list[dict[str, np.ndarray] | Exception]:
    """Compute all items together. If that fails, compute each alone, so that only the failing ones get an exception."""
    if not items:
        return []
    try:
        return list(compute(items))
    except Exception as error:
        if len(items) == 1:
            return [error]
        return [outcome for item in items for outcome in compute_isolated(compute, [item])]


def failure(message: str, code: Any) -> Any:
    """Return an error response."""
    return pb_utils.InferenceResponse(error=pb_utils.TritonError(message, code))
