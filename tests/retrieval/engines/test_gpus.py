"""Before an index is put on a GPU: does FAISS have kernels for the GPU, and how much scratch memory is taken."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pytest

from shopwindow.retrieval.engines import EngineOptions, FaissCpuEngine, Where, open_engine
from shopwindow.retrieval.engines.gpu_devices import FaissGpus
from shopwindow.retrieval.engines.recipes import choose_recipe
from tests.retrieval.engines.gpu_stand_in import StandIn


@pytest.mark.parametrize(
    ("gpus", "where", "place"),
    [
        (StandIn(kind=(9, 0)), Where.AUTO, "GPU 0"),
        (StandIn(kind=(7, 0)), Where.AUTO, "GPU 0"),
        (StandIn(kind=None), Where.AUTO, "GPU 0"),
        (StandIn(kind=(10, 0)), Where.AUTO, "the CPU"),
        (StandIn(kind=(6, 1)), Where.AUTO, "the CPU"),
        (StandIn(kind=(10, 0), cuvs=True), Where.AUTO, "GPU 0"),  # cuVS builds have other kernels
        (StandIn(kind=(10, 0)), Where.GPU, "GPU 0"),  # requested
    ],
    ids=str,
)
def test_a_gpu_without_faiss_kernels_is_not_used_unless_requested(gpus: StandIn, where: Where, place: str) -> None:
    vectors = np.eye(64, dtype=np.float32)
    options = EngineOptions(where=where)
    engine = open_engine(vectors, Path("unused"), choose_recipe(64, "flat"), options, gpus)
    assert engine.description.startswith(f"FAISS on {place}, ")
    assert isinstance(engine, FaissCpuEngine) == (place == "the CPU")


def test_scratch_memory_is_taken_once_on_each_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """The trial index and the real one share it. The memory check before counts it once."""
    taken: list[int] = []

    class Resources:
        def setTempMemory(self, size: int) -> None:
            taken.append(size)

        def setPinnedMemory(self, size: int) -> None:
            pass

    placed: list[list[Any]] = []
    monkeypatch.setattr(faiss, "StandardGpuResources", Resources, raising=False)
    monkeypatch.setattr(faiss, "GpuMultipleClonerOptions", type("Options", (), {}), raising=False)
    monkeypatch.setattr(
        faiss,
        "index_cpu_to_gpu_multiple_py",
        lambda resources, index, cloning, devices: placed.append(resources),
        raising=False,
    )
    options = EngineOptions(where=Where.GPU, devices=(0, 1), temp_bytes=32 * 2**20)
    gpus = FaissGpus()
    plan = _plan(options)
    for _ in range(2):
        gpus.place(faiss.IndexFlatIP(8), plan, options)
    assert taken == [options.temp_bytes] * 2
    first, second = placed
    assert all(one is other for one, other in zip(first, second, strict=True))
    assert first[0] is not first[1]


def _plan(options: EngineOptions) -> Any:
    from shopwindow.retrieval.engines.gpu_index_forms import make_plan

    return make_plan(choose_recipe(64, "flat"), 64, 8, options, cuvs=False)
