"""What one measurement of a server or a step says, and medians over interleaved rounds."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import TypeVar

Key = TypeVar("Key")


@dataclass(frozen=True, kw_only=True)
class Load:
    """What clients send, each its next request as soon as it has its answer.

    Attributes:
        clients: At the same time.
        batch: Queries in one request.
        zipf: How much the popular queries dominate, as in `ZipfSampler`; None sends each query in turn.
    """

    clients: int
    batch: int
    zipf: float | None = None

    @property
    def name(self) -> str:
        """As in `8 x 1` or `32 x 1, Zipf 1`."""
        mix = "" if self.zipf is None else f", Zipf {self.zipf:g}"
        return f"{self.clients} x {self.batch}{mix}"


LOADS = (Load(clients=8, batch=1), Load(clients=32, batch=1), Load(clients=8, batch=8))

# The in-process batch to hold a load against: what a server can put together of what waits.
LIMIT_BATCH = {"8 x 1": 1, "32 x 1": 8, "8 x 8": 8}


@dataclass(frozen=True, kw_only=True)
class Reading:
    """One measurement.

    Attributes:
        queries_per_s: Answered.
        cpu_ms: CPU time of the server, or of the step, in milliseconds a query.
        parts: The same by process: "server" and the model of each Python process.
        p50_ms: Latency of requests, as the load generator sees it; None for a step.
        p99_ms: Likewise.
        generator_ms: CPU time of the load generator, in milliseconds a query; no part of `cpu_ms`.
        rows: Queries that the server computed together, on average; None where it doesn't say.
        queue_ms: That a request waited in the server, on average; None where it doesn't say.
        refused: Share of requests that the server refused as it had too much to do; what they cost is in `cpu_ms`.
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
    """The median of each figure over rounds, each figure by itself.

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
    """Measure everything once a round, in turn, so that what the machine does meanwhile touches all alike.

    Args:
        measures: What to measure.
        rounds: How often.
        done: Hears of each measurement.

    Returns:
        The readings of each, in the order of the rounds.
    """
    readings: dict[Key, list[Reading]] = {key: [] for key in measures}
    for number in range(rounds):
        for key in in_turn(measures, number):
            readings[key].append(measures[key]())
            done(key)
    return readings


def in_turn(keys: Iterable[Key], number: int) -> list[Key]:
    """The order within a round, counted from 0: every other one goes backwards, so that a steady drift cancels out."""
    order = list(keys)
    return order if number % 2 == 0 else order[::-1]


def median_ratio(above: Sequence[Reading], below: Sequence[Reading], figure: str) -> float:
    """The median over rounds of one thing's figure over another's: what both had in common in a round cancels out.

    Args:
        above: Readings of one, a round each.
        below: Of the other, as many.
        figure: Field of `Reading`.
    """
    ratios = [float(getattr(a, figure) / getattr(b, figure)) for a, b in zip(above, below, strict=True)]
    return median(ratios)


def _known(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return median(known) if known else None
