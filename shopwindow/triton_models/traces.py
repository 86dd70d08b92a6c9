"""Stages of traced requests as OpenTelemetry spans, beneath the ones that Triton makes of each request and model.

They are sent as OTLP over HTTP in JSON, to where Triton sends its own; see `shopwindow.server.command`.
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

import triton_python_backend_utils as pb_utils  # exists only inside the stub

from shopwindow.retrieval.stopwatch import Stopwatch

VARIABLE = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"
_WAITING = 1_000  # batches; beyond, spans are dropped: tracing must never slow a search
_TIMEOUT_S = 5.0
_INTERNAL = 1  # SpanKind


class Spans:
    """Sends spans from a thread of its own.

    Args:
        model: name of the model.
        url: of the collector, ending in /v1/traces.
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
        """Where OTEL_EXPORTER_OTLP_TRACES_ENDPOINT says; None when it is not set."""
        url = os.environ.get(VARIABLE)
        return cls(model, url) if url else None

    def close(self) -> None:
        """Send what is left and end the thread."""
        with suppress(queue.Full):
            self._waiting.put_nowait(None)
        self._thread.join(2 * _TIMEOUT_S)

    def take(self, requests: Sequence[Any], watch: Stopwatch, rows: int) -> None:
        """Give each traced request of a batch the batch's stages."""
        spans = [
            span for request in requests if (parent := _traceparent(request)) for span in _spans(parent, watch, rows)
        ]
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
            except Exception as error:  # whatever it is, tracing must never end
                if not self._complained:  # once: the collector may be away for long
                    self._complained = True
                    pb_utils.Logger.log_error(f"{self._model}: spans can't be sent to {self._url}: {error}")


def _traceparent(request: Any) -> tuple[str, str] | None:
    """Trace id and id of the model's span, of a request that Triton traces."""
    context = request.trace().get_context()
    given = json.loads(context).get("traceparent", "").split("-") if context else []
    return (given[1], given[2]) if len(given) >= 4 else None


def _spans(parent: tuple[str, str], watch: Stopwatch, rows: int) -> list[dict[str, Any]]:
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
