"""Measures the steps alone and the in-process limit.

It does so without a server, in one process for each core, each with one thread.
"""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from shopwindow.base.machine import usable_cores
from shopwindow_loadtests.bisect.worker import WHOLE
from shopwindow_loadtests.generator.driving import ATTEMPTS, children, hear, tell
from shopwindow_loadtests.generator.reading import Reading
from shopwindow_loadtests.scenario.errors import HarnessFailure

_SETTLE_S = 0.2


class InProcess:
    """The running workers; `in_process` makes them."""

    def __init__(self, workers: Sequence[subprocess.Popen[str]]) -> None:
        self._workers = workers

    def limit(self, batch: int, seconds: float) -> Reading:
        """Measure the whole of retrieval in all processes at once, at a batch size."""
        return self._measure(WHOLE, batch, seconds, self._workers)

    def step(self, name: str, batch: int, seconds: float) -> Reading:
        """Measure one step in one process, at a batch size."""
        return self._measure(name, batch, seconds, self._workers[:1])

    def _measure(self, step: str, batch: int, seconds: float, workers: Sequence[subprocess.Popen[str]]) -> Reading:
        for _ in range(ATTEMPTS):
            count, cpu_s = self._measure_once(step, batch, seconds, workers)
            if count:
                return Reading(queries_per_s=count / seconds, cpu_ms=1e3 * cpu_s / count)
        raise HarnessFailure(
            f"{step} at batch {batch}: no call ended within {seconds:g} s, in {ATTEMPTS} attempts; measure longer"
        )

    def _measure_once(
        self, step: str, batch: int, seconds: float, workers: Sequence[subprocess.Popen[str]]
    ) -> tuple[int, float]:
        for worker in workers:
            tell(worker, json.dumps({"step": step, "batch": batch}) + "\n")
        for worker in workers:
            hear(worker)  # "ready": the batches are prepared
        start = time.monotonic() + _SETTLE_S
        for worker in workers:
            tell(worker, f"{start} {start + seconds}\n")
        told = [json.loads(hear(worker)) for worker in workers]
        return sum(one["queries"] for one in told), sum(one["cpu_s"] for one in told)


@contextmanager
def in_process(repository: Path, index: Path, queries: Path) -> Iterator[InProcess]:
    """Start workers over a repository and its index, as many as the server has instances. They cache no embeddings.

    Raises:
        HarnessFailure: A worker cannot start.
    """
    places = [str(path.resolve()) for path in (repository, index, queries)]
    commands = [["shopwindow_loadtests.bisect.worker", *places, str(number)] for number in range(usable_cores())]
    with children(commands) as workers:
        for worker in workers:
            hear(worker)
        yield InProcess(workers)
