"""Parity as a condition of exporting: its figures, its budgets, and an 8-bit export that it refuses."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from tokenizers import Tokenizer

from shopwindow.retrieval import InProcessPipeline
from shopwindow.retrieval.embedding.bundle import Bundle
from shopwindow.towers.architecture.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from shopwindow_export.errors import ExportError
from shopwindow_export.parity import ParityReport, ParitySample, measure_parity, read_sample
from shopwindow_export.parity.layers import LayerDrift, worst
from shopwindow_export.parity.report_page import HTML_FILE, JSON_FILE, figures, verdict, write_report
from shopwindow_export.repository import run
from shopwindow_export.repository.run import export_fastest, export_repository
from tests.conftest import CHECKPOINT

PRODUCTS = 160


@pytest.fixture(scope="module")
def sample(repository: Path, shop: Path) -> ParitySample:
    preprocess = InProcessPipeline(repository).preprocessor
    return read_sample(
        shop / "products.parquet",
        preprocess,
        PRODUCTS,
        queries=shop / "queries.parquet",
        qrels=shop / "qrels.parquet",
    )


@pytest.fixture(scope="module")
def noisy() -> Checkpoint:
    """The demo checkpoint with changed heads, so that the exported graphs differ from it."""
    checkpoint = load_checkpoint(CHECKPOINT)
    torch.manual_seed(0)
    with torch.no_grad():
        for head in (checkpoint.towers.query.head, checkpoint.towers.product.head):
            head.weight += 0.3 * head.weight.std() * torch.randn_like(head.weight)
    return checkpoint


@pytest.fixture(scope="module")
def report(repository: Path, noisy: Checkpoint, sample: ParitySample) -> ParityReport:
    return measure_parity(noisy, InProcessPipeline(repository), sample, "int8")


def test_the_figures_match_a_simple_computation(
    repository: Path, noisy: Checkpoint, sample: ParitySample, report: ParityReport
) -> None:
    pipeline = InProcessPipeline(repository)
    found = pipeline.embed_query(sample.queries) @ pipeline.embed_prepared(sample.products)[0].T
    ids, mask = pipeline._queries.encode(sample.queries)
    with torch.inference_mode():
        products = noisy.towers.product(*map(torch.from_numpy, sample.products.tensors().values()))[0]
        expected = (noisy.towers.query(torch.from_numpy(ids), torch.from_numpy(mask)) @ products.T).numpy()
    best = [np.argsort(-scores, axis=1) for scores in (expected, found)]
    for k, measured in ((10, report.overlap_at_10), (100, report.overlap_at_100)):
        shares = [len(set(a[:k]) & set(b[:k])) / k for a, b in zip(*best, strict=True)]
        assert measured == pytest.approx(np.mean(shares), abs=1e-3)
        assert measured is not None and measured < 0.999  # else the comparison would prove little
    drift = [np.abs(found[row, places[:100]] - expected[row, places[:100]]) for row, places in enumerate(best[0])]
    assert report.score_drift_mean == pytest.approx(np.mean(drift), rel=1e-3)
    assert report.score_drift_max == pytest.approx(np.max(drift), rel=1e-3)
    assert sample.relevant is not None
    inside = set(sample.product_ids.tolist())
    for places, measured in zip(best, (report.recall_at_100_pytorch, report.recall_at_100), strict=True):
        recalls = [
            len(ids & inside & set(sample.product_ids[row[:100]].tolist())) / len(ids & inside)
            for row, ids in zip(places, sample.relevant, strict=True)
            if ids & inside
        ]
        assert report.judged_queries == len(recalls)
        assert measured == pytest.approx(np.mean(recalls), abs=2e-3)


@pytest.mark.parametrize(
    ("precision", "changes", "named"),
    [
        ("fp16", {"overlap_at_10": 0.985}, ["overlap@10 0.9850, 0.0050 below the budget's 0.99"]),
        ("int8", {"overlap_at_10": 0.985}, []),
        ("int8", {"similar_overlap_at_10": 0.9}, ["overlap@10 of similar products 0.9000, 0.0500 below"]),
        (
            "int8",
            {"recall_at_100_pytorch": 0.8, "recall_at_100": 0.78},
            ["recall@100 falls from 0.8000 to 0.7800, by 2.50%, 2.00% more than the budget's 0.5%"],
        ),
        ("int8", {"recall_at_100_pytorch": 0.8, "recall_at_100": 0.797}, []),
        ("fp32", {"query_max_abs_diff": 3e-4}, ["max abs diff 3.0e-04, 2.0e-04 over 1e-04"]),
    ],
)
def test_a_broken_budget_is_named_with_the_amount(
    report: ParityReport, precision: str, changes: dict[str, float], named: list[str]
) -> None:
    fine = {
        "overlap_at_10": 1.0,
        "similar_overlap_at_10": 1.0,
        "recall_at_100_pytorch": 0.8,
        "recall_at_100": 0.8,
        "query_max_abs_diff": 0.0,
        "product_max_abs_diff": 0.0,
    }
    changed = dataclasses.replace(report, precision=precision, **{**fine, **changes})
    assert len(changed.shortfalls) == len(named)
    for shortfall, start in zip(changed.shortfalls, named, strict=True):
        assert shortfall.startswith(start)
    assert changed.passed == (not named)
    assert verdict(changed).startswith(f"{precision} is {'refused' if named else 'offered'}: ")


def test_a_verdict_says_what_was_not_measured(report: ParityReport) -> None:
    fine = dataclasses.replace(report, overlap_at_10=1.0, similar_overlap_at_10=1.0, recall_at_100=0.8)
    judged = dataclasses.replace(fine, queries=1_000, recall_at_100_pytorch=0.8)
    assert verdict(judged) == "int8 is offered: it ranks as float32 PyTorch does, within its budget."
    unjudged = dataclasses.replace(fine, queries=999, recall_at_100_pytorch=None)
    assert "Recall was not judged: give --queries and --qrels. 999 queries are few" in verdict(unjudged)


def test_a_report_can_be_drawn_without_finite_scores(report: ParityReport, tmp_path: Path) -> None:
    drifts = np.full_like(report.query_drifts, np.nan)
    files = write_report(tmp_path, dataclasses.replace(report, query_drifts=drifts))
    assert files[1].exists()
    layers = [LayerDrift(tower="query", layer=str(drift), drift=drift) for drift in (0.1, np.nan, 0.2)]
    assert [each.layer for each in worst(layers)] == ["nan", "0.2", "0.1"]


def test_the_report_is_a_self_contained_page(report: ParityReport, tmp_path: Path) -> None:
    files = write_report(tmp_path / "parity", report)
    assert (
        sorted(file.name for file in files)
        == [HTML_FILE, JSON_FILE]
        == sorted(p.name for p in (tmp_path / "parity").iterdir())
    )
    page = files[1].read_text()
    assert "data:image/png;base64,iVBOR" in page
    assert "http" not in page.split("base64,")[0]
    values = json.loads(files[0].read_text())
    assert values["precision"] == "int8"
    assert values["overlap_at_10"] == report.overlap_at_10
    assert values["passed"] is report.passed


def test_qrels_alone_are_refused(shop: Path, repository: Path) -> None:
    with pytest.raises(ValueError, match=r"qrels: .* judges the queries of a file that was not given"):
        read_sample(
            shop / "products.parquet", InProcessPipeline(repository).preprocessor, 20, qrels=shop / "qrels.parquet"
        )


def test_8_bits_are_chosen_only_if_they_are_fast_enough(
    monkeypatch: pytest.MonkeyPatch, shop: Path, tmp_path: Path
) -> None:
    pq.write_table(pq.read_table(shop / "products.parquet").slice(0, 150), tmp_path / "products.parquet")
    monkeypatch.setattr("shopwindow_export.parity.speed.ROUNDS", 1)
    made: dict[str, ParityReport | None] = {}

    def export(*arguments: Any, precision: str, **options: Any) -> ParityReport | None:
        # Exporting takes long, so each precision is exported once. Only the choice between them differs.
        if precision not in made:
            made[precision] = export_repository(*arguments, precision=precision, **options)
        return made[precision]

    monkeypatch.setattr(run, "export_repository", export)
    for least, precision in ((1000.0, "fp32"), (0.001, "int8")):
        monkeypatch.setattr("shopwindow_export.parity.speed.WORTHWHILE", least)
        report = export_fastest(CHECKPOINT, tmp_path / "repository", tmp_path / "products.parquet", sample_size=None)
        assert report is not None and report.precision == precision
        if precision == "fp32":  # it replaced the one of 8 bits
            assert Bundle.read(tmp_path / "repository").precision == "fp32"
    assert report.speed is not None and min(report.speed.query_tower, report.speed.product_tower) > 0
    assert "times fp32" in figures(report)["throughput here"]


def test_towers_that_lose_too_much_in_8_bits_are_refused_and_the_layers_named(shop: Path, tmp_path: Path) -> None:
    checkpoint = load_checkpoint(CHECKPOINT)
    # In float32 these are the same towers. But one channel of activations is so large that 8 bits round the others to
    # zero.
    with torch.no_grad():
        for block in checkpoint.towers.product.fusion.blocks:
            block.norm_mlp.weight[3] *= 4096.0
            block.norm_mlp.bias[3] *= 4096.0
            block.mlp_in.weight[:, 3] /= 4096.0
    spoilt = tmp_path / "checkpoint"
    save_checkpoint(spoilt, checkpoint.towers, Tokenizer.from_file(str(CHECKPOINT / "tokenizer.json")))
    pq.write_table(pa.table(pq.read_table(shop / "products.parquet").slice(0, 150)), tmp_path / "products.parquet")
    with pytest.raises(ExportError, match=r"^the int8 graphs do not rank .* nothing was written: overlap@10 0\.\d+, "):
        export_repository(
            spoilt, tmp_path / "repository", tmp_path / "products.parquet", precision="int8", sample_size=None
        )
    assert not (tmp_path / "repository").exists()
    values = json.loads((tmp_path / "parity" / JSON_FILE).read_text())
    assert values["passed"] is False
    assert values["layers"][0]["tower"] == "product"
    assert values["layers"][0]["layer"] in ("fusion.blocks.0.mlp_in", "fusion.blocks.0.mlp_out")
    assert "Layers that drift most" in (tmp_path / "parity" / HTML_FILE).read_text()
