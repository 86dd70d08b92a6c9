"""The measurements, on this machine's CPU: the figures are right, and a GPU with wrong results is caught."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pytest
import torch

from shopwindow.retrieval import InProcessPipeline
from shopwindow.retrieval.search import product_index
from shopwindow.server import ServerFailedToStart
from shopwindow.towers.architecture.both_towers import Towers
from shopwindow.towers.architecture.config import TowerConfig
from shopwindow_loadtests.gpu.measures import ceilings, congruence, search_speed
from shopwindow_loadtests.gpu.measures.ceilings import copy_rate, matrix_rate
from shopwindow_loadtests.gpu.measures.parity import on_gpu
from shopwindow_loadtests.gpu.measures.retrieve_speed import serve_and_measure
from shopwindow_loadtests.gpu.measures.tower_speed import measure_tower
from shopwindow_loadtests.index_bench.made_up_vectors import make_corpus, recall
from tests.conftest import CHECKPOINT
from tests.retrieval.engines.gpu_stand_in import ClassicIndex, StandIn

ROWS = 4_000


@pytest.fixture(scope="module")
def corpus() -> Any:
    return make_corpus(ROWS, 32, queries=16)


def test_the_exact_answer_is_exact(corpus: Any) -> None:
    scores = np.sort(corpus.queries.astype(np.float64) @ corpus.vectors.T.astype(np.float64), axis=1)[:, ::-1]
    np.testing.assert_allclose(corpus.best, scores[:, :100], atol=1e-6)
    assert recall(corpus.best, corpus.best) == 1.0
    half = corpus.best.copy()
    half[:, 50:] = scores[:, -50:]
    assert recall(half, corpus.best) == 0.5


@pytest.fixture
def filters_reach_the_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    """The engine gets filters even in an index as small as this one."""
    monkeypatch.setattr(product_index, "EXACT_ROWS", 100)


@pytest.mark.usefixtures("filters_reach_the_engine")
@pytest.mark.parametrize("kind", congruence.KINDS)
def test_a_correct_gpu_agrees_with_the_cpu(corpus: Any, kind: str, tmp_path: Path) -> None:
    found = congruence.compare(corpus, kind, tmp_path, StandIn())
    for name in ("all", "half"):
        assert found[f"{name}: recall@100 GPU"] >= found[f"{name}: recall@100 CPU"] - 0.01
        assert found[f"{name}: same rows"] == 1.0 or kind != "flat"
        assert 0 <= found[f"{name}: largest difference of scores"] < 2
    json.dumps(found, allow_nan=False)  # the results are saved as JSON


@pytest.mark.usefixtures("filters_reach_the_engine")
def test_a_gpu_that_finds_poor_rows_under_a_filter_is_caught(corpus: Any, tmp_path: Path) -> None:
    class Poor(StandIn):
        def place(self, index: faiss.Index, plan: Any, options: Any) -> Any:
            class Index(ClassicIndex):
                def search(self, queries: np.ndarray, k: int, params: Any = None) -> tuple[np.ndarray, np.ndarray]:
                    return super().search(queries if params is None else -queries, k, params)

            return Index(super().place(index, plan, options).index, obeys=True)

    with pytest.raises(AssertionError, match="half: the GPU finds less than the CPU"):
        congruence.compare(corpus, "ivf", tmp_path, Poor(obeys=True))


def test_a_missing_row_is_caught(corpus: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        product_index.ProductIndex,
        "_exact",
        lambda index, queries, k, mask: (
            np.full((len(queries), k), -np.inf, np.float32),
            np.full((len(queries), k), -1, np.int64),
        ),
    )
    with pytest.raises(AssertionError, match="half: 16 of 16 queries found fewer than 100 rows"):
        congruence.compare(corpus, "flat", tmp_path, StandIn())


def test_a_gpu_that_loses_rows_is_caught(corpus: Any, tmp_path: Path) -> None:
    class Forgetful(StandIn):
        def place(self, index: faiss.Index, plan: Any, options: Any) -> Any:
            class Index(ClassicIndex):
                def search(self, queries: np.ndarray, k: int, params: Any = None) -> tuple[np.ndarray, np.ndarray]:
                    scores, rows = super().search(queries, k, params)
                    return scores, np.roll(rows, 1, axis=1) * (rows % 7 != 0)

            return Index(super().place(index, plan, options).index, obeys=False)

    with pytest.raises(AssertionError, match="flat: scores differ"):
        congruence.compare(corpus, "flat", tmp_path, Forgetful())


def test_the_probe_catches_only_a_build_that_ignores_selectors(corpus: Any) -> None:
    assert congruence.check_selector_probe(corpus, StandIn(obeys=True)) == {
        "forbidden rows returned": 0.0,
        "probe: obeys selectors": True,
    }
    caught = congruence.check_selector_probe(corpus, StandIn(obeys=False))
    assert caught["probe: obeys selectors"] is False
    assert 0.4 < caught["forbidden rows returned"] < 0.6  # half of the rows are forbidden, so half of those found


def test_search_is_timed_with_its_recall(corpus: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search_speed, "BATCHES", (1, 8))
    monkeypatch.setattr(search_speed, "usable_cores", lambda: 1)
    found = search_speed.measure_search(corpus, "ivf-sq8", tmp_path, StandIn(), seconds=0.01)
    assert list(found["efforts"]) == ["3", "5", "7"]
    recalls = [figures["recall"] for figures in found["efforts"].values()]
    assert recalls == sorted(recalls)
    assert recalls[-1] >= 0.99
    assert set(found["efforts"]["5"]["batches"]) == {"1", "8"}
    assert (tmp_path / "ivf-sq8-4000.faiss").is_file()


def test_scratch_memory_is_not_counted_as_the_index(
    corpus: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Filling(StandIn):
        def place(self, index: faiss.Index, plan: Any, options: Any) -> Any:
            if not self.placed:
                self.free -= plan.temp_bytes
            if plan.rows == ROWS:  # not the tiny index of the probe, which is gone by then
                self.free -= 7 * 2**20
            return super().place(index, plan, options)

    monkeypatch.setattr(search_speed, "BATCHES", (1,))
    found = search_speed.measure_search(corpus, "flat", tmp_path, Filling(), seconds=0.01)
    assert found["used_mib"] == 7


def test_ceilings_are_rates_and_leave_the_precision_setting_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ceilings, "SECONDS", 0.05)
    assert {step.name for step in ceilings.steps()} >= {"ceilings/fp32", "ceilings/tf32", "ceilings/copy"}
    before = torch.get_float32_matmul_precision()
    assert matrix_rate(torch.float32, "cpu", 128, tf32=True)["tflops"] >= 0
    assert torch.get_float32_matmul_precision() == before
    assert matrix_rate(torch.float32, "cpu", 128)["tflops"] >= 0
    assert copy_rate("cpu", 2**20)["tb_per_s"] > 0


@pytest.mark.parametrize(("backend", "tower"), [("pytorch", "query"), ("pytorch", "product"), ("onnxruntime", "query")])
def test_a_tower_is_timed_and_its_work_is_counted(backend: str, tower: str) -> None:
    config = TowerConfig(
        vocab_size=100, hidden_size=32, embedding_dim=32, query_layers=1, title_layers=1, image_layers=1,
        query_max_tokens=8, title_max_tokens=8, image_size=16, patch_size=8,
    )  # fmt: skip
    found = measure_tower(lambda: Towers(config), tower, backend, "fp32", "cpu", batches=(1, 2), seconds=0.01)
    assert list(found["batches"]) == ["1", "2"]
    for batch, figures in found["batches"].items():
        assert figures["rows_per_s"] == pytest.approx(1e3 * int(batch) / figures["p50_ms"], abs=0.1)
    if tower == "query":
        # One layer over 8 tokens of width 32: 4 projections, 2 products of 8 x 8, 2 of the feed-forward; and the head.
        layer = 2 * 8 * 32 * (4 * 32 + 2 * 64) + 2 * 2 * 8 * 8 * 32
        assert found["gflop"] * 1e9 == pytest.approx(layer + 2 * 32 * 32, rel=0.05)


def test_pytorchs_half_precision_towers_rank_alike(shop: Path) -> None:
    figures = on_gpu(CHECKPOINT, shop / "products.parquet", 150, "bf16", "cpu")
    assert figures["products"] == 150
    assert figures["overlap@10"] >= 0.99


def test_retrieve_is_measured_through_a_real_triton(
    retrieve_only: Path, index: Path, pipeline: InProcessPipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shopwindow_loadtests.gpu.measures.retrieve_speed.LOADS", {"two": (2, 3)})
    found = serve_and_measure(retrieve_only, index, ["red dress", "blue mug", "scarf"], seconds=0.5, engine="cpu")
    assert found["profile"] == "cpu-ensemble"
    assert found["engine"].startswith(f"FAISS on the CPU, Flat, {pipeline.index.manifest.count} vectors")
    figures = found["loads"]["two"]
    assert figures["requests"] > 0
    assert 0 < figures["p50_ms"] <= figures["p99_ms"]
    assert figures["queries_per_s"] > 0


def test_a_server_told_to_search_on_a_gpu_that_is_not_there_does_not_start(
    retrieve_only: Path, index: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")  # hides any GPUs from the server
    with pytest.raises(ServerFailedToStart, match="GPU 0: FAISS sees 0 GPUs; install faiss-gpu"):
        serve_and_measure(retrieve_only, index, ["red dress"], seconds=0.1, engine="gpu")
