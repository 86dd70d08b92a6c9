"""A shop's CSV with SKUs, prices as text and paths of photos is evaluated, mined and trained on as equal parquet is."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from shopwindow.cli.main import main
from shopwindow.demo_shop.as_csv import write_csv_shop
from shopwindow.towers.architecture.checkpoint import hash_checkpoint
from tests.towers.small import SIZES

PRODUCTS = 60
MAP = ("--map", "product_id=sku,title=name,image=photo_path")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shop's CSV, the same products as parquet, made by other means, and queries, judgements and clicks."""
    folder = tmp_path_factory.mktemp("shop_files")
    with write_csv_shop(folder, products=PRODUCTS, progress=False).open(encoding="utf-8", newline="") as opened:
        rows = list(csv.DictReader(opened))
    skus, titles = [row["sku"] for row in rows], [row["name"] for row in rows]
    images = [(folder / row["photo_path"]).read_bytes() for row in rows]
    colours = {"brand": [row["brand"] for row in rows], "colour": [row["colour"] for row in rows]}
    tables = {
        "equal": {"product_id": skus, "title": titles, "image": images, **colours},
        "queries": {"query_id": range(PRODUCTS), "text": [" ".join(title.split()[-2:]) for title in titles]},
        "qrels": {"query_id": range(PRODUCTS), "product_id": skus, "relevance": [1] * PRODUCTS},
        # Under each query a product and its neighbour, so that pairs can be mined.
        "clicks": {"query": [t.split()[-1] for t in titles for _ in "ab"], "product_id": [*skus, *skus[1:], skus[0]]},
    }
    for name, columns in tables.items():
        pq.write_table(pa.table({name: list(values) for name, values in columns.items()}), folder / f"{name}.parquet")
    return folder


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep copies out of the user's cache folder."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def run(*words: Any) -> int:
    return main(list(map(str, words)))


def test_an_index_of_a_csv_is_evaluated_with_the_options_that_it_keeps(
    files: Path, repository: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    index, shop = tmp_path / "index", files / "products.csv"
    where = ("--repository", repository)
    reading = (*MAP, "--number", "price", "--list", "sizes=|")
    assert run("index", "--catalog", shop, *reading, *where, "--out", index) == 0
    capsys.readouterr()
    judged = ("--queries", files / "queries.parquet", "--qrels", files / "qrels.parquet", "--index", index, *where)
    reports, printed = {}, {}
    for catalog in (shop, files / "equal.parquet"):
        more = ("--unseen", "0.3", "--category-column", "brand", "--out", tmp_path / catalog.stem)
        assert run("evaluate", "--catalog", catalog, *judged, *more) == 0
        printed[catalog.stem] = capsys.readouterr()
        reports[catalog.stem] = json.loads((tmp_path / catalog.stem / "report.json").read_text())
    assert printed["products"].out == printed["equal"].out and "nDCG@10" in printed["equal"].out
    assert reports["products"]["sections"] == reports["equal"]["sections"]
    assert {"visual", "unseen", "gates"} < set(reports["equal"]["sections"])
    assert reports["products"]["measured"]["catalog"] == str(shop)
    assert f"catalog: {shop} is read from the copy {tmp_path / 'cache'}" in printed["products"].err
    assert "copy" not in printed["equal"].err
    assert run("evaluate", "--catalog", shop, *judged, "--map", "title=label") == 1
    assert "--map title=label: there is no column 'label' in" in capsys.readouterr().err


def test_pairs_are_mined_from_a_csv_without_its_photos(files: Path, tmp_path: Path) -> None:
    rules = ("--category-column", "colour", "--clicks", files / "clicks.parquet", "--min-queries", 1, "--relevance", 0)
    assert run("mine", "--catalog", files / "equal.parquet", *rules, "--out", tmp_path / "equal.parquet") == 0
    web = ("--map", "product_id=sku,title=name,image=brand")  # no photo can be read from there
    assert run("mine", "--catalog", files / "products.csv", *web, *rules, "--out", tmp_path / "csv.parquet") == 0
    pairs = pq.read_table(tmp_path / "csv.parquet")
    assert pairs.num_rows and pairs.equals(pq.read_table(tmp_path / "equal.parquet"))


def test_towers_learn_the_same_from_a_csv(files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    training = {"steps": 1, "batch_size": 8, "hold_out": 0.1}
    config = tmp_path / "config.json"
    config.write_text(json.dumps({"vocab_size": 300, "towers": SIZES, "training": training}))
    common = ("--config", config, "--clicks", files / "clicks.parquet")
    assert run("pretrain", *common, "--catalog", files / "products.csv", "--out", tmp_path / "none") == 1
    assert "needs a column 'product_id'; it has ['brand', 'colour', 'name'" in (said := capsys.readouterr().err)
    assert "--map product_id=COLUMN,title=COLUMN,image=COLUMN" in said
    hashes = []
    for catalog in (("equal.parquet",), ("products.csv", *MAP)):
        out = tmp_path / Path(catalog[0]).stem
        assert run("pretrain", *common, "--catalog", files / catalog[0], *catalog[1:], "--out", out) == 0
        hashes.append(hash_checkpoint(out))
    assert hashes[0] == hashes[1]
