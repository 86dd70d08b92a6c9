"""Measure how long each stage of answering a batch takes."""

from __future__ import annotations

import copy
import time
from typing import NamedTuple


class Lap(NamedTuple):
    """One stage: its name, when it began in seconds after the watch started, its length in seconds."""

    stage: str
    began: float
    seconds: float


class Stopwatch:
    """Measures the stages of one batch, one after the other.

    Attributes:
        began: when the watch was started, in seconds of `time.perf_counter`.
        began_ns: the same moment as Unix time in nanoseconds.
        laps: the stages so far.
    """

    def __init__(self) -> None:
        self.began_ns = time.time_ns()
        self.began = self._last = time.perf_counter()
        self.laps: list[Lap] = []

    def lap(self, stage: str) -> None:
        """End a stage. It began when the stage before it ended."""
        now = time.perf_counter()
        self.laps.append(Lap(stage, self._last - self.began, now - self._last))
        self._last = now

    def split(self) -> Stopwatch:
        """Return a copy with the same laps. The two then measure independently."""
        other = copy.copy(self)
        other.laps = list(self.laps)
        return other

    @property
    def total(self) -> float:
        """Seconds from the start to the end of the last stage."""
        return self._last - self.began

    def seconds(self, stage: str) -> float | None:
        """Return the seconds of all laps of a stage together; None if it had no lap."""
        found = [lap.seconds for lap in self.laps if lap.stage == stage]
        return sum(found) if found else None
