"""The servers that are measured: Triton under a profile, with or without the cache of query embeddings."""

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

# Profile -> the model whose batches are what the server puts together.
PROFILES = {"cpu": "retrieve", "cpu-ensemble": "query_tower"}
# What a process of `retrieve` keeps -> the variable that says how much of it; 0 is nothing.
CACHES = {"embeddings": embedding_cache.VARIABLE, "results": result_cache.VARIABLE}


class _Counts(NamedTuple):
    """Of a model so far, by Triton's statistics."""

    queries: int
    batches: int
    requests: int
    queue_ns: int


class Served:
    """A running Triton.

    Args:
        server: It.
        name: What it is called.
    """

    def __init__(self, server: TritonServer, name: str) -> None:
        self.target = Target(name=name, protocol="grpc", url=server.grpc_url, pid=server.pid)
        self._model = PROFILES[server.options.profile]

    def measure(self, load: Load, *, queries: Path, seconds: float, seed: int = 0) -> Reading:
        """As `drive`, with the model's batches and its requests' waiting, as Triton counts them."""
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
            [found] = client.get_inference_statistics(self._model).model_stats
        queue = found.inference_stats.queue
        return _Counts(found.inference_count, found.execution_count, queue.count, queue.ns)


@contextmanager
def served(
    repository: Path, index: Path, *, profile: str = "cpu", kept: Collection[str] = (), name: str = ""
) -> Iterator[Served]:
    """A Triton that is ready inside the block.

    Args:
        repository: A model repository.
        index: Index folder or home.
        profile: Of PROFILES.
        kept: As for `caches`.
        name: What it is called; the profile without one.
    """
    server = TritonServer(server_options(repository, index, profile))
    try:
        with caches(kept):
            server.start()
        server.wait_until_ready()
        yield Served(server, name or profile)
    finally:
        server.stop()


def server_options(repository: Path, index: Path, profile: str) -> ServerOptions:
    """A server for this machine alone, on free ports."""
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
    """Processes that are started inside the block keep what is named, as much as by default, and nothing else:
    repeated queries cost next to nothing then.

    Args:
        kept: Of CACHES.
    """
    before = {name: os.environ.pop(name) for name in CACHES.values() if name in os.environ}
    os.environ.update({variable: "0" for name, variable in CACHES.items() if name not in kept})
    try:
        yield
    finally:
        for name in CACHES.values():
            os.environ.pop(name, None)
        os.environ.update(before)
