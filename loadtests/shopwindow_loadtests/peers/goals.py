"""The targets of serving, each a ratio with its limit. Arithmetic only: no clock, no server."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from shopwindow_loadtests.bisect.run import LIMIT
from shopwindow_loadtests.generator.overload import THROTTLE_RATIO, Overload
from shopwindow_loadtests.generator.reading import Reading, median_ratio
from shopwindow_loadtests.peers.running import BATCHERS

OURS, EMBEDDINGS = "Shopwindow", "Shopwindow, embeddings kept"
CACHED = "Shopwindow, results kept too"  # peers cache nothing
REJECTED_MS = 50.0
_MOST_LATE_MS = 500.0  # sent later than this, an overload does not count as one
# If the load at half of the saturation rate is sent later than this, it says nothing about the server. A load test has
# the same rule.
_MOST_HALF_LATE_MS = 100.0
_MOST_GOOD = 1.25  # times the peak; if more of an overload was answered, the peak was measured too low
_LEAST_SENT = 2.7  # times the saturation rate; sent more slowly, an overload does not count as one
_MOST_ERRORS = 0.001  # share; a server that refuses part of a load answers the rest faster, and has no true peak
_MEMORY = "memory of the server's processes (RssAnon)"
_SHARED = "by the servers' CPU time it is {:.2f}; the clients' CPU time and idle cores make the difference"
Readings = Mapping[tuple[str, str], Sequence[Reading]]
"""(server, load) -> a reading for each round; the key of the in-process limit is (LIMIT, batch as text)."""


@dataclass(frozen=True, kw_only=True)
class Goal:
    """A target and its measurement.

    Attributes:
        name: What the target says.
        limit: Limit on the ratio.
        at_most: Whether it is an upper limit.
        ratio: Median over the rounds; None if it was not measured.
        note: A further remark.
    """

    name: str
    limit: float
    at_most: bool
    ratio: float | None
    note: str = ""

    @property
    def passed(self) -> bool:
        """Whether it was measured and holds."""
        return self.ratio is not None and (self.ratio <= self.limit if self.at_most else self.ratio >= self.limit)

    @property
    def cells(self) -> list[str]:
        """Its row in a table."""
        wanted = f"{'at most' if self.at_most else 'at least'} {self.limit:g}"
        measured = "not measured" if self.ratio is None else f"{self.ratio:.3f}"
        return ["PASS" if self.passed else "FAIL", self.name, wanted, measured, self.note]


@dataclass(frozen=True, kw_only=True)
class OpenLoop:
    """The open-loop measurements of one round.

    Attributes:
        peak_per_s: Saturation rate. The other rates follow from it.
        peak_refused: Share of the requests refused at that rate. If some are refused, the rate is too low.
        half_p50_ms: Median latency at half of that rate, counted from the intended start.
        half_p99_ms: The 99th percentile likewise.
        half_late_ms: 99th percentile of how late the load generator sent at half of the saturation rate; the latency
            includes it.
        half_error_share: Share of the requests that were not answered at half of the saturation rate.
        overload: The overload at three times the saturation rate.
        throttled: The same from callers that throttle as the client does.
        memory_before: RssAnon of all the server's processes before the overload, in bytes.
        memory_most: The highest value during it.
        memory_after: The value after it.
        after_ms: Latency of a query right after it; None if it was not answered.
    """

    peak_per_s: float
    peak_refused: float
    half_p50_ms: float
    half_p99_ms: float
    half_late_ms: float
    half_error_share: float
    overload: Overload
    throttled: Overload
    memory_before: int
    memory_most: int
    memory_after: int
    after_ms: float | None


def goals(readings: Readings, zipf: str, open_loops: Sequence[OpenLoop]) -> list[Goal]:
    """Compare the measurements with the targets.

    Args:
        readings: The readings of all servers.
        zipf: Name of the load with the Zipf mix.
        open_loops: One for each round; none if they were left out.
    """

    def ratio(above: tuple[str, str], below: tuple[str, str], figure: str) -> float | None:
        if above not in readings or below not in readings:
            return None
        return median_ratio(readings[above], readings[below], figure)

    found = [
        Goal(
            name=f"server CPU per query, {load}, over the in-process limit",
            limit=limit,
            at_most=True,
            ratio=ratio((OURS, load), (LIMIT, "8"), "cpu_ms"),
        )
        for load, limit in (("8 x 8", 1.05), ("32 x 1", 1.25))
    ]
    found += [
        _throughput(readings, name, load, limit)
        for name, load, limit in ((OURS, "32 x 1", 1.1), (EMBEDDINGS, zipf, 2.0), (CACHED, zipf, 2.0))
    ]
    return [*found, *_open_goals(open_loops)]


def _throughput(readings: Readings, name: str, load: str, limit: float) -> Goal:
    rate = None
    note = f"needs {' and '.join(BATCHERS)}"
    ours, theirs = readings.get((name, load)), [readings.get((batcher, load)) for batcher in BATCHERS]
    if ours and all(theirs):
        # Chosen in each round: which batcher is faster may change with the other work of the machine.
        best = [max(each, key=lambda one: one.queries_per_s) for each in zip(*theirs, strict=True)]
        rate = median_ratio(ours, best, "queries_per_s")
        note = _SHARED.format(median_ratio(best, ours, "cpu_ms"))
    what = load + name.removeprefix(OURS)
    return Goal(name=f"throughput, {what}, over the faster batcher", limit=limit, at_most=False, ratio=rate, note=note)


def _open_goals(rounds: Sequence[OpenLoop]) -> list[Goal]:
    tail, calm = _calm(rounds)
    waves = [one.overload for one in rounds]
    rejected = most = left = after = None
    errors = grown = answered = ""
    if rounds:
        late = [wave.rejected_ms for wave in waves if wave.rejected_ms is not None]
        rejected = median(late) / REJECTED_MS if late else 0.0  # if all were answered, none was rejected too late
        most = median(one.memory_most / one.memory_before for one in rounds)
        left = median(one.memory_after / one.memory_before for one in rounds)
        after = sum(one.after_ms is not None for one in rounds) / len(rounds)
        kinds = sum((Counter(wave.errors) for wave in waves), Counter[str]())
        often = ", mostly " + kinds.most_common(1)[0][0][:80] if kinds else ""
        errors = f"{kinds.total()} of {sum(wave.sent for wave in waves)} rejected or too late{often}"
        if halves := [wave.rejected_p50_ms for wave in waves if wave.rejected_p50_ms is not None]:
            errors += f"; half of them within {median(halves):.0f} ms"
        sizes = [max(getattr(one, f"memory_{when}") for one in rounds) / 2**20 for when in ("before", "most", "after")]
        grown = "at most {:.0f} MiB before, {:.0f} during, {:.0f} after".format(*sizes)
        took = [one.after_ms for one in rounds if one.after_ms is not None]
        answered = f"after at most {max(took):.0f} ms" if took else ""
        if _no_overload(rounds, waves):
            rejected = most = left = after = None
    return [
        Goal(name="p99 over p50 at half of the saturation rate", limit=3.0, at_most=True, ratio=tail, note=calm),
        _goodput(rounds, waves),
        _goodput(rounds, [one.throttled for one in rounds], f", callers with Throttle(ratio={THROTTLE_RATIO:g})"),
        Goal(
            name=f"p99 until a request is rejected, over {REJECTED_MS:g} ms",
            limit=1.0,
            at_most=True,
            ratio=rejected,
            note=errors,
        ),
        Goal(name=f"{_MEMORY} during the overload, over before", limit=1.5, at_most=True, ratio=most, note=grown),
        Goal(name=f"{_MEMORY} after the overload, over before", limit=1.1, at_most=True, ratio=left, note=grown),
        Goal(name="a query after the overload is answered", limit=1.0, at_most=False, ratio=after, note=answered),
    ]


def _goodput(rounds: Sequence[OpenLoop], waves: Sequence[Overload], whose: str = "") -> Goal:
    good, note = None, ""
    if rounds:
        good = median(_good(one, wave) for one, wave in zip(rounds, waves, strict=True))
        note = _sent(rounds, waves)
        if why := _no_overload(rounds, waves):
            good, note = None, f"{note}: {why}"
    return Goal(
        name=f"goodput at 3 x saturation, over the peak{whose}", limit=0.9, at_most=False, ratio=good, note=note
    )


def _calm(rounds: Sequence[OpenLoop]) -> tuple[float | None, str]:
    """Return p99 over p50 at half of the saturation rate, or None if it is meaningless; and a note."""
    if not rounds:
        return None, ""
    if why := _no_peak(rounds):
        return None, why
    if (late := median(one.half_late_ms for one in rounds)) > _MOST_HALF_LATE_MS:
        return None, f"the load generator was {late:.0f} ms late: the cores have no time for it"
    if (errors := median(one.half_error_share for one in rounds)) > _MOST_ERRORS:
        return None, f"{errors:.1%} of the requests were not answered"
    tail = median(one.half_p99_ms / one.half_p50_ms for one in rounds)
    return tail, f"p50 {median(one.half_p50_ms for one in rounds):.1f} ms"


def _sent(rounds: Sequence[OpenLoop], waves: Sequence[Overload]) -> str:
    peak, behind = median(one.peak_per_s for one in rounds), max(wave.late_ms for wave in waves)
    due = f"due {_times(rounds, waves):.1f} x the peak of {peak:.0f}/s"
    if held_back := sum(wave.held_back for wave in waves):
        due += f", of which callers held back {held_back} and sent {sum(wave.sent for wave in waves)}"
    return f"{due}, {sum(wave.unsent for wave in waves)} left unsent, p99 {behind:.0f} ms late"


def _no_overload(rounds: Sequence[OpenLoop], waves: Sequence[Overload]) -> str:
    """Return why this was no overload of three times the peak; empty if it was one."""
    if why := _no_peak(rounds):
        return why
    good = median(_good(one, wave) for one, wave in zip(rounds, waves, strict=True))
    if good > _MOST_GOOD:
        return f"no overload: {good:.2f} x the peak was answered; measure on a quiet machine, or longer"
    if _times(rounds, waves) < _LEAST_SENT or max(wave.late_ms for wave in waves) > _MOST_LATE_MS:
        return "the load generator did not keep up"
    return ""


def _no_peak(rounds: Sequence[OpenLoop]) -> str:
    """Return why the saturation rate is not valid; empty if it is."""
    refused = max(one.peak_refused for one in rounds)
    return "" if refused <= _MOST_ERRORS else f"{refused:.1%} of the requests were refused at the peak: it is too low"


def _good(one: OpenLoop, wave: Overload) -> float:
    return wave.good / wave.seconds / one.peak_per_s


def _times(rounds: Sequence[OpenLoop], waves: Sequence[Overload]) -> float:
    each = zip(rounds, waves, strict=True)
    return median((wave.sent + wave.held_back) / wave.seconds / one.peak_per_s for one, wave in each)
