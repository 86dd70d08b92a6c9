"""Decode the photos of a batch: small ones at once, large ones beside the batches, so that nobody waits for them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import triton_python_backend_utils as pb_utils  # exists only inside Triton's stub process

from shopwindow.retrieval.embedding.images import Decode, Photo
from shopwindow.triton_models import batch_io
from shopwindow.triton_models.batch_io import Busy, Cancelled, Compute, Prepared
from shopwindow.triton_models.context import Context
from shopwindow.triton_models.deadlines import Expired
from shopwindow.triton_models.decoder_pool import DecoderPool

BATCH_S = 0.05  # decoding that a batch may take before it is answered
MAX_WAITING = 64  # requests with large photos
MAX_WAITING_BYTES = 2**30  # their photos
_PATIENCE = 4.0  # seconds of waiting that weigh as much as one second of decoding
_MOMENT_S = 0.1


class Undecoded(Protocol):
    """A request whose photos are not decoded yet: `Products`, or an `Item` with them."""

    @property
    def decode_s(self) -> float:
        """Roughly how many seconds one core decodes the photos."""
        ...

    @property
    def photo_bytes(self) -> int:
        """Bytes of the photos."""
        ...

    def decoded(self, decode: Decode = ...) -> Any:
        """Return what `compute` takes."""
        ...


@dataclass
class _Late:
    """A request that is answered later. It does not hold Triton's request, which would hold shared memory."""

    sender: Any
    item: Undecoded
    outputs: Sequence[str]
    deadline: float
    compute: Compute
    arrived: float


class PhotoDesk:
    """Decodes the photos of one model instance.

    The cheapest requests of a batch are decoded at once, as long as that takes less than BATCH_S seconds. The others
    leave the batch. Processes of lower priority decode them, the cheapest first, photo by photo, and each request is
    answered when it is ready. A caller that cancels or whose deadline passes costs at most the photo that is being
    decoded. If too many requests wait, further ones are refused at once.

    Args:
        context: the model's context.
        count: called with "refused" or "expired" and the number of such requests.
    """

    def __init__(
        self,
        context: Context,
        *,
        count: Callable[[str, int], object] = lambda event, requests: None,
    ) -> None:
        self._count, self._model = count, context.model
        self._pool = DecoderPool((context.threads + 1) // 2)
        self._threads = ThreadPoolExecutor(MAX_WAITING, thread_name_prefix=f"{context.instance}: photos")
        self._requests = self._bytes = 0  # that wait
        self._counts = threading.Lock()
        self._batch = threading.Condition()
        self._executing = False

    def close(self) -> None:
        """End the threads and processes, after the last request was answered."""
        self._threads.shutdown()
        self._pool.close()

    @contextmanager
    def executing(self) -> Iterator[None]:
        """Note that Triton waits for the model's `execute` to return.

        Late responses are best sent meanwhile: at the start of a batch, Triton 2.51 clears the list of answered
        requests without a lock, and a response that is sent in that nanosecond may spoil its memory.
        """
        with self._batch:
            self._executing = True
            self._batch.notify_all()
        try:
            yield
        finally:
            with self._batch:
                self._executing = False

    def sort_out(self, prepared: list[Prepared], compute: Compute) -> list[Prepared]:
        """Decode the small photos of a batch and put off the large ones. See `batch_io.Desk`."""
        now: list[Prepared] = []
        left_s = BATCH_S
        for each in sorted(prepared, key=_cost):
            left_s -= _cost(each)
            try:
                if isinstance(each.item, Exception):
                    pass
                elif left_s >= 0:
                    each.item = each.item.decoded()
                else:
                    self._put_off(each, compute)
                    continue
            except Exception as error:
                each.item = error
            now.append(each)
        return now

    def _put_off(self, each: Prepared, compute: Compute) -> None:
        late = _Late(
            sender=each.request.get_response_sender(),
            item=each.item,
            outputs=each.request.requested_output_names(),
            deadline=batch_io.deadline(each.request),
            compute=compute,
            arrived=time.perf_counter(),
        )
        size = late.item.photo_bytes
        with self._counts:
            if self._requests == MAX_WAITING or self._bytes + size > MAX_WAITING_BYTES:
                self._count("refused", 1)
                # Triton itself says "Exceeds maximum queue size" if a queue is full, and clients match on that.
                raise Busy(
                    f"Exceeds maximum queue size: {self._requests} requests to {self._model} with large photos wait "
                    f"already, at most {MAX_WAITING} requests and {MAX_WAITING_BYTES} bytes may; send this one again "
                    "later, to another server, or with smaller photos"
                )
            self._requests, self._bytes = self._requests + 1, self._bytes + size
        self._threads.submit(self._answer, late)

    def _answer(self, late: _Late) -> None:
        outcome: dict[str, np.ndarray] | Exception
        left_s = late.item.decode_s

        def check() -> None:
            if late.sender.is_cancelled():
                raise Cancelled
            if (over := time.perf_counter() - late.deadline) > 0:
                self._count("expired", 1)
                raise Expired(over)

        def decode(photo: Photo, size: int) -> np.ndarray:
            nonlocal left_s
            pixels = self._pool.decode(photo, size, rank=late.arrived + _PATIENCE * left_s, check=check)
            left_s -= photo.header.seconds
            return pixels

        try:
            [outcome] = batch_io.compute_isolated(late.compute, [late.item.decoded(decode)])
        except Exception as error:
            outcome = error
        finally:
            with self._counts:
                self._requests, self._bytes = self._requests - 1, self._bytes - late.item.photo_bytes
        with self._batch:
            self._batch.wait_for(lambda: self._executing, timeout=_MOMENT_S)
            try:
                _send(late, outcome)
            except Exception as error:  # such as no shared memory left
                with suppress(Exception):  # then the log has the reason at least
                    _send(late, error)


def _send(late: _Late, outcome: dict[str, np.ndarray] | Exception) -> None:
    response = batch_io.response(outcome, late.outputs)
    late.sender.send(response, flags=pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL)


def _cost(prepared: Prepared) -> float:
    return 0.0 if isinstance(prepared.item, Exception) else prepared.item.decode_s
