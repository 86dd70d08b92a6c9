"""Where the raw samples of all processes of a load test come together."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from loadtests.options import LoadTestOptions
from loadtests.samples import Sample, Samples, SampleWriter
from loadtests.slo import Slo, failing

RAMP_WINDOW_S = 3.0


class Collector:
    """Writes samples to the test's file as they arrive.

    Args:
        options: The test.
        slo: The limits at which a ramp ends.
    """

    def __init__(self, options: LoadTestOptions, slo: Slo) -> None:
        self._options, self._slo = options, slo
        self._writer = SampleWriter(options.samples_file)
        self._done: set[int] = set()
        self._recent: list[Sample] = []
        self._heard = time.monotonic()

    @property
    def done(self) -> int:
        """How many processes have delivered all of their samples."""
        return len(self._done)

    @property
    def complete(self) -> bool:
        """Whether all have."""
        return self.done >= self._options.workers

    @property
    def silent_s(self) -> float:
        """For how long nothing was delivered."""
        return time.monotonic() - self._heard

    @property
    def failing(self) -> bool:
        """Whether the latest samples of a ramp are beyond the limits."""
        return failing(Samples.of(self._recent), self._slo, span_s=RAMP_WINDOW_S)

    def take(self, *, rows: Sequence[Sequence[Any]], worker: int, done: bool) -> None:
        """Take what a process delivers; see `Session`."""
        self._heard = time.monotonic()
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
        self._writer.close()
