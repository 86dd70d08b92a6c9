"""Collects the raw samples of all processes of a load test."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from shopwindow_loadtests.judging.samples import Sample, Samples, SampleWriter
from shopwindow_loadtests.judging.slo import Slo, failing
from shopwindow_loadtests.scenario.options import LoadTestOptions
from shopwindow_loadtests.sending.sender import now

RAMP_WINDOW_S = 3.0
MAX_SKEW_S = 0.5
_REPORTS = 4  # reports needed before a worker's clock is judged, because a single report may be late


class Collector:
    """Writes samples to the file of the test as they arrive.

    Args:
        options: The test.
        slo: The limits; a ramp ends when they break.
    """

    def __init__(self, options: LoadTestOptions, slo: Slo) -> None:
        self._options, self._slo = options, slo
        self._writer = SampleWriter(options.samples_file)
        self._done: set[int] = set()
        self._recent: list[Sample] = []
        self._heard = time.monotonic()
        self._cpu = 0.0
        self._delays: dict[int, tuple[int, float]] = {}  # worker -> number of reports, shortest delay

    @property
    def done(self) -> int:
        """Number of processes that have delivered all of their samples."""
        return len(self._done)

    @property
    def complete(self) -> bool:
        """Whether all processes have."""
        return self.done >= self._options.workers

    @property
    def silent_s(self) -> float:
        """Seconds since the last delivery."""
        return time.monotonic() - self._heard

    @property
    def failing(self) -> bool:
        """Whether the latest samples of a ramp break the limits."""
        return failing(Samples.of(self._recent), self._slo, span_s=RAMP_WINDOW_S)

    @property
    def skewed(self) -> str:
        """Which worker's clock differs from ours, and by how much; empty if all are close enough.

        Samples carry the time of their worker. With another clock they would end up elsewhere in the test. A clock
        that is behind looks like a delayed report. Only several reports tell the two apart, and a test of a second or
        two does not have several.
        """
        for worker, (reports, off_s) in self._delays.items():
            # A delay never makes a clock look ahead.
            known = reports >= _REPORTS or (worker in self._done and off_s < 0)
            if abs(off_s) > MAX_SKEW_S and known:
                return (
                    f"the clock of worker {worker} is {abs(off_s):.1f} s {'behind' if off_s > 0 else 'ahead'} (at most "
                    f"{MAX_SKEW_S:g} s): let NTP or chrony set the clocks of all machines"
                )
        return ""

    def take(self, *, rows: Sequence[Sequence[Any]], worker: int, done: bool, cpu: float, clock_s: float) -> None:
        """Take a delivery from a process.

        Args:
            rows: Samples, as lists of their fields.
            worker: Number of the process.
            done: Whether these samples are its last.
            cpu: Share of a core that it used, see `CpuShare`.
            clock_s: The time on its clock.
        """
        self._heard = time.monotonic()
        self._cpu = max(self._cpu, cpu)
        reports, shortest_s = self._delays.get(worker, (0, float("inf")))
        self._delays[worker] = (reports + 1, min(shortest_s, now() - clock_s))
        samples = [Sample(*row) for row in rows]
        self._writer.write(samples)
        if self._options.shape == "ramp":
            self._recent += samples
            newest = max((sample.start_s for sample in self._recent), default=0.0)
            self._recent = [sample for sample in self._recent if sample.start_s > newest - RAMP_WINDOW_S]
        if done:
            self._done.add(worker)

    def close(self) -> None:
        """Finish the file."""
        self._writer.close(generator_cpu=self._cpu)
