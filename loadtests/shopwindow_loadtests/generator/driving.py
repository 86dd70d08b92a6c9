"""Drives a server with the load generator's processes, and reads the server's CPU time over the same window."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np

from shopwindow.base.default_places import python_path
from shopwindow.retrieval import InProcessPipeline
from shopwindow_loadtests.generator.closed_loop import PROTOCOLS, Connection, Job, as_line
from shopwindow_loadtests.generator.reading import Load, Reading
from shopwindow_loadtests.generator.server_cpu import cpu_seconds, spent
from shopwindow_loadtests.judging.summary import percentiles
from shopwindow_loadtests.sending.launching import HarnessFailure

GENERATORS = 2
_SETTLE_S = 0.3  # of load before the window opens
ATTEMPTS = 10  # of a measurement
_SEEDS = 10**6  # more than one run has
_LATE_S, _LATE_SHARE = 0.05, 0.02  # of the window: who looks at the CPU time later than both sees another load
_SAME_IDS = 0.98  # of the ids, which may differ where scores tie


class _Disturbed(Exception):
    """Raised when a measurement says nothing, as this machine did something else meanwhile."""


@dataclass(frozen=True, kw_only=True)
class Target:
    """A server to measure.

    Attributes:
        name: What it is called.
        protocol: Of PROTOCOLS.
        url: `host:port`.
        pid: Its first process.
    """

    name: str
    protocol: str
    url: str
    pid: int


def drive(target: Target, load: Load, *, queries: Path, seconds: float, seed: int = 0) -> Reading:
    """Send a load and measure; again where this machine had no time for it.

    Args:
        target: The server.
        load: What to send.
        queries: File of queries.
        seconds: Length of the window that is measured.
        seed: Of the draws.

    Raises:
        HarnessFailure: A request failed other than by being refused, all were refused, or it never had time.
    """
    why = ""
    for attempt in range(ATTEMPTS):
        try:  # other draws each time: what was asked for before is kept
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
        Job(
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
    """Check that a server does the same work: it finds what the pipeline finds.

    Raises:
        HarnessFailure: It does not.
    """
    protocol = PROTOCOLS[target.protocol]
    try:
        with Connection(target.url, protocol.wire(target.url)) as connection:
            found = protocol.ids(connection.call(protocol.message(queries)))
    except Exception as error:  # whatever it is, this server can't be compared
        raise HarnessFailure(f"{target.name} does not answer: {type(error).__name__}: {error}") from error
    right = pipeline.retrieve(queries, top_k=found.shape[1]).product_ids
    same = np.mean([len(set(a) & set(b)) / len(set(b)) for a, b in zip(found.tolist(), right.tolist(), strict=True)])
    if same < _SAME_IDS:
        raise HarnessFailure(f"{target.name} finds only {same:.1%} of the products that the pipeline in process finds")


@contextmanager
def children(
    modules: Sequence[Sequence[str]], environment: Mapping[str, str] | None = None
) -> Iterator[list[subprocess.Popen[str]]]:
    """Processes of this interpreter, one thread each for OpenMP, which are gone in the end.

    Args:
        modules: Module and arguments of each.
        environment: Variables to set beside.
    """
    variables = {**os.environ, "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false", **(environment or {})}
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
    """The next line that a process prints.

    Raises:
        HarnessFailure: It ended instead; its standard error says why.
    """
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        raise HarnessFailure(f"a process of the measurement ended with status {process.wait()}; see above for why")
    return line


def _looks(
    look: Callable[[], dict[int, float]], start: float, seconds: float
) -> tuple[dict[int, float], dict[int, float], float]:
    """What there is to see at the start and at the end of a window, and by how many seconds it is of another one."""
    seen: list[dict[int, float]] = []
    begun, ended = [], []
    for at in (start, start + seconds):
        time.sleep(max(0.0, at - time.monotonic()))
        begun.append(time.monotonic() - at)
        seen.append(look())
        ended.append(time.monotonic())
    # Of the looking itself, only what the two differ in counts.
    return seen[0], seen[1], max(*begun, abs(ended[1] - ended[0] - seconds))
