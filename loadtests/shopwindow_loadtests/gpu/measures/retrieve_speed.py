"""Measures `retrieve` end to end with many callers, and compares its answers with those of the CPU.

The server is a real Triton that searches on the GPU.
"""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from shopwindow.retrieval import InProcessPipeline
from shopwindow.retrieval.engines.options import WHERE_VARIABLE
from shopwindow.server import ServerOptions, TritonServer
from shopwindow_client import RetrievalClient
from shopwindow_loadtests.gpu.steps import Step

LOADS = {
    "1 caller, 1 query": (1, 1),
    "8 callers, 1 query": (8, 1),
    "32 callers, 1 query": (32, 1),
    "8 callers, 8 queries": (8, 8),
}
TOP_K = 100
SECONDS = 10.0  # of each load


def steps(repository: Path, index: Path, queries: list[str]) -> list[Step]:
    """Return one step. It starts a server once for all loads.

    Args:
        repository: An exported model repository.
        index: An index built by its towers.
        queries: The queries that callers send, in turn.
    """
    run = partial(serve_and_measure, repository, index, queries, seconds=SECONDS)
    return [Step(name="retrieve/triton", needs=("gpu", "faiss-gpu", "triton"), run=run)]


def choose_profile(repository: Path) -> str:
    """Return `gpu` if every tower has a plan and the container's Triton is installed, else ONNX towers on the CPU."""
    plans = all((repository / tower / "1" / "model.plan").is_file() for tower in ("query_tower", "product_tower"))
    return "gpu" if plans and shutil.which("tritonserver") else "cpu-ensemble"


def serve_and_measure(
    repository: Path, index: Path, queries: list[str], *, seconds: float, engine: str = "gpu"
) -> dict[str, Any]:
    """Start Triton, compare its answers with those of the CPU, and measure it under load.

    Raises:
        AssertionError: The search step is not on the wanted processor, or a served score differs from that in process.
    """
    profile = choose_profile(repository)
    options = ServerOptions(
        repository=repository, index=index, profile=profile, host="127.0.0.1", http_port=0, grpc_port=0, metrics_port=0
    )
    found: dict[str, Any] = {"profile": profile, "loads": {}}
    with _environment(WHERE_VARIABLE, engine), TritonServer(options) as server:
        found["triton"] = server.version
        told = [line for line in server.log_tail(10_000).splitlines() if "product_index: FAISS on" in line]
        assert told, "product_index did not say which engine it searches with"
        found["engine"] = told[-1].partition("product_index: ")[2]
        assert ("on GPU" in found["engine"]) == (engine == "gpu"), found["engine"]
        found["largest difference of scores"] = _compare(repository, index, queries, server.grpc_url)
        for name, (callers, rows) in LOADS.items():
            found["loads"][name] = load(server.grpc_url, queries, callers=callers, rows=rows, seconds=seconds)
    return found


def load(url: str, queries: list[str], *, callers: int, rows: int, seconds: float) -> dict[str, Any]:
    """Measure with callers that each send the next request as soon as they have their answer.

    Returns:
        Milliseconds at the 50th and 99th percentile, queries per second, and the number of requests.

    Raises:
        ShopwindowError: A request failed.
    """
    took: list[list[float]] = [[] for _ in range(callers)]
    errors: list[Exception] = []
    begin = threading.Barrier(callers + 1)
    over = threading.Event()

    def call(number: int) -> None:
        place = number * 101
        with RetrievalClient(url, timeout_s=30.0) as client:
            client.retrieve(queries[place % len(queries)], top_k=TOP_K)
            begin.wait()
            try:
                while not over.is_set():
                    asked = [queries[(place + step) % len(queries)] for step in range(rows)]
                    place += rows
                    started = time.perf_counter()
                    client.retrieve(asked, top_k=TOP_K)
                    took[number].append(time.perf_counter() - started)
            except Exception as error:
                errors.append(error)

    threads = [threading.Thread(target=call, args=(number,), daemon=True) for number in range(callers)]
    for thread in threads:
        thread.start()
    begin.wait(timeout=60.0)
    started = time.perf_counter()
    over.wait(seconds)
    over.set()
    for thread in threads:
        thread.join()
    elapsed = time.perf_counter() - started
    if errors:
        raise errors[0]
    all_took = 1e3 * np.concatenate([np.array(times) for times in took])
    p50, p99 = np.percentile(all_took, [50, 99])
    return {
        "p50_ms": round(float(p50), 3),
        "p99_ms": round(float(p99), 3),
        "queries_per_s": round(rows * len(all_took) / elapsed, 1),
        "requests": len(all_took),
    }


def _compare(repository: Path, index: Path, queries: list[str], url: str) -> float:
    asked = queries[:64]
    expected = InProcessPipeline(repository, index).retrieve(asked, top_k=TOP_K)
    with RetrievalClient(url, timeout_s=60.0) as client:
        scores = client.retrieve(asked, top_k=TOP_K).scores
    finite = np.isfinite(expected.scores)
    difference = float(np.abs(np.where(finite, scores, 0.0) - np.where(finite, expected.scores, 0.0)).max())
    # Plans in half precision move scores by about 1e-3, whichever processor searches.
    assert difference < (5e-3 if choose_profile(repository) == "gpu" else 1e-4), difference
    return difference


@contextmanager
def _environment(name: str, value: str) -> Iterator[None]:
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before
