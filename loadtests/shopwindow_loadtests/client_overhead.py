"""Measures what the client costs beyond raw tritonclient, and whether a thousand calls at once leave anything behind.

    python -m shopwindow_loadtests.client_overhead --repository build/model_repository

It starts a real server, asks it with both in turn, and prints PASS or FAIL for each criterion.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import grpc
import numpy as np
from tritonclient.grpc import InferenceServerClient, InferInput, InferRequestedOutput

from shopwindow.server import ServerOptions, TritonServer
from shopwindow_client import AsyncRetrievalClient, Results, RetrievalClient, Retry

MAX_OVERHEAD_MS = 0.15
CALLS_AT_ONCE = 1_000
TOP_K = 10
TIMEOUT_S = 120.0  # of a call; a call that takes much longer is stuck
SETTLING_S = 10.0  # gRPC closes its sockets a moment after the channel

QUERIES = ("red summer dress", "white mug", "running shoes", "black leather bag", "blue shirt")


@dataclass(frozen=True, kw_only=True)
class Overhead:
    """CPU milliseconds of this process for a single query, one figure for each round.

    Attributes:
        client: Through `RetrievalClient`.
        raw: Through tritonclient.
    """

    client: Sequence[float]
    raw: Sequence[float]

    @property
    def extra_ms(self) -> float:
        """The median over rounds of the client's cost beyond tritonclient."""
        return statistics.median(client - raw for client, raw in zip(self.client, self.raw, strict=True))

    def __str__(self) -> str:
        client, raw = statistics.median(self.client), statistics.median(self.raw)
        return (
            f"CPU per single query: client {client:.3f} ms, tritonclient {raw:.3f} ms, {self.extra_ms:.3f} ms above it "
            f"(at most {MAX_OVERHEAD_MS:g}); ratio {client / raw:.2f}, medians of {len(self.raw)} rounds"
        )


@dataclass(frozen=True, kw_only=True)
class Census:
    """Counts of what a process has open: other asyncio tasks, gRPC channels, file descriptors."""

    tasks: int
    channels: int
    descriptors: int

    @classmethod
    def take(cls) -> Census:
        """Count now. Needs a running event loop."""
        gc.collect()
        return cls(
            tasks=len(asyncio.all_tasks()) - 1,
            # By type, because some objects warn when they are asked for their class.
            channels=sum(issubclass(type(thing), grpc.aio.Channel) for thing in gc.get_objects()),
            descriptors=len(list(Path("/proc/self/fd").iterdir())),
        )

    def exceeds(self, other: Census) -> bool:
        """Whether any count is higher than in another census."""
        return any(getattr(self, name) > count for name, count in vars(other).items())


@dataclass(frozen=True, kw_only=True)
class Crowd:
    """How calls made at once ended, and what was open before and after."""

    answered: int
    failures: Sequence[str]
    cancelled: int
    stuck: int
    before: Census
    after: Census

    @property
    def is_clean(self) -> bool:
        """Whether all calls ended as they should and left nothing behind."""
        return not (self.failures or self.stuck or self.after.exceeds(self.before))

    def __str__(self) -> str:
        opened = ", ".join(
            f"{name} {count} -> {getattr(self.after, name)}" for name, count in vars(self.before).items()
        )
        return (
            f"{self.answered + len(self.failures) + self.cancelled + self.stuck:,} asyncio calls at once: "
            f"{self.answered} answered, {len(self.failures)} failed, {self.cancelled} cancelled, {self.stuck} stuck; "
            f"{opened}"
        )


