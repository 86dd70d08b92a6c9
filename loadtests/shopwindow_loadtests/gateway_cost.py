"""Measure what the gateway in front of Triton costs: the same callers with it and without it, in turn.

python -m shopwindow_loadtests.gateway_cost            # on the demo's repository and index, a minute and a half
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from statistics import median

from shopwindow.base.default_places import INDEX, REPOSITORY
from shopwindow.server import TritonServer
from shopwindow.server.gateway import Gateway, GatewayOptions
from shopwindow_client import RetrievalClient
from shopwindow_loadtests.benchmarks_document import markdown_table
from shopwindow_loadtests.bisect.servers import server_options
from shopwindow_loadtests.generator.reading import in_turn
from shopwindow_loadtests.generator.server_cpu import cpu_seconds

CALLERS = (1, 4, 16)


@dataclass(frozen=True, kw_only=True)
class Round:
    """One round of a number of callers, each of which asks again as soon as it has an answer."""

    queries_per_s: float
    p50_ms: float
    cpu_ms: float


def measure(url: str, callers: int, seconds: float, servers: Sequence[int]) -> Round:
    """Ask for a time, each query only once.

    Args:
        url: `host:port` to call.
        callers: Number of callers.
        seconds: How long.
        servers: Process ids of the servers whose CPU time counts.

    Raises:
        ShopwindowError: A call failed.
    """
    took: list[float] = []

    def ask(caller: int) -> None:
        with RetrievalClient(url, retry=None, channel_options={"grpc.use_local_subchannel_pool": 1}) as client:
            for number in count():
                if (began := time.perf_counter()) > end:
                    return
                client.retrieve(f"red dress {caller} {number} {end}")
                took.append(time.perf_counter() - began)

    before = sum(sum(cpu_seconds(pid).values()) for pid in servers)
    end = time.perf_counter() + seconds
    with ThreadPoolExecutor(callers) as pool:
        list(pool.map(ask, range(callers)))  # a failed call is no figure: it is raised
    spent_s = sum(sum(cpu_seconds(pid).values()) for pid in servers) - before
    return Round(
        queries_per_s=len(took) / seconds,
        p50_ms=1e3 * median(took),
        cpu_ms=1e3 * spent_s / len(took),
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Print a table with a row for each number of callers."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repository", type=Path, default=REPOSITORY)
    parser.add_argument("--index", type=Path, default=INDEX)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0)
    options = parser.parse_args(arguments)
    server = TritonServer(server_options(options.repository, options.index, "cpu"))
    gateway = Gateway(GatewayOptions(http_port=0, grpc_port=0, metrics_port=0), server)
    found: dict[tuple[int, str], list[Round]] = defaultdict(list)
    try:
        server.start()
        server.wait_until_ready()
        gateway.start()
        ways = {"Triton": server.grpc_url, "gateway": gateway.grpc_url}
        for number in range(options.rounds + 1):
            for callers in CALLERS:
                for name in in_turn(ways, number):
                    one = measure(ways[name], callers, options.seconds, [server.pid, gateway.pid])
                    if number:  # the first round warms up
                        found[callers, name].append(one)
    finally:
        gateway.stop()
        server.stop()
    heads = ("callers", "queries/s", "ratio", "p50 ms", "CPU ms of the server a query")
    print(markdown_table(heads, [row(callers, found) for callers in CALLERS]))
    return 0


def row(callers: int, found: dict[tuple[int, str], list[Round]]) -> list[str]:
    """Return medians over the rounds, without and with the gateway, and the ratio of the rates."""
    without, through = found[callers, "Triton"], found[callers, "gateway"]

    def both(name: str, digits: int) -> str:
        return ", ".join(f"{median(getattr(one, name) for one in rounds):.{digits}f}" for rounds in (without, through))

    ratio = median(b.queries_per_s / a.queries_per_s for a, b in zip(without, through, strict=True))
    return [str(callers), both("queries_per_s", 0), f"{ratio:.2f}", both("p50_ms", 2), both("cpu_ms", 2)]


if __name__ == "__main__":
    sys.exit(main())
