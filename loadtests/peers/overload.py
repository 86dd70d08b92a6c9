"""An open loop far beyond what a server can do, from a process that sends without waiting and reads no reply.

    python -m loadtests.peers.overload        # a job as JSON on standard input, outcomes as JSON on standard output

The load test's own users cost several times more CPU time a request, which three times the saturation rate does not
leave on the server's cores.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import grpc
import numpy as np
from tritonclient.grpc import service_pb2

from loadtests.bisect_generator import GrpcSender, batches
from loadtests.bisect_load import children, hear, tell
from loadtests.queries import read_queries
from loadtests.shapes import Shape, due_times
from serving.server import DIRECT

DEADLINE_S = 1.0  # of a request: a shopper waits no longer for a page
_IN_FLIGHT = 4000


@dataclass(frozen=True, kw_only=True)
class Overload:
    """What became of the requests.

    Attributes:
        seconds: For how long they were sent.
        sent: How many were.
        unsent: How many were due, but not sent as too many were under way.
        late_ms: 99th percentile of how late the generator sent.
        good: Answered meanwhile, and within DEADLINE_S of when they were due.
        rejected: Refused by the server, or not answered in time.
        rejected_ms: 99th percentile of how long those took to fail, from being sent; None without any.
        errors: Text of an error -> how often it came.
    """

    seconds: float
    sent: int
    unsent: int
    late_ms: float
    good: int
    rejected: int
    rejected_ms: float | None
    errors: dict[str, int]


@dataclass(frozen=True, kw_only=True)
class Job:
    """What the process does: address, requests a second, seconds, file of queries, seed of the arrivals."""

    url: str
    rate: float
    seconds: float
    queries: str
    seed: int


def overload(job: Job) -> Overload:
    """Send, in a process of its own, and wait for all answers.

    Raises:
        HarnessFailure: The process failed.
    """
    with children([["loadtests.peers.overload"]]) as [process]:
        tell(process, json.dumps(asdict(job)) + "\n")
        return Overload(**json.loads(hear(process)))


def judge(
    outcomes: Sequence[tuple[float, float, float, str]],
    *,
    began: float,
    unsent: int,
    seconds: float,
    deadline_s: float = DEADLINE_S,
) -> Overload:
    """Sum up requests.

    Args:
        outcomes: When each was due, sent and over, in seconds, and its error, empty for an answer.
        began: When the first might have been due.
        unsent: How many were not sent.
        seconds: For how long requests were due; what is answered later says nothing of the rate.
        deadline_s: An answer later than this is no good.
    """
    failed = [(over - sent) * 1e3 for _, sent, over, error in outcomes if error]
    late = [(sent - due) * 1e3 for due, sent, _, _ in outcomes]
    texts = [error for *_, error in outcomes if error]
    return Overload(
        seconds=seconds,
        sent=len(outcomes),
        unsent=unsent,
        late_ms=float(np.percentile(late, 99)) if late else 0.0,
        good=sum(over - due <= deadline_s and over <= began + seconds for due, _, over, error in outcomes if not error),
        rejected=len(failed),
        rejected_ms=float(np.percentile(failed, 99)) if failed else None,
        errors={text: texts.count(text) for text in sorted(set(texts))},
    )


def _send(job: Job) -> Overload:
    sender, requests = GrpcSender(job.url), batches(read_queries(Path(job.queries)), 1, None, job.seed)
    sender.send(sender.message(next(requests)))  # opens the connection
    call = grpc.insecure_channel(job.url, DIRECT).unary_unary("/inference.GRPCInferenceService/ModelInfer")
    shape = Shape(kind="soak", levels=[job.rate], duration_s=job.seconds)
    outcomes: list[tuple[float, float, float, str]] = []
    room = threading.Semaphore(_IN_FLIGHT)
    unsent = 0

    def keep(due: float, sent: float, future: grpc.Future) -> None:
        over = time.monotonic()
        error = future.exception()
        outcomes.append((due, sent, over, f"{error.code().name}: {error.details()}" if error else ""))
        room.release()

    began = time.monotonic()
    for at in due_times(shape, arrivals="poisson", seed=job.seed):
        due = began + float(at)
        time.sleep(max(0.0, due - time.monotonic()))
        if not room.acquire(blocking=False):
            unsent += 1
            continue
        sent = time.monotonic()
        future = call.future(_with_deadline(sender.message(next(requests))), timeout=DEADLINE_S)
        future.add_done_callback(lambda future, due=due, sent=sent: keep(due, sent, future))
    for _ in range(_IN_FLIGHT):  # every request ends by its deadline
        room.acquire()
    return judge(outcomes, began=began, unsent=unsent, seconds=job.seconds)


def _with_deadline(message: bytes) -> bytes:
    """The request with the deadline that the client would tell the server."""
    request = service_pb2.ModelInferRequest.FromString(message)
    request.parameters["timeout"].int64_param = int(DEADLINE_S * 1e6)
    data: bytes = request.SerializeToString()
    return data


if __name__ == "__main__":
    print(json.dumps(asdict(_send(Job(**json.loads(sys.stdin.readline()))))), flush=True)
