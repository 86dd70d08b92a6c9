"""The result of one measurement of a server or a step, and medians over interleaved rounds."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import TypeVar

Key = TypeVar("Key")


@dataclass(frozen=True, kw_only=True)
class Load:
    """A closed-loop load: each client sends its next request as soon as it has the answer to the last one.

    Attributes:
        clients: Number of clients.
        batch: Queries in one request.
        zipf: How strongly popular queries dominate, see `ZipfSampler`; None sends each query in turn.
    """

    clients: int
    batch: int
    zipf: float | None = None

    @property
    def name(self) -> str:
        """Its name, such as `8 x 1` or `32 x 1, Zipf 1`."""
        mix = "" if self.zipf is None else f", Zipf {self.zipf:g}"
        return f"{self.clients} x {self.batch}{mix}"


LOADS = (Load(clients=8, batch=1), Load(clients=32, batch=1), Load(clients=8, batch=8))

# The in-process batch to compare a load with: as many queries as a server can collect from the waiting requests.
LIMIT_BATCH = {"8 x 1": 1, "32 x 1": 8, "8 x 8": 8}


@dataclass(frozen=True, kw_only=True)
class Reading:
    """One measurement.

    Attributes:
        queries_per_s: Answered queries per second.
        cpu_ms: CPU time of the server, or of the step, in milliseconds per query.
        parts: The same by process: "server" and the model of each Python process.
        p50_ms: Median latency of requests as the load generator sees it; None for a step.
        p99_ms: The 99th percentile likewise.
        generator_ms: CPU time of the load generator, in milliseconds per query; not part of `cpu_ms`.
        rows: Average number of queries that the server computed together; None if it does not say.
        queue_ms: Average time of a request in the server's queue; None if it does not say.
        refused: Share of requests that the server refused because it was overloaded. Their cost is part of `cpu_ms`.
    """

    queries_per_s: float
    cpu_ms: float
    parts: Mapping[str, float] = field(default_factory=dict)
    p50_ms: float | None = None
    p99_ms: float | None = None
    generator_ms: float = 0.0
    rows: float | None = None
    queue_ms: float | None = None
    refused: float = 0.0


def median_reading(readings: Sequence[Reading]) -> Reading:
    """Return the median over rounds, for each figure by itself.

    Args:
        readings: At least one.
    """
    parts = {name for reading in readings for name in reading.parts}
    return Reading(
        queries_per_s=median(one.queries_per_s for one in readings),
        cpu_ms=median(one.cpu_ms for one in readings),
        parts={name: median(one.parts.get(name, 0.0) for one in readings) for name in sorted(parts)},
        p50_ms=_known([one.p50_ms for one in readings]),
        p99_ms=_known([one.p99_ms for one in readings]),
        generator_ms=median(one.generator_ms for one in readings),
        rows=_known([one.rows for one in readings]),
        queue_ms=_known([one.queue_ms for one in readings]),
        refused=median(one.refused for one in readings),
    )


def interleave(
    measures: Mapping[Key, Callable[[], Reading]], rounds: int, done: Callable[[Key], object]
) -> dict[Key, list[Reading]]:
    """Measure everything once in each round, so that whatever else the machine does affects all alike.

    Args:
        measures: The measurements.
        rounds: Number of rounds.
        done: Called after each measurement.

    Returns:
        The readings of each measurement, in the order of the rounds.
    """
    readings: dict[Key, list[Reading]] = {key: [] for key in measures}
    for number in range(rounds):
        for key in in_turn(measures, number):
            readings[key].append(measures[key]())
            done(key)
    return readings


def in_turn(keys: Iterable[Key], number: int) -> list[Key]:
    """Return the order within a round (from 0). Every other round runs backwards, so a steady drift cancels out."""
    order = list(keys)
    return order if number % 2 == 0 else order[::-1]


def median_ratio(above: Sequence[Reading], below: Sequence[Reading], figure: str) -> float:
    """Return the median over rounds of a ratio between two figures. Whatever affects both in a round cancels out.

    Args:
        above: Readings for the numerator, one for each round.
        below: Readings for the denominator, as many.
        figure: Field of `Reading`.
    """
    ratios = [float(getattr(a, figure) / getattr(b, figure)) for a, b in zip(above, below, strict=True)]
    return median(ratios)


def _known(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return median(known) if known else None
