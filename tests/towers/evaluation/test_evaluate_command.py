"""`shopwindow evaluate` over a real repository and index."""

from __future__ import annotations

import json
import re
import shutil
from math import log2
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from shopwindow.cli.main import main
from shopwindow.retrieval import InProcessPipeline
from shopwindow.retrieval.embedding.bundle import Bundle
from shopwindow.retrieval.embedding.calibration import Calibration
from shopwindow.retrieval.index.folder import read_index
from shopwindow.towers.evaluation.cut_off import NONSENSE
from shopwindow.towers.judging.judgements import read_judgements
from tests.conftest import CHECKPOINT
from tests.whole_server.other_towers import copied

SECTIONS = [
    *(
        "retrieval",
        "channels",
        "cut_off",
        "unseen",
        "visual",
        "same_style",
        "same_style_thresholds",
        "composed",
        "gates",
    )
]
PNG = b"\x89PNG\r\n\x1a\n"


def evaluate(repository: Path, index: Path, shop: Path, out: Path, *more: str) -> int:
    files = ("--queries", str(shop / "queries.parquet"), "--qrels", str(shop / "qrels.parquet"))
    return main(["evaluate", "--repository", str(repository), "--index", str(index), *files, "--out", str(out), *more])


def test_the_report_has_every_section_and_the_right_headline(
    repository: Path,
    index: Path,
    pipeline: InProcessPipeline,
    shop: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    more = ("--catalog", str(shop / "products.parquet"), "--unseen", "0.2")
    assert evaluate(repository, index, shop, tmp_path, *more) == 0
    judged = read_judgements(shop / "queries.parquet", shop / "qrels.parquet")
    folder = read_index(index)
    vectors, ids = folder.vectors, folder.product_ids
    gains = []
    for vector, relevant in zip(pipeline.embed_query(judged.queries), judged.relevant, strict=True):
        best = ids[np.argsort(-(vectors @ vector))[:10]].tolist()
        gain = sum(1 / log2(place + 2) for place, product in enumerate(best) if product in relevant)
        gains.append(gain / sum(1 / log2(place + 2) for place in range(min(10, len(relevant)))))

    report = json.loads((tmp_path / "report.json").read_text())
    assert report["headline"]["nDCG@10"] == pytest.approx(np.mean(gains), abs=1e-3)
    assert report["left_out"] == {}
    assert list(report["sections"]) == SECTIONS
    first = report["sections"]["retrieval"]["rows"][0]
    assert (first["slice"], first["system"]) == ("all", "towers")
    assert first["nDCG@10"]["mean"] == pytest.approx(report["headline"]["nDCG@10"])
    names = [row["products"] for row in report["sections"]["unseen"]["rows"]]
    assert names == ["never seen", "never seen", "seen", "seen"]
    whole = report["sections"]["visual"]["rows"][0]  # titles as they are, with photos, ranked exactly
    assert whole["nDCG@10"]["mean"] == pytest.approx(np.mean(gains), abs=1e-3)
    assert [row["direction"] for row in report["sections"]["same_style"]["rows"]] == (
        ["i-i", "i-t", "i-m", "t-i", "t-t", "t-m", "m-m"]
    )

    line, *scripts = capsys.readouterr().out.splitlines()
    figure = re.fullmatch(rf"{len(gains)} judged queries over 900 products: nDCG@10 (\S+), recall@100 \S+", line)
    assert figure and float(figure[1]) == pytest.approx(report["headline"]["nDCG@10"], abs=6e-5)
    chinese = [gain for gain, kind in zip(gains, judged.groups["kind"], strict=True) if kind == "chinese"]
    script = "script: Chinese, Japanese, Korean"
    assert report["headline"][f"nDCG@10, {script}"] == pytest.approx(np.mean(chinese), abs=1e-3)
    assert scripts[0].startswith(f"{script}: {len(chinese)} queries: nDCG@10 {np.mean(chinese):.3f}")
    assert scripts[1].startswith("script: others: ") and len(scripts) == 2
    text = (tmp_path / "report.md").read_text()
    assert all(f"## {report['sections'][name]['title']}" in text for name in SECTIONS)
    assert f"{first['nDCG@10']['mean']:.4f} [{first['nDCG@10']['low']:.4f}, " in text
    assert all((tmp_path / name).read_bytes().startswith(PNG) for name in ("directions.png", "gates.png"))
    assert set(report["files"]) == {file.name for file in tmp_path.iterdir()}
    assert report["measured"]["qrels"] == str(shop / "qrels.parquet")
    assert report["measured"]["towers"] == folder.manifest.tower_hash


def test_without_the_catalogue_its_sections_are_left_out_with_a_reason(
    repository: Path, index: Path, shop: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "gates.png").write_bytes(b"of an earlier run")
    nowhere = tmp_path / "nowhere.parquet"
    assert evaluate(repository, index, shop, tmp_path, "--catalog", str(nowhere)) == 0
    report = json.loads((tmp_path / "report.json").read_text())
    assert list(report["sections"]) == ["retrieval", "channels", "cut_off"]
    assert {row["system"] for row in report["sections"]["retrieval"]["rows"]} == {"towers"}
    assert {"unseen", "visual", "same_style", "composed", "gates"} < set(report["left_out"])
    names = "bm25, by category, unseen, visual, same_style, composed, gates"
    assert f"left out: {names}: catalog: {nowhere} does not exist\n" in capsys.readouterr().err
    assert not (tmp_path / "gates.png").exists()
    assert set(report["files"]) == {"report.json", "report.md"}


def test_a_column_missing_from_the_catalogue_is_named(
    repository: Path, index: Path, shop: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    more = ("--catalog", str(shop / "products.parquet"), "--colour-column", "hue")
    assert evaluate(repository, index, shop, tmp_path, *more) == 1
    error = capsys.readouterr().err
    assert "colour-column: must be a text column" in error and "'hue'" in error


def test_an_unseen_share_out_of_range_is_refused_before_anything_is_computed(
    repository: Path, index: Path, shop: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert evaluate(repository, index, shop, tmp_path, "--unseen", "1.5") == 1
    printed = capsys.readouterr()
    assert "below 1, got 1.5" in printed.err
    assert not printed.out


def test_calibrate_writes_what_the_report_shows_and_servers_then_take(
    repository: Path, index: Path, shop: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ours, checkpoint = copied(repository, tmp_path / "model_repository"), tmp_path / "checkpoint"
    shutil.copytree(CHECKPOINT, checkpoint)
    (checkpoint / "calibration.json").unlink()
    nowhere = ("--catalog", str(tmp_path / "nowhere.parquet"))
    out = tmp_path / "report"
    assert evaluate(ours, index, shop, out, *nowhere, "--calibrate", "--checkpoint", str(checkpoint)) == 0
    assert (
        f"wrote the calibration into {ours / 'bundle.json'} and {checkpoint / 'calibration.json'}: precision:X goes"
        in (capsys.readouterr().err)
    )
    bundle = Bundle.read(ours)
    assert bundle.calibration == Calibration.beside(checkpoint, bundle.tower_hash)
    assert bundle.calibration is not None
    judged = read_judgements(shop / "queries.parquet", shop / "qrels.parquet")
    assert (bundle.calibration.queries, bundle.calibration.products) == (len(judged.queries), 900)

    pipeline = InProcessPipeline(ours, index)
    rows = {
        row["min_score"]: row for row in json.loads((out / "report.json").read_text())["sections"]["cut_off"]["rows"]
    }
    found = pipeline.retrieve(judged.queries, top_k=900, min_score="precision:0.8")
    lowest = found.scores[np.isfinite(found.scores)].min()
    assert rows["precision:0.8"]["score"] <= lowest < rows["precision:0.8"]["score"] + 0.01
    right = [
        product in answers
        for ids, answers in zip(found.product_ids.tolist(), judged.relevant, strict=True)
        for product in ids
        if product >= 0
    ]
    assert np.mean(right) >= 0.8
    assert rows["precision:0.8"]["precision"] == pytest.approx(np.mean(right), abs=0.1)
    nonsense = pipeline.retrieve(NONSENSE, top_k=900).scores
    of_best = np.mean([(scores >= 0.85 * scores[0]).sum() for scores in nonsense])
    assert rows["best*0.85"]["nonsense: products"] == pytest.approx(of_best, abs=0.05)
    few = np.mean([(scores >= rows["precision:0.8"]["score"]).sum() for scores in nonsense])
    assert few < 1 < of_best


def test_a_calibration_is_not_written_for_other_towers_or_from_too_few_queries(
    repository: Path, index: Path, shop: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ours, checkpoint = copied(repository, tmp_path / "model_repository"), tmp_path / "checkpoint"
    before = (ours / "bundle.json").read_bytes()
    shutil.copytree(CHECKPOINT, checkpoint)
    (checkpoint / "tokenizer.json").write_text("{}")
    assert evaluate(ours, index, shop, tmp_path, "--calibrate", "--checkpoint", str(checkpoint)) == 1
    assert f"checkpoint: {checkpoint} holds towers " in capsys.readouterr().err
    some = tmp_path / "some"
    some.mkdir()
    shutil.copyfile(shop / "qrels.parquet", some / "qrels.parquet")
    pq.write_table(pq.read_table(shop / "queries.parquet").slice(0, 19), some / "queries.parquet")
    assert evaluate(ours, index, some, tmp_path, "--calibrate") == 1
    assert "calibrate: needs at least 20 judged queries, got 19" in capsys.readouterr().err
    assert (ours / "bundle.json").read_bytes() == before
