"""Latency at half of the saturation rate and behaviour at three times it, by the open loop of `shopwindow loadtest`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from loadtests.launching import HarnessFailure
from loadtests.options import LoadTestOptions
from loadtests.peers.goals import OpenLoop
from loadtests.runner import measure
from loadtests.samples import NOT_SENT, Samples
from loadtests.summary import figures

_DEADLINE_S = 1.0  # of a request: a shopper waits no longer for a page
_IN_FLIGHT = 2000
_NO_LIMIT_MS = 1e6


def measure_open_loop(url: str, queries: Path, *, seconds: float, seed: int, out: Path) -> OpenLoop:
    """One round.

    Args:
        url: gRPC address of the server.
        queries: File of queries.
        seconds: Of each of the three loads.
        seed: Of all draws.
        out: Folder for raw samples.

    Raises:
        HarnessFailure: The load test itself failed, or nothing was answered.
    """
    options = LoadTestOptions(
        url=url,
        users=(32,),
        duration_s=seconds,
        queries=queries,
        zipf=0.0,
        seed=seed,
        timeout_s=_DEADLINE_S,
        max_error_share=1.0,  # what fails is counted here
        min_samples=1,
        max_late_ms=_NO_LIMIT_MS,
        max_in_flight=_IN_FLIGHT,
        out=out,
    )
    peak = figures(closed := _samples(options), span_s=closed.span_s).requests_per_s
    calm = _samples(replace(options, users=(), rate=(peak / 2,)))
    half = figures(calm, span_s=calm.span_s)
    if not peak or half.p50_ms is None or half.p99_ms is None:
        raise HarnessFailure("open loop: nothing was answered")
    return overloaded(
        _samples(replace(options, users=(), rate=(3 * peak,))),
        seconds=seconds,
        peak_per_s=peak,
        half_p50_ms=half.p50_ms,
        half_p99_ms=half.p99_ms,
    )


def overloaded(
    samples: Samples, *, seconds: float, peak_per_s: float, half_p50_ms: float, half_p99_ms: float
) -> OpenLoop:
    """What became of the requests of an overload.

    Args:
        samples: All that were due.
        seconds: For how long they were sent.
        peak_per_s: As in `OpenLoop`, like the others.
        half_p50_ms: Likewise.
        half_p99_ms: Likewise.
    """
    unsent = samples.error == NOT_SENT
    failed = ~samples.answered & ~unsent
    took = (samples.latency_ms - samples.late_ms)[failed]
    return OpenLoop(
        peak_per_s=peak_per_s,
        half_p50_ms=half_p50_ms,
        half_p99_ms=half_p99_ms,
        sent_per_s=float(np.count_nonzero(~unsent)) / max(seconds, samples.span_s),
        good_per_s=float(np.count_nonzero(samples.answered)) / max(seconds, samples.span_s),
        unsent=int(np.count_nonzero(unsent)),
        rejected=int(np.count_nonzero(failed)),
        rejected_ms=float(np.percentile(took, 99)) if len(took) else None,
    )


def _samples(options: LoadTestOptions) -> Samples:
    outcome = measure(options)
    assert outcome is not None  # only workers of other tests have none
    return outcome.samples
