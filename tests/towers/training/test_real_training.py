"""Towers trained for a minute on 12,000 real products beat BM25, use photos, and rank the same when served."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from shopwindow.indexing.full_build.run import build_index
from shopwindow.retrieval import InProcessPipeline
from shopwindow.server import ServerOptions, TritonServer
from shopwindow_client import RetrievalClient
from shopwindow_export.repository.run import export_repository
from tests.conftest import ROOT

HOLD_OUT = 0.1
BATCH = 64

# On a CPU without AVX-512, one thread trains for five minutes.
pytestmark = pytest.mark.timeout(1200)


@pytest.fixture(scope="module")
def checkpoint(fashion: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The towers of the small config, trained for a minute through the command line."""
    folder = tmp_path_factory.mktemp("real")
    settings = json.loads((ROOT / "shopwindow" / "towers" / "configs" / "small.json").read_text())
    settings["towers"]["image_size"] = 48  # a third of the pixels
    settings["training"] |= {"steps": 250, "text_steps": 100, "text_batch_size": 512, "batch_size": 256}
    settings["training"] |= {"hold_out": HOLD_OUT}
    (folder / "config.json").write_text(json.dumps(settings))
    _shopwindow(
        "pretrain", "--config", folder / "config.json", "--out", folder / "checkpoint",
        "--catalog", fashion / "dev" / "products.parquet", "--clicks", fashion / "train_pairs.parquet",
    )  # fmt: skip
    return folder / "checkpoint"


@pytest.fixture(scope="module")
def trained(checkpoint: Path, fashion: Path) -> tuple[Path, Path]:
    """Repository and index of all 12,000 products."""
    repository, index = checkpoint.parent / "model_repository", checkpoint.parent / "index"
    export_repository(checkpoint, repository, fashion / "dev" / "products.parquet", cpu_instances=2)
    build_index(fashion / "dev" / "products.parquet", repository, index, progress=False)
    return repository, index


@pytest.fixture(scope="module")
def report(trained: tuple[Path, Path], fashion: Path) -> dict[str, Any]:
    """The report of `shopwindow evaluate` on these towers."""
    repository, index = trained
    out = repository.parent / "evaluation"
    data = fashion / "dev"
    _shopwindow(
        "evaluate", "--repository", repository, "--index", index, "--out", out, "--unseen", HOLD_OUT,
        "--queries", data / "queries.parquet", "--qrels", data / "qrels.parquet",
        "--catalog", data / "products.parquet",
    )  # fmt: skip
    report: dict[str, Any] = json.loads((out / "report.json").read_text())
    return report


def _shopwindow(*arguments: object) -> None:
    command = [sys.executable, "-m", "shopwindow.cli.main", *map(str, arguments)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]


def _rows(report: dict[str, Any], section: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = report["sections"][section]["rows"]
    return rows


def test_the_towers_rank_better_than_bm25(report: dict[str, Any]) -> None:
    ours = next(row for row in _rows(report, "retrieval") if row["slice"] == "all" and row["system"] == "towers")
    assert ours["nDCG@10 ahead of BM25"]["low"] > 0


def test_photos_help_if_titles_name_no_colours(report: dict[str, Any]) -> None:
    rows = _rows(report, "visual")
    stripped = next(
        row
        for row in rows
        if (row["queries"], row["titles"], row["photo"]) == ("name a colour", "colour words removed", "yes")
    )
    assert stripped["nDCG@10 gained by the photo"]["low"] > 0


def test_served_ranking_is_as_good_as_in_process(trained: tuple[Path, Path], fashion: Path) -> None:
    repository, index = trained
    queries = pq.read_table(fashion / "dev" / "queries.parquet").to_pylist()
    texts = [query["text"] for query in queries]
    relevant: dict[int, set[int]] = {query["query_id"]: set() for query in queries}
    for row in pq.read_table(fashion / "dev" / "qrels.parquet").to_pylist():
        relevant[row["query_id"]].add(row["product_id"])
    answers = [relevant[query["query_id"]] for query in queries]
    options = ServerOptions(
        repository=repository, index=index, host="127.0.0.1", http_port=0, grpc_port=0, metrics_port=0
    )
    with TritonServer(options) as server, RetrievalClient(server.grpc_url, timeout_s=60.0) as client:
        served = [client.retrieve(texts[start : start + BATCH], top_k=10).ids for start in range(0, len(texts), BATCH)]
    local = InProcessPipeline(repository, index).retrieve(texts, top_k=10).product_ids
    assert abs(_ndcg(np.concatenate(served), answers) - _ndcg(local, answers)) <= 0.002


def _ndcg(ranked: np.ndarray, relevant: list[set[int]]) -> float:
    """Return nDCG@10 with binary relevance, by its definition."""
    discount = 1 / np.log2(np.arange(2, 12))
    gains = [
        sum(discount[place] for place, product in enumerate(products) if product in answers)
        / discount[: len(answers)].sum()
        for products, answers in zip(ranked.tolist(), relevant, strict=True)
    ]
    return float(np.mean(gains))
