"""The targets of serving, each as a ratio with its limit. Arithmetic only: no clock, no server."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from loadtests.bisect_reading import Reading, median_ratio
from loadtests.bisect_run import LIMIT
from loadtests.peers.overload import Overload
from loadtests.peers.running import BATCHER

OURS, CACHED = "Shopwindow", "Shopwindow, cache"
REJECTED_MS = 50.0
_MOST_LATE_MS = 500.0  # an overload that was sent later was none
_MOST_HALF_LATE_MS = 100.0  # nor does a calm load that was sent later tell of the server; as in a load test
_MOST_GOOD = 1.25  # nor was one of which more was answered than the server was thought able to
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
        peak_per_s: Saturation rate, from which the others follow.
        half_p50_ms: At half of that rate, from the intended start.
        half_p99_ms: Likewise.
        half_late_ms: 99th percentile of how late the load generator sent then, which is part of the latency.
        overload: At three times that rate.
    """

    peak_per_s: float
    half_p50_ms: float
    half_p99_ms: float
    half_late_ms: float
    overload: Overload


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
    waves = [one.overload for one in rounds]
    tail = median(one.half_p99_ms / one.half_p50_ms for one in rounds) if rounds else None
    good = median(one.overload.good / one.overload.seconds / one.peak_per_s for one in rounds) if rounds else None
    late = [wave.rejected_ms for wave in waves if wave.rejected_ms is not None]
    calm = sent = note = ""
    if rounds:
        calm = f"p50 {median(one.half_p50_ms for one in rounds):.1f} ms"
        if (half_late := median(one.half_late_ms for one in rounds)) > _MOST_HALF_LATE_MS:
            tail, calm = None, f"the load generator was {half_late:.0f} ms late: the cores have no room for it"
        times = median(one.overload.sent / one.overload.seconds / one.peak_per_s for one in rounds)
        peak, behind = median(one.peak_per_s for one in rounds), max(wave.late_ms for wave in waves)
        sent = f"sent {times:.1f} x the peak of {peak:.0f}/s, p99 {behind:.0f} ms late"
        errors = Counter[str]()
        for wave in waves:
            errors.update(wave.errors)
        often = ", mostly " + errors.most_common(1)[0][0][:80] if errors else ""
        if good is not None and good > _MOST_GOOD:
            sent = f"{sent}: no overload, as {good:.2f} x the peak was answered; measure on a quiet machine, or longer"
            good, late = None, []
        elif behind > _MOST_LATE_MS:
            good, late, sent = None, [], f"{sent}: the load generator did not keep up"
        note = f"{errors.total()} of {sum(wave.sent for wave in waves)} rejected or too late{often}"
    # Where every request was answered, none was rejected too late.
    return [
        Goal(name="p99 over p50 at half of the saturation rate", limit=3.0, at_most=True, ratio=tail, note=calm),
        Goal(name="goodput at 3 x saturation, over the peak", limit=0.9, at_most=False, ratio=good, note=sent),
        Goal(
            name=f"p99 until a request is rejected, over {REJECTED_MS:g} ms",
            limit=1.0,
            at_most=True,
            ratio=median(late) / REJECTED_MS if late else None if good is None else 0.0,
            note=note,
        ),
    ]
