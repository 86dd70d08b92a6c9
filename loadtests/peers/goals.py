"""The targets of serving, each as a ratio with its limit. Arithmetic only: no clock, no server."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from loadtests.bisect_reading import Reading, median_ratio
from loadtests.bisect_run import LIMIT
from loadtests.peers.running import BATCHER

OURS, CACHED = "Shopwindow", "Shopwindow, cache"
REJECTED_MS = 50.0
Readings = Mapping[tuple[str, str], Sequence[Reading]]
"""(server, load) -> a reading a round; (LIMIT, batch as text) for the in-process limit."""


@dataclass(frozen=True, kw_only=True)
class Goal:
    """A target and what was measured.

    Attributes:
        name: What is to hold.
        limit: Of the ratio.
        at_most: Whether the limit is an upper one.
        ratio: The median over rounds; None when it was not measured.
        note: What else there is to say.
    """

    name: str
    limit: float
    at_most: bool
    ratio: float | None
    note: str = ""

    @property
    def passed(self) -> bool:
        """Whether it was measured, and holds."""
        return self.ratio is not None and (self.ratio <= self.limit if self.at_most else self.ratio >= self.limit)

    @property
    def cells(self) -> list[str]:
        """A row of a table."""
        wanted = f"{'at most' if self.at_most else 'at least'} {self.limit:g}"
        measured = "not measured" if self.ratio is None else f"{self.ratio:.3f}"
        return ["PASS" if self.passed else "FAIL", self.name, wanted, measured, self.note]


@dataclass(frozen=True, kw_only=True)
class OpenLoop:
    """What the open loop saw in one round.

    Attributes:
        peak_per_s: Requests a second of the closed loop, by the same load generator.
        half_p50_ms: At half of that rate, from the intended start.
        half_p99_ms: Likewise.
        sent_per_s: At three times that rate, what was really sent: the load generator has the same cores.
        good_per_s: At three times that rate, answered in time.
        unsent: Requests that were due then but not sent, as too many were under way.
        rejected: Requests that failed then.
        rejected_ms: 99th percentile of how long these took to fail, from being sent; None without any.
    """

    peak_per_s: float
    half_p50_ms: float
    half_p99_ms: float
    sent_per_s: float
    good_per_s: float
    unsent: int
    rejected: int
    rejected_ms: float | None


def goals(readings: Readings, zipf: str, open_loops: Sequence[OpenLoop]) -> list[Goal]:
    """Hold what was measured against the targets.

    Args:
        readings: Of all servers.
        zipf: Name of the load with the Zipf mix.
        open_loops: A round each; none when they were left out.
    """

    def ratio(above: tuple[str, str], below: tuple[str, str], figure: str) -> float | None:
        if above not in readings or below not in readings:
            return None
        return median_ratio(readings[above], readings[below], figure)

    found = [
        Goal(
            name=f"server CPU a query, {load}, over the in-process limit",
            limit=limit,
            at_most=True,
            ratio=ratio((OURS, load), (LIMIT, "8"), "cpu_ms"),
        )
        for load, limit in (("8 x 8", 1.05), ("32 x 1", 1.25))
    ]
    found += [
        Goal(
            name=f"throughput, {load}, over {BATCHER}",
            limit=limit,
            at_most=False,
            ratio=ratio((name, load), (BATCHER, load), "queries_per_s"),
        )
        for name, load, limit in ((OURS, "32 x 1", 1.1), (CACHED, zipf, 2.0))
    ]
    return [*found, *_open_goals(open_loops)]


def _open_goals(rounds: Sequence[OpenLoop]) -> list[Goal]:
    tail = median(one.half_p99_ms / one.half_p50_ms for one in rounds) if rounds else None
    good = median(one.good_per_s / one.peak_per_s for one in rounds) if rounds else None
    late = [one.rejected_ms for one in rounds if one.rejected_ms is not None]
    overload = note = ""
    if rounds:
        peak, sent = (median(getattr(one, name) for one in rounds) for name in ("peak_per_s", "sent_per_s"))
        overload = f"peak {peak:.0f}/s, sent {sent:.0f}/s of {3 * peak:.0f}/s"
        unsent, rejected = sum(one.unsent for one in rounds), sum(one.rejected for one in rounds)
        note = f"{rejected} rejected or failed; {unsent} were not sent, as too many were under way"
    # Nothing that failed in time is nothing that failed too late, so long as the harness sent what was due.
    nothing = 0.0 if rounds and not any(one.unsent for one in rounds) else None
    return [
        Goal(name="p99 over p50 at half of the saturation rate", limit=3.0, at_most=True, ratio=tail),
        Goal(name="goodput at 3 x saturation, over the peak", limit=0.9, at_most=False, ratio=good, note=overload),
        Goal(
            name=f"p99 until a request is rejected, over {REJECTED_MS:g} ms",
            limit=1.0,
            at_most=True,
            ratio=median(late) / REJECTED_MS if late else nothing,
            note=note,
        ),
    ]
