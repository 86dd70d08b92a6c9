"""The servers to measure: Triton under a profile, with or without its caches."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from tritonclient.grpc import InferenceServerClient

from shopwindow.retrieval.embedding import embedding_cache
from shopwindow.retrieval.search import result_cache
from shopwindow.server import ServerOptions, TritonServer
from shopwindow.server.tritonserver import DIRECT
from shopwindow_loadtests.generator.driving import Target, drive
from shopwindow_loadtests.generator.reading import Load, Reading

# Profile -> the model whose batches Triton collects.
PROFILES = {"cpu": "retrieve", "cpu-ensemble": "query_tower"}
# Cache of a `retrieve` process -> the variable that sets its size; 0 turns it off.
CACHES = {"embeddings": embedding_cache.VARIABLE, "results": result_cache.VARIABLE}


class _Counts(NamedTuple):
    """The counts of a model so far, from Triton's statistics."""

    queries: int
    batches: int
    requests: int
    queue_ns: int


class MeasuredServer:
    """A running Triton.

    Args:
        server: The server.
        name: Its name in the results.
    """

    def __init__(self, server: TritonServer, name: str) -> None:
        self.target = Target(name=name, protocol="grpc", url=server.grpc_url, pid=server.pid)
        self._model, self._headers = PROFILES[server.options.profile], server.owner_header

    def measure(self, load: Load, *, queries: Path, seconds: float, seed: int = 0) -> Reading:
        """Measure as `drive` does, and add the batch size and the time in the queue from Triton's statistics."""
        before = self._counts()
        reading = drive(self.target, load, queries=queries, seconds=seconds, seed=seed)
        after = self._counts()
        return replace(
            reading,
            rows=(after.queries - before.queries) / max(1, after.batches - before.batches),
            queue_ms=(after.queue_ns - before.queue_ns) / 1e6 / max(1, after.requests - before.requests),
        )

    def _counts(self) -> _Counts:
        with InferenceServerClient(self.target.url, channel_args=DIRECT) as client:
            [found] = client.get_inference_statistics(self._model, headers=self._headers).model_stats
        queue = found.inference_stats.queue
        return _Counts(found.inference_count, found.execution_count, queue.count, queue.ns)


@contextmanager
def served(
    repository: Path, index: Path, *, profile: str = "cpu", kept: Collection[str] = (), name: str = ""
) -> Iterator[MeasuredServer]:
    """Start a Triton that is ready inside the block.

    Args:
        repository: A model repository.
        index: Index folder or home.
        profile: One of PROFILES.
        kept: See `caches`.
        name: Its name in the results; by default the profile.
    """
    server = TritonServer(server_options(repository, index, profile))
    try:
        with caches(kept):
            server.start()
        server.wait_until_ready()
        yield MeasuredServer(server, name or profile)
    finally:
        server.stop()


def server_options(repository: Path, index: Path, profile: str) -> ServerOptions:
    """Return the options of a server on free ports that only this machine can reach."""
    return ServerOptions(
        repository=repository,
        index=index,
        profile=profile,
        host="127.0.0.1",
        http_port=0,
        grpc_port=0,
        metrics_port=0,
    )


@contextmanager
def caches(kept: Collection[str]) -> Iterator[None]:
    """Let processes that start inside the block use only some caches, at their default sizes.

    With a cache, repeated queries cost next to nothing.

    Args:
        kept: Names from CACHES. All other caches are off.
    """
    before = {name: os.environ.pop(name) for name in CACHES.values() if name in os.environ}
    os.environ.update({variable: "0" for name, variable in CACHES.items() if name not in kept})
    try:
        yield
    finally:
        for name in CACHES.values():
            os.environ.pop(name, None)
        os.environ.update(before)
