"""`shopwindow evaluate` over a real repository and index."""

from __future__ import annotations

import json
import re
from math import log2
from pathlib import Path

import numpy as np
import pytest

from shopwindow.cli.main import main
from shopwindow.retrieval import InProcessPipeline
from shopwindow.retrieval.index.folder import read_index
from shopwindow.towers.judging.judgements import read_judgements

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
