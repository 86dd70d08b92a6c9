"""Plain FastAPI with a worker for each core. Each request is computed by itself as it comes.

uvicorn shopwindow_loadtests.peers.fastapi_plain:app --workers 2
"""

from __future__ import annotations

from fastapi import FastAPI, Request, Response

from shopwindow_loadtests.generator.closed_loop import TOP_K
from shopwindow_loadtests.peers.work import as_json, load_pipeline, queries_of

pipeline = load_pipeline()
app = FastAPI()


@app.post("/retrieve")
async def retrieve(request: Request) -> Response:
    """Return ids and scores. Runs on the event loop: the work fills the core, and a thread would only add cost."""
    result = pipeline.retrieve(queries_of(await request.body()), top_k=TOP_K)
    return Response(as_json(result), media_type="application/json")


@app.get("/ready")
async def ready() -> bool:
    """Answer once the pipeline is loaded."""
    return True
