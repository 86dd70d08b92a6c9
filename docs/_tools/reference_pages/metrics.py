"""docs/reference/metrics.md, from the metrics that a model makes when it starts."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace
from typing import Any

from reference_pages.markdown import code, prose, table

_LABELS = {
    "model": "`retrieve`, `retrieve_similar` or `product_index`",
    "stage": "`tokenise` or `decode`, `tower`, `search`, `execute` (all of them), `queue` (the wait before, at most)",
    "instance": "process of the model, such as `retrieve_0_1`",
    "event": "`refused` in an overload, `expired` before the search, `effort_lowered` to answer in time",
    "reason": "`incomplete` (files are missing, or being copied), `changed` (not what was written), `unreadable`, "
    "`memory`, `towers`, `recall`, `other`",
}
_TRITON = [
    ("nv_inference_request_success", "counter", "model, version", "requests that were answered"),
    ("nv_inference_request_failure", "counter", "model, version, reason", "requests that failed"),
    ("nv_inference_queue_duration_us", "counter", "model, version", "microseconds in Triton's queue, of all requests"),
    ("nv_inference_exec_count", "counter", "model, version", "batches"),
]
_INTRODUCTION = """# Metrics

Prometheus reads them from port 8002 (`shopwindow serve --metrics-port`), at `/metrics`. The models that search make
them. [Running it](../operations.md#metrics) says what to watch.
"""


class _Family:
    """Keeps what a model asks Triton to count."""

    HISTOGRAM, GAUGE, COUNTER = "histogram", "gauge", "counter"
    made: list[_Family]

    def __init__(self, *, name: str, description: str, kind: str) -> None:
        self.name, self.text, self.kind = name, description, kind
        self.labels: set[str] = set()
        self.buckets: list[float] = []
        _Family.made.append(self)

    def Metric(self, *, labels: dict[str, str], buckets: list[float] | None = None) -> Any:
        self.labels |= set(labels)
        self.buckets = buckets or self.buckets
        nothing = lambda value: None  # noqa: E731
        return SimpleNamespace(observe=nothing, increment=nothing, set=nothing)


def families() -> list[_Family]:
    """Return the metrics that a model makes which has all stages and caches."""
    _Family.made = []
    inside = ModuleType("triton_python_backend_utils")  # exists only inside Triton
    inside.MetricFamily = _Family  # type: ignore[attr-defined]
    sys.modules[inside.__name__] = inside
    from shopwindow.triton_models.metrics import Metrics

    cache: Any = SimpleNamespace(hits=0, misses=0)
    both = {"embedding": cache, "result": cache}
    Metrics("retrieve", "retrieve_0_0", ["tokenise"], lambda: 1, lambda: both).close()
    return _Family.made


def page() -> str:
    """Return the page.

    Raises:
        KeyError: a metric has a label without a text here.
    """
    made = families()
    order = [label for label in _LABELS if any(label in family.labels for family in made)]
    if unknown := set().union(*(family.labels for family in made)) - set(order):
        raise KeyError(f"labels without a text: {unknown}")
    rows = [
        (
            code(family.name),
            family.kind,
            ", ".join(label for label in order if label in family.labels),
            prose(family.text),
        )
        for family in made
    ]
    buckets = [(code(f.name), ", ".join(f"{edge:g}" for edge in f.buckets)) for f in made if f.buckets]
    return "\n".join(
        [
            _INTRODUCTION,
            table(("metric", "kind", "labels", "meaning"), rows),
            table(("label", "values"), [(code(label), _LABELS[label]) for label in order]),
            "## Buckets\n",
            table(("histogram", "upper ends, in seconds or rows"), buckets),
            "## Of Triton\n",
            "Triton adds its own. These help most:\n",
            table(("metric", "kind", "labels", "meaning"), [(code(name), *rest) for name, *rest in _TRITON]),
        ]
    )
