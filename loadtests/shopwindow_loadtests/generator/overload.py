"""An open loop that can go far beyond what a server can do. Its processes neither wait for replies nor decode them.

    python -m shopwindow_loadtests.generator.overload  # a job as JSON on stdin, outcomes as JSON on stdout

The Locust users cost several times more CPU time per request. At three times the saturation rate, that would leave too
little for the server on the same cores.
"""

from __future__ import annotations

import json
import select
import sys
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from shopwindow_client._sending.throttling import Throttle, Throttling
from shopwindow_loadtests.generator.closed_loop import EXPIRED, QUEUE_FULL, Connection, Grpc, Refused, batches
from shopwindow_loadtests.generator.driving import GENERATORS, children, hear, tell
from shopwindow_loadtests.generator.wire import GrpcWire
from shopwindow_loadtests.judging.summary import percentiles
from shopwindow_loadtests.scenario.queries import read_queries
from shopwindow_loadtests.scenario.shapes import Shape, due_times

DEADLINE_S = 1.0  # of a request; shoppers wait no longer for a page
THROTTLE_RATIO = 1.2  # for callers that throttle: few callers that each send a lot
_IN_FLIGHT = 4000  # most requests of one process that may wait for their answers
_SETTLE_S = 0.3
_LOOK_S = 1.0

Outcome = tuple[float, float, float, str]
"""When a request was due, sent and over, in seconds of `time.monotonic`; and its error, empty for an answer."""


@dataclass(frozen=True, kw_only=True)
class Overload:
    """The outcome of an overload.

    Attributes:
        seconds: For how long requests were due.
        sent: Number of requests sent.
        unsent: Number of requests not sent because too many waited for their answers.
        held_back: Number of requests not sent because the callers' throttle did not admit them.
        late_ms: 99th percentile of how late the generator sent.
        good: Number of requests answered in that time and within DEADLINE_S of when they were due.
        p50_ms: Median latency of all answers, counted from when they were due; None without any.
        p99_ms: The 99th percentile likewise.
        rejected: Number of requests that the server refused or did not answer in time.
        rejected_p50_ms: Median time from sending until rejection; None without any.
        rejected_ms: The 99th percentile of that time.
        errors: Code and beginning of an error -> how often it came.
    """

    seconds: float
    sent: int
    unsent: int
    held_back: int
    late_ms: float
    good: int
    p50_ms: float | None
    p99_ms: float | None
    rejected: int
    rejected_p50_ms: float | None
    rejected_ms: float | None
    errors: dict[str, int]


@dataclass(frozen=True, kw_only=True)
class OpenLoopJob:
    """The task of the generator.

    Attributes:
        url: `host:port`.
        rate: Requests per second.
        seconds: For how long.
        queries: File of queries.
        seed: Of the arrivals.
        ratio: The ratio of the client's `Throttle` with which the callers hold back; None if they send everything.
    """

    url: str
    rate: float
    seconds: float
    queries: str
    seed: int
    ratio: float | None = None


def overload(job: OpenLoopJob, look: Callable[[], object] = lambda: None) -> Overload:
    """Send from GENERATORS processes, each with its share of the rate, and wait for all answers.

    Args:
        job: The task of all of them together.
        look: Called once a second while they send.

    Raises:
        HarnessFailure: A process failed.
    """
    shares = [
        replace(job, rate=job.rate / GENERATORS, seed=job.seed * GENERATORS + number) for number in range(GENERATORS)
    ]
    with children([["shopwindow_loadtests.generator.overload"]] * GENERATORS) as processes:
        for process, share in zip(processes, shares, strict=True):
            tell(process, json.dumps(asdict(share)) + "\n")
        for process in processes:
            hear(process)  # "ready": all messages are prepared
        began = time.monotonic() + _SETTLE_S
        for process in processes:
            tell(process, f"{began}\n")
        while (left_s := began + job.seconds - time.monotonic()) > 0:
            look()
            time.sleep(min(_LOOK_S, left_s))
        told = [json.loads(hear(process)) for process in processes]
    outcomes = [(due, sent, over, error) for one in told for due, sent, over, error in one["outcomes"]]
    left = {why: sum(one[why] for one in told) for why in ("unsent", "held_back")}
    return judge(outcomes, began=began, seconds=job.seconds, **left)


