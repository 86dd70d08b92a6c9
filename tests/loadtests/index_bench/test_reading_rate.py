"""The comparison of formats reads the same products from each, and the made-up catalogue is read whole."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from shopwindow.indexing.catalogue.reading import Catalog
from shopwindow_loadtests.index_bench import reading_rate
from shopwindow_loadtests.index_bench.reading_rate import BEGIN, END, MADE_UP, main, write_formats


@pytest.fixture(scope="module")
def few(shop: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("rate") / "products.parquet"
    pq.write_table(pq.read_table(shop / "products.parquet").slice(0, 70), file)
    return file


def test_every_format_has_the_same_products(few: Path, tmp_path: Path) -> None:
    (expected,) = Catalog(few).read(100)
    for file in write_formats(few, tmp_path).values():
        (rows,) = Catalog(file).read(100)
        assert (rows.ids, rows.titles, rows.images) == (expected.ids, expected.titles, expected.images)
        # Where the photos are in files, their paths are kept to be shown.
        shared = rows.attributes.select(expected.attributes.column_names)
        assert shared.to_pylist() == expected.attributes.to_pylist()


@pytest.mark.parametrize(("slower", "status"), [(1.02, 0), (2.0, 1)])
def test_the_figures_are_judged_and_written(
    few: Path, repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, slower: float, status: int
) -> None:
    rates = {"parquet": 1e3, "csv": 1e3 / slower, "jsonl": 1e3}
    monkeypatch.setattr(reading_rate, "compare", lambda *_: [rates] * 3)
    monkeypatch.setattr(reading_rate, "embedding_seconds", lambda *_: 1e-3)
    (tmp_path / "page.md").write_text(f"{BEGIN}\n{END}\n")
    arguments = ["--catalog", str(few), "--repository", str(repository), "--rows", "200", "400"]
    assert main([*arguments, "--document", str(tmp_path / "page.md")]) == status
    text = (tmp_path / "page.md").read_text()
    more = slower - 1
    assert f"| csv | {1e3 / slower:,.0f} | {1e3 * more:+.0f} | {more:+.1%} | {more / 2:+.1%} |" in text
    assert "PASS: memory grows 1." in text


def test_the_made_up_catalogue_has_what_a_shop_s_export_has(tmp_path: Path) -> None:
    rows = list(reading_rate.made_up_rows(50))
    assert rows == list(reading_rate.made_up_rows(50))
    assert len({row["sku"] for row in rows}) == 50
    assert MADE_UP.named.keys() <= rows[0].keys()
    assert any("|" in row["sizes"] for row in rows)
