"""The index benchmark at a size that takes seconds: its figures, its document, and a second run that reuses results."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from shopwindow_loadtests.index_bench.__main__ import main, measure
from shopwindow_loadtests.index_bench.made_up_vectors import Corpus
from shopwindow_loadtests.index_bench.report import BEGIN, END

RECIPES = ["--recipes", "ivf", "ivf-sq8"]


def run(folder: Path, *arguments: str) -> int:
    """Run the command over two small sizes."""
    document = folder / "benchmarks.md"
    if not document.exists():
        document.write_text(f"# Before\n\n{BEGIN}\n{END}\n\nAfter.\n")
    places = ["--out", str(folder / "bench"), "--document", str(document)]
    return main([*places, "--sizes", "2000", "4000", *RECIPES, *arguments])


def test_a_second_run_measures_nothing_again_and_writes_the_same(tmp_path: Path) -> None:
    code = run(tmp_path)
    first, entries = (tmp_path / "benchmarks.md").read_text(), sorted((tmp_path / "bench").glob("*.json"))
    assert len(entries) == 4
    for vectors in (tmp_path / "bench").glob("corpus-*"):  # without these nothing can be measured
        for file in vectors.iterdir():
            file.unlink()
    assert run(tmp_path) == code
    assert (tmp_path / "benchmarks.md").read_text() == first
    assert first.startswith("# Before")
    assert first.endswith("After.\n")
    assert (tmp_path / "benchmarks" / "index_latency.png").stat().st_size > 1_000
    assert ("PASS" in first) == (code == 0)


def test_figures_describe_the_index_and_its_answers(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((3_000, 32), dtype=np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    best = np.sort(vectors[:60] @ vectors.T, axis=1)[:, ::-1][:, :100]
    corpus = Corpus(vectors=vectors, queries=vectors[:60], best=best)
    figures = measure(corpus, "ivf", tmp_path, depths=(10, 1_000), timed=40)
    assert figures.recall >= 0.93  # calibrated to 0.96 on other queries
    assert figures.vector_bytes == pytest.approx((tmp_path / "ivf-3000.faiss").stat().st_size / 3_000, abs=0.1)
    assert list(figures.p50_ms) == ["10", "100", "1000"]
    assert all(figures.p50_ms[k] <= figures.p99_ms[k] for k in figures.p50_ms)
    # A search scores every centroid, and every vector in the lists that it visits.
    lists = int(figures.factory.removeprefix("IVF").partition(",")[0])
    assert lists < figures.scored <= lists + 3_000
    flat = measure(corpus, "flat", tmp_path, timed=20)
    assert (flat.recall, flat.scored) == (1.0, 3_000)


def test_a_document_without_markers_is_refused(tmp_path: Path) -> None:
    (tmp_path / "benchmarks.md").write_text("nothing\n")
    (tmp_path / "bench").mkdir()
    entry = {"kind": "ivf", "rows": 2000, "factory": "IVF4,Flat", "breadth": 1, "recall": 1.0, "p50_ms": {"100": 1.0}}
    entry |= {"p99_ms": {"100": 1.0}, "vector_bytes": 520.0, "build_rate": 1, "scored": 9, "scored_ns": 1.0}
    for kind in ("ivf", "ivf-sq8"):
        for rows in (2000, 4000):
            (tmp_path / "bench" / f"{kind}-{rows}.json").write_text(json.dumps({**entry, "kind": kind, "rows": rows}))
    with pytest.raises(ValueError, match="needs the lines <!-- bench-index: begin -->"):
        run(tmp_path)
