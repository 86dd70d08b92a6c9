"""An open loop, as far beyond what a server can do as is wanted, from processes that wait for and read no reply.

    python -m shopwindow_loadtests.generator.overload  # a job as JSON on stdin, outcomes as JSON on stdout

The load test's own users cost several times more CPU time a request, which three times the saturation rate does not
leave on the server's cores.
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

DEADLINE_S = 1.0  # of a request: a shopper waits no longer for a page
THROTTLE_RATIO = 1.2  # where callers throttle: few, each with much to send, and no time of the server's to spare
_IN_FLIGHT = 4000  # of one process
_SETTLE_S = 0.3
_LOOK_S = 1.0

Outcome = tuple[float, float, float, str]
"""When a request was due, sent and over, in seconds of `time.monotonic`, and its error, empty for an answer."""


@dataclass(frozen=True, kw_only=True)
class Overload:
    """What became of the requests.

    Attributes:
        seconds: For how long they were sent.
        sent: How many were.
        unsent: How many were due, but not sent as too many were under way.
        held_back: How many were due, but not sent as the callers' throttle did not admit them.
        late_ms: 99th percentile of how late the generator sent.
        good: Answered meanwhile, and within DEADLINE_S of when they were due.
        p50_ms: Of all answers, from when they were due; None without any.
        p99_ms: Likewise.
        rejected: Refused by the server, or not answered in time.
        rejected_p50_ms: Median of how long those took to fail, from being sent; None without any.
        rejected_ms: 99th percentile of it.
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
class Job:
    """What is sent.

    Attributes:
        url: `host:port`.
        rate: Requests a second.
        seconds: For how long.
        queries: File of queries.
        seed: Of the arrivals.
        ratio: That of the client's `Throttle`, by which the callers hold back; None where they send all.
    """

    url: str
    rate: float
    seconds: float
    queries: str
    seed: int
    ratio: float | None = None


def overload(job: Job, look: Callable[[], object] = lambda: None) -> Overload:
    """Send from GENERATORS processes, each its share of the rate, and wait for all answers.

    Args:
        job: Of all of them together.
        look: Called once a second meanwhile.

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
    """Sum up requests.

    Args:
        outcomes: Of all that were sent.
        began: When the first might have been due.
        unsent: How many were not sent.
        held_back: How many else a throttle did not admit.
        seconds: For how long requests were due; what is answered later says nothing of the rate.
        deadline_s: An answer later than this is no good.
    """
    took = np.array([(over - due) * 1e3 for due, _, over, error in outcomes if not error])
    failed = np.array([(over - sent) * 1e3 for _, sent, over, error in outcomes if error])
    late = np.array([(sent - due) * 1e3 for due, sent, _, _ in outcomes])
    p50_ms, p99_ms = percentiles(took, [0.5, 0.99])
    rejected_p50_ms, rejected_ms = percentiles(failed, [0.5, 0.99])
    [late_ms] = percentiles(late, [0.99])
    # What follows a colon are figures, which differ from one request to the next.
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
    """Prepare all messages, say so, wait for the moment to begin, send, and print what became of each request."""
    job = Job(**json.loads(sys.stdin.readline()))
    shape = Shape(kind="soak", levels=[job.rate], duration_s=job.seconds)
    arrivals = due_times(shape, arrivals="poisson", seed=job.seed).tolist()
    protocol, requests = Grpc(DEADLINE_S), batches(read_queries(Path(job.queries)), 1, None, job.seed)
    messages = [protocol.message(next(requests)) for _ in range(len(arrivals) + 1)]  # before the clock runs
    wire = protocol.wire(job.url)
    connection = Connection(job.url, wire)
    with suppress(Refused, ValueError):  # whatever becomes of it, the connection is open
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
    """Send each message when it is due, and wait for what becomes of them.

    Args:
        connection: Sends.
        wire: Of that connection.
        due: When to send, in seconds of `time.monotonic`, ascending.
        messages: As many.
        throttling: Holds back some; None to send all.

    Returns:
        `outcomes` of those that were sent, and how many were not, `unsent` and `held_back` as in `Overload`.
    """
    outcomes: list[Outcome] = []
    unsent = held_back = 0
    under_way: dict[int, tuple[float, float]] = {}  # number -> when it was due and sent; the oldest is the first
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
                if (sent := under_way.pop(reply.number, None)) is not None:  # else it was given up
                    if throttling is not None and (reply.message is not None or _is_refusal(reply.why)):
                        throttling.ended(accepted=reply.message is not None)
                    outcomes.append((*sent, time.monotonic(), "" if reply.message is not None else reply.why))
    return {"outcomes": outcomes, "unsent": unsent, "held_back": held_back}


def _is_refusal(why: str) -> bool:
    return QUEUE_FULL in why or EXPIRED in why


def _gives_up(under_way: Mapping[int, tuple[float, float]]) -> float:
    """When the oldest request is given up; never without any."""
    return next(iter(under_way.values()))[1] + DEADLINE_S if under_way else float("inf")


if __name__ == "__main__":
    main()
