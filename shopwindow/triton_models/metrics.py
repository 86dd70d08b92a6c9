"""Prometheus metrics of a model that searches, on Triton's metrics port."""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from math import isfinite
from typing import Any

import triton_python_backend_utils as pb_utils  # exists only inside Triton's stub process

from shopwindow.retrieval.embedding.embedding_cache import EmbeddingCache
from shopwindow.retrieval.errors import Unfit
from shopwindow.retrieval.search.result_cache import ResultCache
from shopwindow.retrieval.stopwatch import Stopwatch

Caches = Mapping[str, EmbeddingCache | ResultCache | None]

_SECONDS = [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0]
_ROWS = [1, 2, 4, 8, 16, 32, 64]
_EVENTS = ("expired", "refused", "effort_lowered")
_FLUSH_S = 0.1
_GATHERED = 100_000  # values kept at most, so that memory stays limited if the server takes none


class Metrics:
    """Metrics of one model instance. All instances of a model share their metrics except for the generation and
    what they refuse.

    It takes some 30 microseconds to send a value to the server. So a thread collects the values and sends them.

    Args:
        model: name of the model.
        instance: name of the instance, a label of its generation.
        stages: names of the measured stages. There are two more: "execute", for all stages together, and "queue", for
            the longest time that a request can have waited before.
        generation: returns the served generation.
        caches: returns the caches by name, `embedding` and `result`; None for one that is switched off.
        refused: returns why the generation that CURRENT names is refused, one of `Unfit`; None if it is served.
    """

    def __init__(
        self,
        model: str,
        instance: str,
        stages: Sequence[str],
        generation: Callable[[], int],
        caches: Callable[[], Caches],
        refused: Callable[[], str | None] = lambda: None,
    ) -> None:
        family = pb_utils.MetricFamily
        self._families = {
            name: family(name=f"shopwindow_{name}", description=text, kind=kind)
            for name, text, kind in (
                ("stage_seconds", "Seconds that a stage of a batch took", family.HISTOGRAM),
                ("batch_rows", "Queries or products of a batch", family.HISTOGRAM),
                ("index_generation", "Generation of the index that an instance serves", family.GAUGE),
                ("index_refused", "1 while an instance refuses what CURRENT names, else 0", family.GAUGE),
                ("embedding_cache_hits_total", "Queries whose embedding was in the cache", family.COUNTER),
                ("embedding_cache_misses_total", "Queries that had to be embedded", family.COUNTER),
                ("result_cache_hits_total", "Embeddings whose result was in the cache", family.COUNTER),
                ("result_cache_misses_total", "Embeddings that had to be searched for", family.COUNTER),
                ("requests_protected_total", "Requests refused, expired, or searched with less effort", family.COUNTER),
            )
        }
        labels = {"model": model}
        self._measured = stages
        self._stages = {
            stage: self._metric("stage_seconds", {**labels, "stage": stage}, _SECONDS)
            for stage in (*stages, "execute", "queue")
        }
        self._rows = self._metric("batch_rows", labels, _ROWS)
        self._generation = self._metric("index_generation", {**labels, "instance": instance})
        self._events = {
            event: self._metric("requests_protected_total", {**labels, "event": event}) for event in _EVENTS
        }
        for name, cache in caches().items():
            for event in ("hits", "misses") if cache is not None else ():
                self._events[f"{name} {event}"] = self._metric(f"{name}_cache_{event}_total", labels)
        self._refusals = {
            kind: self._metric("index_refused", {**labels, "instance": instance, "reason": kind.value})
            for kind in Unfit
        }
        self._serves, self._caches, self._refused = generation, caches, refused
        self._sent_generation: int | None = None
        self._sent_refused: str | None = None
        self._observations: deque[tuple[Any, float]] = deque(maxlen=_GATHERED)
        self._counts: Counter[str] = Counter()  # since the start, by event
        self._lock = threading.Lock()
        self._sent_counts: Counter[str] = Counter()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._flush_on, name=f"{instance}: metrics", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Send the remaining values and end the thread."""
        self._ended.set()
        self._thread.join()

    def add_batch(self, watches: Sequence[Stopwatch], rows: int, waited: float) -> None:
        """Add the measurements of a batch.

        Args:
            watches: one stopwatch for each thread that worked on the batch.
            rows: number of rows in the batch.
            waited: the longest time that a request can have waited, in seconds; infinite if unknown.
        """
        for stage in self._measured:
            # Laps measured before the batch was shared out are the same in all watches. They must count once.
            for laps in {tuple(lap for lap in watch.laps if lap.stage == stage) for watch in watches}:
                if laps:
                    self._observations.append((self._stages[stage], sum(lap.seconds for lap in laps)))
        self._observations.append((self._stages["execute"], max(watch.total for watch in watches)))
        if isfinite(waited):
            self._observations.append((self._stages["queue"], waited))
        self._observations.append((self._rows, rows))

    def count(self, event: str, number: int) -> None:
        """Add requests to the count of an event. Several threads may do so at once.

        Args:
            event: "expired", "refused" or "effort_lowered".
            number: number of requests.
        """
        if number:
            with self._lock:
                self._counts[event] += number

    def _metric(self, name: str, labels: dict[str, str], buckets: Sequence[float] | None = None) -> Any:
        return self._families[name].Metric(labels=labels, buckets=buckets)

    def _flush_on(self) -> None:
        ended = complained = False
        while not ended:
            ended = self._ended.wait(_FLUSH_S)
            try:
                self._flush()
            except Exception as error:  # metrics must never stop a search, and the next try may succeed
                if not complained:
                    complained = True
                    pb_utils.Logger.log_error(f"metrics could not be sent: {type(error).__name__}: {error}")

    def _flush(self) -> None:
        while self._observations:
            metric, value = self._observations.popleft()
            metric.observe(value)
        for name, cache in self._caches().items():
            if cache is not None:
                self._counts[f"{name} hits"], self._counts[f"{name} misses"] = cache.hits, cache.misses
        for event, number in list(self._counts.items()):
            # The cache of a new index or of new towers starts again at 0.
            more = number - self._sent_counts[event] if number >= self._sent_counts[event] else number
            if more:
                self._events[event].increment(more)
                self._sent_counts[event] = number
        if (generation := self._serves()) != self._sent_generation:
            self._generation.set(generation)
            self._sent_generation = generation
        if (refused := self._refused()) != self._sent_refused:
            for kind, metric in self._refusals.items():
                metric.set(int(kind == refused))
            self._sent_refused = refused
