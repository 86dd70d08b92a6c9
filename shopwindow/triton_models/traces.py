"""OpenTelemetry spans for the stages of traced requests, below the spans that Triton makes for request and model.

They go to the same collector as Triton's own, as OTLP over HTTP in JSON; see `shopwindow.server.command`.
"""

from __future__ import annotations

import json
import os
import queue
import secrets
import threading
import urllib.request
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import triton_python_backend_utils as pb_utils  # exists only inside Triton's stub process

from shopwindow.retrieval.stopwatch import Stopwatch

VARIABLE = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"
_WAITING = 1_000  # batches waiting to be sent; further spans are dropped, because tracing must never slow a search
_TIMEOUT_S = 5.0
_INTERNAL = 1  # SpanKind

Parent = tuple[str, str]
"""Trace id, and id of the model's span."""


class Spans:
    """Sends spans from its own thread.

    Args:
        model: name of the model.
        url: URL of the collector, ending in /v1/traces.
    """

    def __init__(self, model: str, url: str) -> None:
        self._model = model
        self._url = url
        self._complained = False
        self._waiting: queue.Queue[list[dict[str, Any]] | None] = queue.Queue(_WAITING)
        self._thread = threading.Thread(target=self._send_on, name=f"{model}: spans", daemon=True)
        self._thread.start()

    @classmethod
    def from_environment(cls, model: str) -> Spans | None:
        """Return an instance for the collector in OTEL_EXPORTER_OTLP_TRACES_ENDPOINT; None if that is not set."""
        url = os.environ.get(VARIABLE)
        return cls(model, url) if url else None

    def close(self) -> None:
        """Send the remaining spans and end the thread."""
        with suppress(queue.Full):
            self._waiting.put_nowait(None)
        self._thread.join(2 * _TIMEOUT_S)

    def queue_spans(self, parents: Sequence[Parent | None], watch: Stopwatch, rows: int) -> None:
        """Queue spans for each traced request of a batch, to be sent. A full queue drops them.

        Args:
            parents: what `traceparent` returned for each request.
            watch: the stopwatch with the batch's stages.
            rows: number of rows in the batch.
        """
        spans = [span for parent in parents if parent for span in _spans(parent, watch, rows)]
        if spans and not self._waiting.full():
            self._waiting.put(spans)

    def _send_on(self) -> None:
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # as Triton does
        while (spans := self._waiting.get()) is not None:
            service = {"key": "service.name", "value": {"stringValue": f"shopwindow-{self._model}"}}
            scope = {"scope": {"name": "shopwindow"}, "spans": spans}
            body = {"resourceSpans": [{"resource": {"attributes": [service]}, "scopeSpans": [scope]}]}
            try:
                request = urllib.request.Request(
                    self._url, json.dumps(body).encode(), {"Content-Type": "application/json"}, method="POST"
                )
                direct.open(request, timeout=_TIMEOUT_S).close()
            except Exception as error:  # no error may end this thread
                if not self._complained:  # only once, because the collector may be away for long
                    self._complained = True
                    pb_utils.Logger.log_error(f"{self._model}: spans could not be sent to {self._url}: {error}")


def traceparent(request: Any) -> Parent | None:
    """Return the trace id and the id of the model's span; None if Triton does not trace the request."""
    context = request.trace().get_context()
    fields = json.loads(context).get("traceparent", "").split("-") if context else []
    return (fields[1], fields[2]) if len(fields) >= 4 else None


def _spans(parent: Parent, watch: Stopwatch, rows: int) -> list[dict[str, Any]]:
    trace, span = parent
    return [
        {
            "traceId": trace,
            "spanId": secrets.token_hex(8),
            "parentSpanId": span,
            "name": lap.stage,
            "kind": _INTERNAL,
            "startTimeUnixNano": str(watch.began_ns + int(lap.began * 1e9)),
            "endTimeUnixNano": str(watch.began_ns + int((lap.began + lap.seconds) * 1e9)),
            "attributes": [{"key": "shopwindow.batch_rows", "value": {"intValue": rows}}],
        }
        for lap in watch.laps
    ]
