"""A real server with planted faults, and the right answers to its queries."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shopwindow.retrieval import InProcessPipeline
from shopwindow.server import ServerOptions, TritonServer
from shopwindow_loadtests import LoadTestOptions
from shopwindow_loadtests.scenario.queries import read_queries
from tests.whole_server.other_towers import copied

MODEL = Path(__file__).parent / "sending" / "planted_model.py"
K = 10
CONFIG = """
backend: "python"
max_batch_size: 64
input [ INPUTS ]
output [
  { name: "product_ids" data_type: TYPE_INT64 dims: [ -1 ] },
  { name: "scores" data_type: TYPE_FP32 dims: [ -1 ] }
]
instance_group [ { count: 1 kind: KIND_CPU } ]
"""
INPUTS = {"retrieve": ("query",), "retrieve_similar": ("title", "image")}


class PlantedServer:
    """A server in which a test can plant faults.

    Args:
        server: Runs `planted_model`.
        folder: Folder of its model `retrieve`.
    """

    def __init__(self, server: TritonServer, folder: Path) -> None:
        self.url = server.grpc_url
        self._folder = folder

    @contextmanager
    def plant(self, fault: str, number: int) -> Iterator[None]:
        """Plant a fault for the time of the block, see `planted_model`."""
        file = self._folder / fault
        new = file.with_suffix(".new")
        new.write_text(str(number))
        new.replace(file)  # in one step, so that a reader never sees an empty file
        try:
            yield
        finally:
            file.unlink()


@pytest.fixture(scope="session")
def shop_queries(shop: Path) -> list[str]:
    """The queries of the demo shop."""
    return read_queries(shop / "queries.parquet")


@pytest.fixture(scope="session")
def right_answers(pipeline: InProcessPipeline, shop_queries: list[str]) -> dict[str, list[int]]:
    """Query -> ids of the K products with the highest scores, by plain matrix arithmetic."""
    folder = pipeline.index.folder
    assert folder is not None
    scores = pipeline.embed_query(shop_queries) @ np.asarray(folder.vectors).T
    best = folder.product_ids[np.argsort(-scores, axis=1)[:, :K]]
    return dict(zip(shop_queries, best.tolist(), strict=True))


@pytest.fixture(scope="session")
def planted(tmp_path_factory: pytest.TempPathFactory, right_answers: dict[str, list[int]]) -> Iterator[PlantedServer]:
    """The server. It gives the right answers as long as no fault is planted."""
    repository = tmp_path_factory.mktemp("planted") / "models"
    for model, inputs in INPUTS.items():
        folder = repository / model / "1"
        folder.mkdir(parents=True)
        shutil.copy(MODEL, folder / "model.py")
        (folder / "answers.json").write_text(json.dumps(right_answers))
        given = ", ".join(f'{{ name: "{name}" data_type: TYPE_STRING dims: [ 1 ] }}' for name in inputs)
        (repository / model / "config.pbtxt").write_text(f'name: "{model}"' + CONFIG.replace("INPUTS", given))
    ports: dict[str, Any] = {"http_port": 0, "grpc_port": 0, "metrics_port": 0}
    with TritonServer(ServerOptions(repository=repository, host="127.0.0.1", **ports)) as server:
        yield PlantedServer(server, repository / "retrieve" / "1")


@pytest.fixture(scope="session")
def retrieve_only(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The repository without models that `retrieve` does not need. A server of it starts sooner."""
    folder = copied(repository, tmp_path_factory.mktemp("retrieve_only") / "model_repository")
    for model in ("embed_product", "embed_query", "retrieve_similar"):
        shutil.rmtree(folder / model)
    return folder


@pytest.fixture
def short(planted: PlantedServer, shop: Path, repository: Path, index: Path, tmp_path: Path) -> Callable[..., Any]:
    """Makes the options of a short test against that server."""

    def make(**changes: Any) -> LoadTestOptions:
        defaults: dict[str, Any] = {
            "url": planted.url,
            "queries": shop / "queries.parquet",
            "top_k": K,
            "recall_k": K,
            "repository": repository,
            "index": index,
            "duration_s": 0.4,  # Locust checks once a second whether the test is over: 1.4 s takes a second longer
            "seed": 0,
            "min_samples": 1,
            "timeout_s": 20.0,
            "max_late_ms": 60_000.0,  # this machine may be slow
            "out": tmp_path / "out",
        }
        return LoadTestOptions(**{**defaults, **changes})

    return make
