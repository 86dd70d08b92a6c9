"""FastAPI with a hand-tuned batcher and a worker for each core.

    uvicorn shopwindow_loadtests.peers.fastapi_batcher:app --workers 2

A worker computes all waiting requests together, in a thread, while its event loop takes the next ones.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request, Response

from shopwindow_loadtests.generator.closed_loop import TOP_K
from shopwindow_loadtests.peers.settings import LARGEST_BATCH
from shopwindow_loadtests.peers.work import as_json, load_pipeline, queries_of

pipeline = load_pipeline()
Waiting = tuple[Sequence[str], "asyncio.Future[bytes]"]


class Batcher:
    """Batches the requests that came in while the last batch was computed.

    It adds no delay: on a CPU, waiting costs more than it saves.
    """

    def __init__(self) -> None:
        self._waiting: asyncio.Queue[Waiting] = asyncio.Queue()
        self._thread = ThreadPoolExecutor(1)

    async def answer(self, queries: Sequence[str]) -> bytes:
        """Return the reply to one request."""
        future: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._waiting.put_nowait((queries, future))
        return await future

    async def run(self) -> None:
        """Compute batches forever."""
        loop = asyncio.get_running_loop()
        while True:
            batch = [await self._waiting.get()]
            rows = len(batch[0][0])
            while rows < LARGEST_BATCH and not self._waiting.empty():
                batch.append(self._waiting.get_nowait())
                rows += len(batch[-1][0])
            try:
                replies = await loop.run_in_executor(self._thread, _compute, [queries for queries, _ in batch])
            except Exception as error:  # the callers get it, and the batcher goes on
                for _, future in batch:
                    if not future.done():  # its caller may have gone
                        future.set_exception(error)
                continue
            for (_, future), reply in zip(batch, replies, strict=True):
                if not future.done():
                    future.set_result(reply)


def _compute(requests: list[Sequence[str]]) -> list[bytes]:
    result = pipeline.retrieve([query for queries in requests for query in queries], top_k=TOP_K)
    replies, start = [], 0
    for queries in requests:
        replies.append(as_json(result, slice(start, start + len(queries))))
        start += len(queries)
    return replies


batcher = Batcher()


@asynccontextmanager
async def _lifespan(_: FastAPI) -> AsyncIterator[None]:
    task = asyncio.create_task(batcher.run())
    yield
    task.cancel()


app = FastAPI(lifespan=_lifespan)


@app.post("/retrieve")
async def retrieve(request: Request) -> Response:
    """Return ids and scores."""
    return Response(await batcher.answer(queries_of(await request.body())), media_type="application/json")


@app.get("/ready")
async def ready() -> bool:
    """Answer once the pipeline is loaded."""
    return True
