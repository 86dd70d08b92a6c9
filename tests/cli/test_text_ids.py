"""Commands that name products, on a shop whose ids are texts. They say the same as for whole numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from shopwindow.cli.main import main
from shopwindow.indexing.full_build.run import build_index

PRODUCTS = 150
_IDS = ("product_id", "trigger_id", "recall_id")


@pytest.fixture(scope="module")
def text_shop(shop: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shop's files with `sku-17` in place of 17, and as many products as evaluate quickly."""
    folder = tmp_path_factory.mktemp("texts")
    for file in shop.glob("*.parquet"):
        table = pq.read_table(file)
        if file.stem == "products":
            table = table.slice(0, PRODUCTS)
        for name in set(_IDS) & set(table.column_names):
            skus = pa.array([f"sku-{one}" for one in table[name].to_pylist()])
            table = table.set_column(table.column_names.index(name), name, skus)
        pq.write_table(table, folder / file.name)
    return folder


@pytest.fixture(scope="module")
def indexes(shop: Path, text_shop: Path, repository: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Index homes of the same products, with whole numbers and with texts as ids."""
    folder = tmp_path_factory.mktemp("indexes")
    pq.write_table(pq.read_table(shop / "products.parquet").slice(0, PRODUCTS), folder / "whole.parquet")
    build_index(folder / "whole.parquet", repository, folder / "whole", progress=False)
    build_index(text_shop / "products.parquet", repository, folder / "texts", progress=False)
    return {"whole": folder / "whole", "texts": folder / "texts"}


def run(*arguments: Any) -> int:
    return main(list(map(str, arguments)))


def test_duplicates_and_pairs_are_named_by_text(
    indexes: dict[str, Path], text_shop: Path, shop: Path, tmp_path: Path
) -> None:
    found = {}
    for kind, files in (("whole", shop), ("texts", text_shop)):
        options = ["--index", indexes[kind], "--pairs", files / "same_style.parquet", "--threshold", 0.9]
        assert run("duplicates", *options, "--out", tmp_path / kind) == 0
        found[kind] = pq.read_table(tmp_path / kind / "duplicates.parquet").to_pydict()
    assert found["texts"]["product_id"] == [f"sku-{one}" for one in found["whole"]["product_id"]]
    assert found["texts"]["group"] == found["whole"]["group"] and found["texts"]["group"]
    assert found["texts"]["product_id"][0] in (tmp_path / "texts" / "duplicates.html").read_text()


def test_mined_pairs_are_named_by_text(text_shop: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--catalog", text_shop / "products.parquet", "--clicks", text_shop / "clicks.parquet"]
    assert run("mine", *options, "--category-column", "article", "--out", tmp_path / "pairs.parquet") == 0
    known = set(pq.read_table(text_shop / "products.parquet")["product_id"].to_pylist())
    pairs = pq.read_table(tmp_path / "pairs.parquet")
    assert pairs.num_rows and set(pairs["trigger_id"].to_pylist()) <= known >= set(pairs["recall_id"].to_pylist())
    assert "that the catalogue lacks or that are held out, such as 'sku-" in capsys.readouterr().err


def test_judgements_by_text_give_the_same_figures(
    indexes: dict[str, Path],
    text_shop: Path,
    shop: Path,
    repository: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    headlines = []
    for kind, files in (("whole", shop), ("texts", text_shop)):
        options = ["--index", indexes[kind], "--repository", repository, "--out", tmp_path / kind]
        judged = ["--queries", files / "queries.parquet", "--qrels", files / "qrels.parquet"]
        assert run("evaluate", *options, *judged, "--catalog", files / "products.parquet") == 0
        printed = capsys.readouterr()
        headlines.append(printed.out)
        assert ("such as 'sku-" in printed.err) == (kind == "texts")
    assert headlines[0] == headlines[1] and "nDCG@10" in headlines[0]
    mixed = ["--queries", shop / "queries.parquet", "--qrels", shop / "qrels.parquet"]
    assert run("evaluate", "--index", indexes["texts"], "--repository", repository, *mixed) == 1
    assert "qrels: column 'product_id' holds whole numbers, such as" in capsys.readouterr().err
