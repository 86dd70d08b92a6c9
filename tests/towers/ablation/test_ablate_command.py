"""`shopwindow ablate` on a catalogue of coloured squares: trained, scored, kept, reported."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from shopwindow.cli.main import main
from shopwindow.towers.ablation.report import make_tables, write_ablation
from shopwindow.towers.ablation.run import Results
from shopwindow.towers.ablation.spec import Variant
from shopwindow.towers.ablation.train import once
from shopwindow.towers.architecture.checkpoint import hash_checkpoint
from shopwindow.towers.architecture.config import read_json
from shopwindow.towers.judging.metrics import Estimate
from tests.towers.small import SIZES, write_catalog, write_clicks

PNG = b"\x89PNG\r\n\x1a\n"


def ablate(folder: Path, clicks: Path, *more: str) -> int:
    training = {"steps": 9, "batch_size": 8, "hold_out": 0.3, "same_style": 0.5, "pair_batch_size": 4, "locality": 0.0}
    settings = {"vocab_size": 60, "towers": SIZES, "training": training}
    # The second variant gives pairs no weight, so it must be trained without them.
    variants = {"full": {}, "no same-style losses, seed 8": {"training": {"same_style": 0.0, "seed": 8}}}
    (folder / "spec.json").write_text(
        json.dumps({"base": settings, "changes": {"training": {"steps": 3}}, "variants": variants})
    )
    queries = {"query_id": [1, 2, 3], "text": ["red mug", "lamp", "blue chair"]}
    pq.write_table(pa.table(queries), folder / "queries.parquet")
    qrels = {"query_id": [1, 2, 2, 3], "product_id": [100, 101, 105, 110], "relevance": [1, 1, 1, 1]}
    pq.write_table(pa.table(qrels), folder / "qrels.parquet")
    pairs = {"trigger_id": list(range(100, 118, 2)), "recall_id": list(range(101, 119, 2))}
    pq.write_table(pa.table(pairs), folder / "pairs.parquet")
    files = {
        "spec": folder / "spec.json",
        "catalog": write_catalog(folder),
        "clicks": clicks,
        "queries": folder / "queries.parquet",
        "qrels": folder / "qrels.parquet",
        "pairs": folder / "pairs.parquet",
        "out": folder / "out",
    }
    return main(["ablate", *(part for name, file in files.items() for part in (f"--{name}", str(file))), *more])


def test_variants_are_trained_once_and_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    clicks, out = write_clicks(tmp_path), tmp_path / "out"
    assert ablate(tmp_path, clicks) == 0
    lines = capsys.readouterr().out.splitlines()
    names = ["full", "no same-style losses, seed 8"]
    assert [line.split(": ")[0] for line in lines] == names
    hashes = [hash_checkpoint(out / name / "checkpoint") for name in names]
    assert hashes[0] != hashes[1]
    steps = [read_json(out / name / "config.json")["training"]["steps"] for name in names]
    assert steps == [3, 3]

    report = read_json(out / "ablation.json")
    assert list(report["measures"])[:3] == [
        "nDCG@10, all products",
        "recall@100, all products",
        "nDCG@10, unseen products",
    ]
    for measure, table in report["measures"].items():
        scores = [np.load(out / name / "scores.npz")[measure] for name in names]
        assert [row["mean"]["mean"] for row in table["rows"]] == pytest.approx([np.mean(s) for s in scores])
        assert table["rows"][0]["difference"] is None
        assert table["rows"][1]["difference"]["mean"] == pytest.approx(np.mean(scores[1] - scores[0]))
    assert f"| {names[1]} | " in (out / "ablation.md").read_text()
    assert (out / "ablation.png").read_bytes().startswith(PNG)

    written = [file.stat().st_mtime_ns for name in names for file in sorted((out / name).rglob("*"))]
    assert ablate(tmp_path, clicks, "--report", str(tmp_path / "docs")) == 0
    assert capsys.readouterr().out.splitlines() == [f"{line} (kept)" for line in lines]
    assert [file.stat().st_mtime_ns for name in names for file in sorted((out / name).rglob("*"))] == written
    for name in ("ablation.json", "ablation.md", "ablation.png"):
        assert (tmp_path / "docs" / name).read_bytes() == (out / name).read_bytes()


def test_a_failed_training_is_named_and_not_recorded_as_done(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    unknown = tmp_path / "unknown.parquet"
    pq.write_table(pa.table({"query": ["mug"], "product_id": [7]}), unknown)
    assert ablate(tmp_path, unknown) == 1
    assert "variant 'full': training ended with code 1" in capsys.readouterr().err
    assert not (tmp_path / "out" / "full" / "trained.json").exists()
    assert not (tmp_path / "out" / "ablation.md").exists()


def test_work_is_done_again_when_its_inputs_change_or_it_was_not_finished(tmp_path: Path) -> None:
    record, done = tmp_path / "done.json", []
    settings: dict[str, Any] = {"sizes": (1, 2), "seed": 7}
    assert once(record, settings, lambda: done.append("first"))
    assert not once(record, settings, lambda: done.append("again"))
    assert once(record, {**settings, "seed": 8}, lambda: done.append("another seed"))

    def fail() -> None:
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        once(record, settings, fail)
    assert once(record, {**settings, "seed": 8}, lambda: done.append("after the failure"))
    assert done == ["first", "another seed", "after the failure"]


def test_differences_are_paired_and_relative_to_compare_with(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    results: Results = {name: {"MRR": rng.random(40)} for name in ("full", "a", "b")}
    against = {"full": "full", "a": "full", "b": "a"}
    variants = [Variant(name=n, settings={}, processes=1, compare_with=other) for n, other in against.items()]
    tables = make_tables(variants, results, seed=3)
    full, first, second = tables["MRR"].rows
    assert full["difference"] is None
    assert (first["compared with"], second["compared with"]) == ("full", "a")
    gaps = results["b"]["MRR"] - results["a"]["MRR"]
    draws = np.random.default_rng(3)
    means = [gaps[draws.integers(0, 40, 40)].mean() for _ in range(1_000)]
    low, high = np.quantile(means, [0.025, 0.975])
    gap = second["difference"]
    assert isinstance(gap, Estimate)
    assert (gap.mean, gap.low, gap.high) == pytest.approx((gaps.mean(), low, high))
    write_ablation([tmp_path], tables)
    assert f"| b | {results['b']['MRR'].mean():.4f} [" in (tmp_path / "ablation.md").read_text()
    assert f"| a | {gaps.mean():.4f} [{low:.4f}, {high:.4f}] |" in (tmp_path / "ablation.md").read_text()


def test_without_comparisons_there_is_no_picture(tmp_path: Path) -> None:
    (tmp_path / "ablation.png").write_bytes(b"of an earlier run")
    alone = [Variant(name="full", settings={}, processes=1, compare_with="full")]
    files = write_ablation([tmp_path], make_tables(alone, {"full": {"MRR": np.array([0.5, 1.0])}}))
    assert [file.name for file in files] == ["ablation.json", "ablation.md"]
    assert not (tmp_path / "ablation.png").exists()