def judge(
    outcomes: Sequence[Outcome],
    *,
    began: float,
    unsent: int,
    seconds: float,
    held_back: int = 0,
    deadline_s: float = DEADLINE_S,
) -> Overload:
    """Sum up the outcomes of requests.

    Args:
        outcomes: Of all requests that were sent.
        began: The beginning of the time in which requests were due.
        unsent: Number of requests that were not sent.
        held_back: Number of requests that a throttle did not admit.
        seconds: For how long requests were due. Later answers say nothing about the rate.
        deadline_s: Later answers do not count as good.
    """
    took = np.array([(over - due) * 1e3 for due, _, over, error in outcomes if not error])
    failed = np.array([(over - sent) * 1e3 for _, sent, over, error in outcomes if error])
    late = np.array([(sent - due) * 1e3 for due, sent, _, _ in outcomes])
    p50_ms, p99_ms = percentiles(took, [0.5, 0.99])
    rejected_p50_ms, rejected_ms = percentiles(failed, [0.5, 0.99])
    [late_ms] = percentiles(late, [0.99])
    # The part after the second colon has figures, which differ from request to request.
    kinds = Counter(":".join(error.split(":")[:2]) for *_, error in outcomes if error)
    return Overload(
        seconds=seconds,
        sent=len(outcomes),
        unsent=unsent,
        held_back=held_back,
        late_ms=late_ms or 0.0,
        good=sum(over - due <= deadline_s and over <= began + seconds for due, _, over, error in outcomes if not error),
        p50_ms=p50_ms,
        p99_ms=p99_ms,
        rejected=len(failed),
        rejected_p50_ms=rejected_p50_ms,
        rejected_ms=rejected_ms,
        errors=dict(kinds),
    )


def main() -> None:
    """Prepare all messages, say "ready", wait for the time to begin, send, and print the outcome of each request."""
    job = OpenLoopJob(**json.loads(sys.stdin.readline()))
    shape = Shape(kind="soak", levels=[job.rate], duration_s=job.seconds)
    arrivals = due_times(shape, arrivals="poisson", seed=job.seed).tolist()
    protocol, requests = Grpc(DEADLINE_S), batches(read_queries(Path(job.queries)), 1, None, job.seed)
    messages = [protocol.message(next(requests)) for _ in range(len(arrivals) + 1)]  # before the clock runs
    wire = protocol.wire(job.url)
    connection = Connection(job.url, wire)
    with suppress(Refused, ValueError):  # either way the connection is open
        connection.call(messages.pop())
    print("ready", flush=True)
    began = float(sys.stdin.readline())
    throttling = None if job.ratio is None else Throttling(Throttle(ratio=job.ratio))
    told = send(connection, wire, [began + at for at in arrivals], messages, throttling)
    print(json.dumps(told), flush=True)


def send(
    connection: Connection,
    wire: GrpcWire,
    due: Sequence[float],
    messages: Sequence[bytes],
    throttling: Throttling | None,
) -> dict[str, Any]:
    """Send each message when it is due, and wait for the outcomes.

    Args:
        connection: Sends the messages.
        wire: The wire of that connection.
        due: When to send, in seconds of `time.monotonic`, ascending.
        messages: One for each time.
        throttling: Holds back some messages; None sends all.

    Returns:
        `outcomes` of the requests that were sent, and the numbers `unsent` and `held_back`, see `Overload`.
    """
    outcomes: list[Outcome] = []
    unsent = held_back = 0
    under_way: dict[int, tuple[float, float]] = {}  # number -> when it was due and sent, oldest first
    coming = deque(zip(due, messages, strict=True))
    while coming or under_way:
        now = time.monotonic()
        while coming and coming[0][0] <= now:
            at, message = coming.popleft()
            if throttling is not None and not throttling.admits():
                held_back += 1
            elif len(under_way) < _IN_FLIGHT:
                under_way[wire.request(message)] = at, now
            else:
                unsent += 1
        while _gives_up(under_way) <= now:
            wire.cancel(oldest := next(iter(under_way)))
            outcomes.append((*under_way.pop(oldest), now, "DEADLINE_EXCEEDED: no answer in time"))
        connection.flush()
        until = min(coming[0][0] if coming else float("inf"), _gives_up(under_way))
        if select.select([connection.socket], [], [], min(DEADLINE_S, max(0.0, until - time.monotonic())))[0]:
            for reply in connection.receive():
                if (sent := under_way.pop(reply.number, None)) is not None:  # None: it was given up
                    if throttling is not None and (reply.message is not None or _is_refusal(reply.why)):
                        throttling.ended(accepted=reply.message is not None)
                    outcomes.append((*sent, time.monotonic(), "" if reply.message is not None else reply.why))
    return {"outcomes": outcomes, "unsent": unsent, "held_back": held_back}


def _is_refusal(why: str) -> bool:
    return QUEUE_FULL in why or EXPIRED in why


def _gives_up(under_way: Mapping[int, tuple[float, float]]) -> float:
    """Return when the oldest request is given up; infinity without any."""
    return next(iter(under_way.values()))[1] + DEADLINE_S if under_way else float("inf")


if __name__ == "__main__":
    main()
