"""The comparison of the embedding stage with the towers: it embeds the same products, and fails below its limit."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from shopwindow.indexing.catalogue.reading import Catalog
from shopwindow.retrieval import InProcessPipeline
from shopwindow_loadtests.index_bench import embedding_rate
from shopwindow_loadtests.index_bench.embedding_rate import compare, main, read_products


@pytest.fixture(scope="module")
def few(shop: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("rate") / "products.parquet"
    pq.write_table(pq.read_table(shop / "products.parquet").slice(0, 70), file)
    return file


def test_both_embed_the_same_products(few: Path, repository: Path) -> None:
    table = pq.read_table(few)
    calls = read_products(Catalog(few))
    assert [title for titles, _ in calls for title in titles] == [title or "" for title in table["title"].to_pylist()]
    assert [photo for _, photos in calls for photo in photos] == [photo or b"" for photo in table["image"].to_pylist()]
    [(stage, towers)] = compare(Catalog(few), InProcessPipeline(repository), 1)
    assert min(stage, towers) > 0


@pytest.mark.parametrize(("rates", "status"), [([(95.0, 100.0)] * 3, 0), ([(95.0, 100.0), (80.0, 100.0)] * 2, 1)])
def test_less_than_nine_tenths_of_the_towers_rate_fails(
    rates: list[tuple[float, float]],
    status: int,
    few: Path,
    repository: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(embedding_rate, "compare", lambda *_: rates)
    assert main(["--catalog", str(few), "--repository", str(repository)]) == status
    assert capsys.readouterr().out.splitlines()[-1].startswith("FAIL" if status else "PASS")
