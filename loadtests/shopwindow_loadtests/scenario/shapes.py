"""How the load changes during a test, and when an open loop has to send."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

# kind -> how many levels it takes (at least, at most)
KINDS = {"soak": (1, 1), "steps": (2, 1000), "spike": (2, 2), "ramp": (2, 2)}


class Phase(NamedTuple):
    """A stretch of time during which the load goes linearly from one level to another."""

    first: float
    last: float
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Shape:
    """Users, or requests per second, as a function of time.

    Attributes:
        kind: `soak`: one level throughout. `steps`: each level in turn, equally long. `spike`: the first level, but the
            second in the middle fifth of the time. `ramp`: linearly from the first level to the second; the test ends
            as soon as a limit breaks.
        levels: As many as the kind takes.
        duration_s: Length of the whole in seconds.

    Raises:
        ValueError: The kind is unknown, or the levels do not fit it.
    """

    kind: str
    levels: Sequence[float]
    duration_s: float

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"shape must be one of {', '.join(KINDS)}, got {self.kind!r}")
        least, most = KINDS[self.kind]
        if not least <= len(self.levels) <= most:
            wanted = str(least) if least == most else f"at least {least}"
            raise ValueError(f"shape {self.kind} takes {wanted} level(s) of users or rate, got {list(self.levels)}")
        if not all(0 < level < math.inf for level in self.levels):
            raise ValueError(f"users and rate must be finite and above 0, got {list(self.levels)}")

    @property
    def phases(self) -> list[Phase]:
        """The phases, in order."""
        levels, whole = self.levels, self.duration_s
        if self.kind == "ramp":
            return [Phase(levels[0], levels[1], whole)]
        if self.kind == "spike":
            calm = Phase(levels[0], levels[0], whole * 2 / 5)
            return [calm, Phase(levels[1], levels[1], whole / 5), calm]
        return [Phase(level, level, whole / len(levels)) for level in levels]

    def level(self, at_s: float) -> float:
        """Return the load at a time, in seconds after the start."""
        for phase in self.phases:
            if at_s < phase.seconds:
                return phase.first + (phase.last - phase.first) * max(at_s, 0.0) / phase.seconds
            at_s -= phase.seconds
        return self.phases[-1].last


def due_times(shape: Shape, *, arrivals: str, seed: int, worker: int = 0, workers: int = 1) -> np.ndarray:
    """Return when one of several workers has to send, so that all of them together follow the shape.

    Args:
        shape: Requests per second of all workers together.
        arrivals: "poisson" for independent arrivals, "constant" for equal distances (at a constant level).
        seed: Of the Poisson arrivals.
        worker: Number of this worker, from 0.
        workers: Number of workers.

    Returns:
        (n,) float64: seconds after the start, in rising order.
    """
    phases = shape.phases
    expected = np.array([(phase.first + phase.last) / 2 * phase.seconds for phase in phases]) / workers
    starts = np.concatenate([[0.0], np.cumsum(expected)])
    total = starts[-1]
    # Arrivals at a changing rate are arrivals at rate one on a time scale that the rate stretches.
    if arrivals == "constant":
        units = np.arange(math.ceil(total)) + worker / workers
    else:
        random = np.random.default_rng([seed, worker])
        units = np.sort(random.random(random.poisson(total)) * total)
    units = units[units < total]
    times: np.ndarray = np.empty(len(units))
    before = 0.0
    for number, phase in enumerate(phases):
        inside = (units >= starts[number]) & (units < starts[number + 1])
        rest = (units[inside] - starts[number]) * workers
        growth = 2 * (phase.last - phase.first) / phase.seconds
        times[inside] = before + 2 * rest / (phase.first + np.sqrt(phase.first**2 + growth * rest))
        before += phase.seconds
    return times
