"""Puts load on a server with the load generator's processes and reads the server's CPU time over the same window."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np

from shopwindow.base.default_places import python_path
from shopwindow.retrieval import InProcessPipeline
from shopwindow_loadtests.generator.closed_loop import PROTOCOLS, ClosedLoopJob, Connection, as_line
from shopwindow_loadtests.generator.reading import Load, Reading
from shopwindow_loadtests.generator.server_cpu import cpu_seconds, spent
from shopwindow_loadtests.judging.summary import percentiles
from shopwindow_loadtests.scenario.errors import HarnessFailure

GENERATORS = 2
_SETTLE_S = 0.3  # of load before the window opens
ATTEMPTS = 10  # for one measurement
_SEEDS = 10**6  # more than one run uses
# A CPU time read later than both (seconds, share of the window) belongs to another load.
_LATE_S, _LATE_SHARE = 0.05, 0.02
_SAME_IDS = 0.98  # share of the ids; where scores tie, ids may differ


class _Disturbed(Exception):
    """Raised when a measurement is void because this machine was busy with something else."""


@dataclass(frozen=True, kw_only=True)
class Target:
    """A server to measure.

    Attributes:
        name: Its name in the results.
        protocol: One of PROTOCOLS.
        url: `host:port`.
        pid: Id of its first process.
    """

    name: str
    protocol: str
    url: str
    pid: int


def drive(target: Target, load: Load, *, queries: Path, seconds: float, seed: int = 0) -> Reading:
    """Send a load and measure. Repeat the measurement if this machine was too busy.

    Args:
        target: The server.
        load: The load to send.
        queries: File of queries.
        seconds: Length of the measured window.
        seed: Of the draws.

    Raises:
        HarnessFailure: A request failed for another reason than a refusal, or all were refused, or this machine was
            always too busy.
    """
    why = ""
    for attempt in range(ATTEMPTS):
        try:  # other draws each time, because the server may have cached earlier ones
            return _drive_once(target, load, queries=queries, seconds=seconds, seed=seed + attempt * _SEEDS)
        except _Disturbed as disturbed:
            why = str(disturbed)
            print(f"{target.name}, {load.name}: {why}", file=sys.stderr)
    raise HarnessFailure(
        f"{target.name}, {load.name}: this machine is too busy to measure on, {ATTEMPTS} times; at last {why}"
    )


def _drive_once(target: Target, load: Load, *, queries: Path, seconds: float, seed: int) -> Reading:
    shares = [load.clients // GENERATORS + (number < load.clients % GENERATORS) for number in range(GENERATORS)]
    jobs = [
        ClosedLoopJob(
            protocol=target.protocol,
            url=target.url,
            clients=share,
            batch=load.batch,
            zipf=load.zipf,
            queries=str(queries),
            seed=seed * GENERATORS + number,
        )
        for number, share in enumerate(shares)
        if share
    ]
    with children([["shopwindow_loadtests.generator.closed_loop"]] * len(jobs)) as processes:
        for process, job in zip(processes, jobs, strict=True):
            tell(process, as_line(job))
        for process in processes:
            hear(process)  # "ready": all are connected
        start = time.monotonic() + _SETTLE_S
        for process in processes:
            tell(process, f"{start} {start + seconds}\n")
        before, after, late_s = _looks(lambda: cpu_seconds(target.pid), start, seconds)
        told = [json.loads(hear(process)) for process in processes]
    failures = [failure for one in told for failure in one["failures"]]
    refused = sum(one["refused"] for one in told)
    latencies = np.array([latency for one in told for latency in one["latencies_ms"]])
    if failures or (refused and not len(latencies)):
        raise HarnessFailure(
            f"{target.name}, {load.name}: {failures[0] if failures else f'nothing was answered, {refused} refused'}"
        )
    if late_s > max(_LATE_S, _LATE_SHARE * seconds):
        raise _Disturbed(f"the CPU time over {1e3 * seconds:.0f} ms was read {1e3 * late_s:.0f} ms late")
    if not len(latencies):
        raise _Disturbed(f"nothing was answered within {1e3 * seconds:.0f} ms")
    count = len(latencies) * load.batch
    p50_ms, p99_ms = percentiles(latencies, [0.5, 0.99])
    parts = {name: 1e3 * took / count for name, took in spent(before, after, target.pid).items()}
    return Reading(
        queries_per_s=count / seconds,
        cpu_ms=sum(parts.values()),
        parts=parts,
        p50_ms=p50_ms,
        p99_ms=p99_ms,
        generator_ms=1e3 * sum(one["cpu_s"] for one in told) / count,
        refused=refused / (refused + len(latencies)),
    )


def check_answers(target: Target, pipeline: InProcessPipeline, queries: Sequence[str]) -> None:
    """Check that a server does the same work: it finds the products that the pipeline finds.

    Raises:
        HarnessFailure: It finds other products.
    """
    protocol = PROTOCOLS[target.protocol]
    try:
        with Connection(target.url, protocol.wire(target.url)) as connection:
            found = protocol.ids(connection.call(protocol.message(queries)))
    except Exception as error:  # any error means that this server cannot be compared
        raise HarnessFailure(f"{target.name} does not answer: {type(error).__name__}: {error}") from error
    right = pipeline.retrieve(queries, top_k=found.shape[1]).product_ids
    same = np.mean([len(set(a) & set(b)) / len(set(b)) for a, b in zip(found.tolist(), right.tolist(), strict=True)])
    if same < _SAME_IDS:
        raise HarnessFailure(f"{target.name} finds only {same:.1%} of the products that the pipeline in process finds")


@contextmanager
def children(modules: Sequence[Sequence[str]]) -> Iterator[list[subprocess.Popen[str]]]:
    """Run processes of this interpreter, with one OpenMP thread each. They are killed at the end of the block.

    Args:
        modules: Module and arguments of each process.
    """
    variables = {**os.environ, "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
    variables["PYTHONPATH"] = python_path()
    processes: list[subprocess.Popen[str]] = []
    try:
        for arguments in modules:
            processes.append(
                subprocess.Popen(
                    [sys.executable, "-P", "-m", *arguments],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                    bufsize=1,
                    env=variables,
                )
            )
        yield processes
    finally:
        for process in processes:
            process.kill()
            process.communicate()


def tell(process: subprocess.Popen[str], line: str) -> None:
    """Write a line to a process."""
    stream: IO[str] | None = process.stdin
    assert stream is not None
    stream.write(line)
    stream.flush()


def hear(process: subprocess.Popen[str]) -> str:
    """Return the next line that a process prints.

    Raises:
        HarnessFailure: The process ended instead; its standard error says why.
    """
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        raise HarnessFailure(f"a process of the measurement ended with status {process.wait()}; see above for why")
    return line


def _looks(
    look: Callable[[], dict[int, float]], start: float, seconds: float
) -> tuple[dict[int, float], dict[int, float], float]:
    """Look at the start and at the end of a window.

    Return both results, and the largest error of the two times in seconds.
    """
    seen: list[dict[int, float]] = []
    begun, ended = [], []
    for at in (start, start + seconds):
        time.sleep(max(0.0, at - time.monotonic()))
        begun.append(time.monotonic() - at)
        seen.append(look())
        ended.append(time.monotonic())
    # Looking takes time too. Only the difference between the two looks matters.
    return seen[0], seen[1], max(*begun, abs(ended[1] - ended[0] - seconds))