def measure_overhead(url: str, *, rounds: int, calls: int) -> Overhead:
    """Ask a server with the client and with tritonclient in turn.

    Args:
        url: `host:port` of the server's gRPC endpoint.
        rounds: Number of figures for each of the two.
        calls: Single queries for each figure.
    """
    figures: dict[str, list[float]] = {"client": [], "raw": []}
    with RetrievalClient(url, timeout_s=TIMEOUT_S) as client, InferenceServerClient(url) as raw:
        ask: dict[str, Callable[[str], object]] = {
            "client": lambda query: client.retrieve(query, top_k=TOP_K),
            "raw": lambda query: _ask_raw(raw, query),
        }
        for name in ask:  # opens connections, and makes whatever the first call makes
            _cpu_ms(ask[name], calls // 4)
        for number in range(rounds):
            for name in sorted(ask, reverse=number % 2 == 1):  # neither always comes first
                figures[name].append(_cpu_ms(ask[name], calls))
    return Overhead(**figures)


async def measure_crowd(url: str, *, calls: int = CALLS_AT_ONCE, cancelled: int = 0) -> Crowd:
    """Make asyncio calls at once with a new client, and check that nothing stays behind.

    Args:
        url: `host:port` of the server's gRPC endpoint.
        calls: Number of calls.
        cancelled: Number of calls to cancel once the first is answered.
    """
    await _make_calls(url, 1)  # opens whatever gRPC keeps for the life of a process
    before = Census.take()
    ended = await _make_calls(url, calls, cancelled)
    return Crowd(
        answered=ended.count("answered"),
        failures=[how for how in ended if how not in ("answered", "cancelled", "stuck")],
        cancelled=ended.count("cancelled"),
        stuck=ended.count("stuck"),
        before=before,
        after=await _settled(before),
    )


async def _make_calls(url: str, calls: int, cancelled: int = 0) -> list[str]:
    """Return how each call ended, as text: a failed task would keep its frames alive."""
    # All at once may be more than the server's queue takes, so refused calls try again.
    patient = Retry(attempts=1_000, budget=1e9)
    async with AsyncRetrievalClient(url, timeout_s=TIMEOUT_S, retry=patient) as client:
        tasks = [
            asyncio.ensure_future(client.retrieve(QUERIES[number % len(QUERIES)], top_k=TOP_K))
            for number in range(calls)
        ]
        if cancelled:
            await asyncio.wait(tasks, timeout=TIMEOUT_S, return_when=asyncio.FIRST_COMPLETED)
            for task in tasks[-cancelled:]:
                task.cancel()
        await asyncio.wait(tasks, timeout=1.5 * TIMEOUT_S)
    return [_how(task) for task in tasks]


def _how(task: asyncio.Future[Results]) -> str:
    if not task.done():
        return "stuck"
    if task.cancelled():
        return "cancelled"
    return "answered" if task.exception() is None else repr(task.exception())


async def _settled(before: Census) -> Census:
    """Return a census with no more than before, or the last census within the time allowed."""
    end = time.monotonic() + SETTLING_S
    while (census := Census.take()).exceeds(before) and time.monotonic() < end:
        await asyncio.sleep(0.1)
    return census


def _ask_raw(client: InferenceServerClient, query: str) -> tuple[np.ndarray, np.ndarray]:
    """Ask as somebody does who uses only tritonclient."""
    words = InferInput("query", [1, 1], "BYTES").set_data_from_numpy(np.array([[query.encode()]], dtype=np.object_))
    outputs = [InferRequestedOutput("product_ids"), InferRequestedOutput("scores")]
    reply = client.infer("retrieve", [words], outputs=outputs, parameters={"top_k": TOP_K}, client_timeout=TIMEOUT_S)
    return reply.as_numpy("product_ids"), reply.as_numpy("scores")


def _cpu_ms(ask: Callable[[str], object], calls: int) -> float:
    """Return the CPU milliseconds of this process, all threads, per call."""
    started = time.process_time()
    for number in range(calls):
        ask(QUERIES[number % len(QUERIES)])
    return 1e3 * (time.process_time() - started) / max(calls, 1)


def main(arguments: Sequence[str] | None = None) -> int:
    """Start a server, measure and print; return 0 if all criteria hold."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--repository", type=Path, default=Path("build/model_repository"), help="(default: %(default)s)"
    )
    parser.add_argument("--index", type=Path, help="(default: the folder index beside the repository)")
    parser.add_argument("--rounds", type=int, default=7, help="figures for each of the two (default: %(default)s)")
    parser.add_argument("--calls", type=int, default=200, help="single queries for each figure (default: %(default)s)")
    options = parser.parse_args(arguments)
    if min(options.rounds, options.calls) < 1:
        parser.error(f"--rounds and --calls must be at least 1, got {options.rounds} and {options.calls}")
    os.environ["no_proxy"] = "*"  # the server is on this machine
    with TritonServer(
        ServerOptions(
            repository=options.repository,
            index=options.index,
            host="127.0.0.1",
            http_port=0,
            grpc_port=0,
            metrics_port=0,
        )
    ) as server:
        overhead = measure_overhead(server.grpc_url, rounds=options.rounds, calls=options.calls)
        crowds = [
            asyncio.run(measure_crowd(server.grpc_url, cancelled=cancelled)) for cancelled in (0, CALLS_AT_ONCE // 2)
        ]
    criteria = {str(overhead): overhead.extra_ms <= MAX_OVERHEAD_MS}
    criteria |= {str(crowd): crowd.is_clean for crowd in crowds}
    for text, passed in criteria.items():
        print(f"{'PASS' if passed else 'FAIL'}  {text}")
    for failure in [failure for crowd in crowds for failure in crowd.failures][:3]:
        print(f"      {failure}")
    return 0 if all(criteria.values()) else 1


if __name__ == "__main__":
    raise SystemExit(main())
