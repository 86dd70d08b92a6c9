"""Measures the latency at half of the saturation rate, and the effect of an overload."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

from shopwindow_loadtests.generator.closed_loop import Connection, Grpc, Refused
from shopwindow_loadtests.generator.driving import Target, drive
from shopwindow_loadtests.generator.overload import DEADLINE_S, THROTTLE_RATIO, OpenLoopJob, overload
from shopwindow_loadtests.generator.reading import Load
from shopwindow_loadtests.generator.server_cpu import memory_bytes
from shopwindow_loadtests.peers.goals import OpenLoop
from shopwindow_loadtests.scenario.errors import HarnessFailure
from shopwindow_loadtests.scenario.queries import read_queries

_SATURATING = Load(clients=64, batch=1)  # enough waiting requests for large batches, too few for refusals
_FACTOR = 3  # an overload is this many times the saturation rate


def measure_open_loop(target: Target, queries: Path, *, seconds: float, seed: int) -> OpenLoop:
    """Measure one round.

    Args:
        target: The server. It speaks gRPC.
        queries: File of queries.
        seconds: Length of each of the four loads: clients that saturate the server, half of that rate, an overload, and
            an overload whose callers throttle.
        seed: Of all draws.

    Raises:
        HarnessFailure: The load generator failed, or nothing was answered.
    """
    peak = drive(target, _SATURATING, queries=queries, seconds=seconds, seed=seed)
    job = OpenLoopJob(url=target.url, rate=peak.queries_per_s / 2, seconds=seconds, queries=str(queries), seed=seed)
    half = overload(job)
    if half.p50_ms is None or half.p99_ms is None:
        raise HarnessFailure("open loop: nothing was answered at half of the saturation rate")
    memory = [memory_bytes(target.pid)]
    much = replace(job, rate=_FACTOR * peak.queries_per_s)
    wave = overload(much, look=lambda: memory.append(memory_bytes(target.pid)))
    after_ms = _answered_ms(target.url, read_queries(queries)[0])
    memory_after = memory_bytes(target.pid)
    throttled = overload(replace(much, ratio=THROTTLE_RATIO))
    return OpenLoop(
        peak_per_s=peak.queries_per_s,
        peak_refused=peak.refused,
        half_p50_ms=half.p50_ms,
        half_p99_ms=half.p99_ms,
        half_late_ms=half.late_ms,
        half_error_share=half.rejected / half.sent,
        overload=wave,
        throttled=throttled,
        memory_before=memory[0],
        memory_most=max(memory),
        memory_after=memory_after,
        after_ms=after_ms,
    )


def _answered_ms(url: str, query: str) -> float | None:
    """Return the latency of a query; None if it is refused, fails or hangs."""
    protocol = Grpc(DEADLINE_S)
    began = time.monotonic()
    try:
        with Connection(url, protocol.wire(url)) as connection:
            connection.call(protocol.message([query]))
    except (Refused, ValueError, OSError):
        return None
    return (time.monotonic() - began) * 1e3
