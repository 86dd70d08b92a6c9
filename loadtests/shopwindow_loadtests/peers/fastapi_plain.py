"""Plain FastAPI: a worker a core, each request computed by itself as it comes.

uvicorn loadtests.peers.fastapi_plain:app --workers 2
"""

from __future__ import annotations

from fastapi import FastAPI, Request, Response

from shopwindow_loadtests.generator.closed_loop import TOP_K
from shopwindow_loadtests.peers.work import as_json, load_pipeline, queries_of

pipeline = load_pipeline()
app = FastAPI()


@app.post("/retrieve")
async def retrieve(request: Request) -> Response:
    """Ids and scores; on the event loop, as a thread would only add its own cost to work that holds the core."""
    result = pipeline.retrieve(queries_of(await request.body()), top_k=TOP_K)
    return Response(as_json(result), media_type="application/json")


@app.get("/ready")
async def ready() -> bool:
    """Answers once the pipeline is loaded."""
    return True
