"""BentoML with its adaptive batching and a worker for each core.

bentoml serve shopwindow_loadtests.peers.bentoml_service:Retrieve
"""

from __future__ import annotations

import bentoml

from shopwindow_loadtests.generator.closed_loop import TOP_K
from shopwindow_loadtests.peers.settings import LARGEST_BATCH, WORKERS
from shopwindow_loadtests.peers.work import as_json, load_pipeline


@bentoml.service(workers=WORKERS, traffic={"timeout": 30, "max_concurrency": 256})
class Retrieve:
    """The pipeline as a service."""

    def __init__(self) -> None:
        self._pipeline = load_pipeline()

    @bentoml.api(batchable=True, max_batch_size=LARGEST_BATCH, max_latency_ms=1000)  # type: ignore[untyped-decorator]
    def retrieve(self, queries: list[str]) -> list[str]:
        """Return ids and scores, one JSON text for each query: BentoML encodes arrays more slowly than orjson."""
        result = self._pipeline.retrieve(queries, top_k=TOP_K)
        return [as_json(result, slice(row, row + 1)).decode() for row in range(len(queries))]

    @bentoml.api  # type: ignore[untyped-decorator]
    def ready(self) -> bool:
        """Answer once the pipeline is loaded."""
        return True
