"""`python -m shopwindow_loadtests.client_overhead` measures both clients, and finds what they leave behind."""

from __future__ import annotations

import asyncio
import tempfile

import grpc

from shopwindow.server import TritonServer
from shopwindow_loadtests.client_overhead import Census, Overhead, measure_crowd, measure_overhead


def test_the_overhead_is_the_median_of_the_differences_of_each_round() -> None:
    overhead = Overhead(client=[3.0, 9.0, 4.0], raw=[1.0, 6.0, 3.0])
    assert overhead.extra_ms == 2.0
    assert "client 4.000 ms, tritonclient 3.000 ms, 2.000 ms above it" in str(overhead)


def test_both_clients_ask_a_real_server(served: TritonServer) -> None:
    overhead = measure_overhead(served.grpc_url, rounds=2, calls=4)
    assert len(overhead.client) == len(overhead.raw) == 2
    assert min(*overhead.client, *overhead.raw) > 0


def test_calls_at_once_end_and_leave_nothing_behind(served: TritonServer) -> None:
    crowd = asyncio.run(measure_crowd(served.grpc_url, calls=600, cancelled=500))
    assert crowd.is_clean, crowd
    assert (crowd.answered + crowd.cancelled, crowd.stuck) == (600, 0)
    assert crowd.cancelled > 0


def test_the_census_counts_what_is_left_behind() -> None:
    async def leave_things() -> tuple[Census, Census, Census]:
        before = Census.take()
        task = asyncio.ensure_future(asyncio.Event().wait())
        channel = grpc.aio.insecure_channel("127.0.0.1:1")
        with tempfile.TemporaryFile():
            during = Census.take()
        await channel.close()
        task.cancel()
        await asyncio.wait([task])
        del channel, task
        return before, during, Census.take()

    before, during, after = asyncio.run(leave_things())
    assert (during.tasks, during.channels) == (before.tasks + 1, before.channels + 1)
    assert during.descriptors > before.descriptors
    assert during.exceeds(before)
    assert (after.tasks, after.channels) == (before.tasks, before.channels)
