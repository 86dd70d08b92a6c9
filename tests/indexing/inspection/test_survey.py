"""A survey says of every column and row what indexing makes of it, before anything is embedded."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from shopwindow.indexing.catalogue.options import CatalogOptions
from shopwindow.indexing.catalogue.reading import Catalog
from shopwindow.indexing.errors import CatalogError
from shopwindow.indexing.full_build.run import build_index
from shopwindow.indexing.inspection.outcome import read_as_proposed
from shopwindow.indexing.inspection.survey import Survey, survey
from shopwindow.indexing.inspection.table import survey_table
from shopwindow.retrieval.index.home import resolve_index

ROWS: list[dict[str, Any]] = [
    {"product_id": 7, "title": "red mug", "brand": "Kesto", "price": 1.5, "stock": "3", "sold": True},
    {"product_id": 8, "title": "blue mug", "brand": None, "price": 2.5, "stock": "n/a", "sold": None},
    {"product_id": 7, "title": "green mug", "brand": "Kesto", "price": None, "stock": "5", "sold": False},
    {"product_id": 9, "title": None, "brand": "Kesto", "price": 4.0, "stock": "7", "sold": True},
    {"product_id": None, "title": "grey mug", "brand": "Nordvale", "price": 5.0, "stock": None, "sold": True},
    {"product_id": 10, "title": "tea pot", "brand": "Kesto", "price": 6.0, "stock": "2", "sold": True},
]


def write(folder: Path, name: str, rows: list[dict[str, Any]]) -> Path:
    file = folder / name
    if file.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), file)
    elif file.suffix == ".csv":
        with file.open("w", newline="") as opened:
            writer = csv.DictWriter(opened, rows[0])
            writer.writeheader()
            writer.writerows(rows)
    else:
        file.write_text("\n".join(map(json.dumps, rows)))
    return file


def surveyed(*files: Path) -> Survey:
    return survey(Catalog(files), progress=False)


@pytest.mark.parametrize("name", ["a.parquet", "a.csv", "a.jsonl"])
def test_columns_and_rows_are_counted_in_every_format(tmp_path: Path, name: str) -> None:
    found = surveyed(write(tmp_path, name, ROWS))
    assert (found.rows, found.products) == (6, 3)
    assert {one.name: (one.becomes, one.type, one.missing) for one in found.columns} == {
        "product_id": ("id", "whole number", 1),
        "title": ("title", "text", 1),
        "brand": ("attribute", "text", 1),
        "price": ("attribute", "number", 1),
        "stock": ("attribute", "text", 1),
        "sold": ("attribute", "true or false", 1),
    }
    assert found.columns[2].examples == ("Kesto", "Nordvale")
    reasons = {one.reason: (one.rows, one.first, one.product_id) for one in found.left_out}
    assert reasons.pop("product_id: appears twice") == (1, 2, 7)
    assert reasons.pop("neither title nor photo") == (1, 3, 9)
    assert list(reasons.values()) == [(1, 4, None)]
    (hint,) = found.hints
    said = "of {} has 'n/a'" if name == "a.csv" else "{} says so"
    assert "'stock' is text" in hint and (said.format(tmp_path / name) in hint or name == "a.jsonl")
    table = survey_table(found).splitlines()
    assert table[0] == f"{tmp_path / name}: 6 rows, 3 to index"
    assert any(line.split() == ["brand", "attribute", "text", "1", "Kesto,", "Nordvale"] for line in table)


def test_a_build_leaves_out_what_the_survey_says_and_reports_it(tmp_path: Path, repository: Path) -> None:
    files = [write(tmp_path, "a.csv", ROWS), write(tmp_path, "b.jsonl", [ROWS[0] | {"colour": "red"}, *ROWS[5:]])]
    said: list[str] = []
    manifest = build_index(files, repository, tmp_path / "index", progress=False, say=said.append)
    found = surveyed(*files)
    assert said[0] == survey_table(found)
    assert found.products == manifest.count == 3
    folder = resolve_index(tmp_path / "index")
    with (folder / "skipped.csv").open() as opened:
        rows = list(csv.DictReader(opened))
    report = json.loads((folder / "report.json").read_text())
    assert (report["command"], report["generation"], report["rows"], report["products"]) == ("index", 1, 8, 3)
    assert report["catalogue"] == json.loads(json.dumps(found.to_json()))
    assert sum(one["rows"] for one in report["left_out"]) == sum(one.rows for one in found.left_out) == len(rows) == 5
    twice = Counter("twice" in row["reason"] for row in rows)[True]
    assert [one["rows"] for one in report["left_out"] if "twice" in one["reason"]] == [twice] == [3]
    assert set(report["files"]) <= {file.name for file in folder.iterdir()}


@pytest.mark.parametrize("kind", ["bytes", "struct"])
def test_photos_are_counted_without_reading_them(tmp_path: Path, kind: str) -> None:
    photos: list[Any] = [b"a" * 99, None, b"b" * 99]
    if kind == "struct":
        photos = [None if photo is None else {"bytes": photo} for photo in photos]
    pq.write_table(pa.table({"product_id": [1, 2, 3], "image": photos}), tmp_path / "a.parquet")
    found = surveyed(tmp_path / "a.parquet")
    assert [(one.becomes, one.type, one.missing) for one in found.columns[1:]] == [("photo", "bytes", 1)]


@pytest.mark.parametrize(
    "rows, reason",
    [
        ([], "0 rows"),
        ([{"product_id": -1, "title": "mug"}, {"product_id": None, "title": "cup"}], "product_id: must be"),
        ([{"product_id": 1, "title": ""}], "neither title nor photo"),
    ],
)
def test_what_cannot_be_indexed_is_refused_before_the_towers_are_opened(
    tmp_path: Path, rows: list[dict[str, Any]], reason: str
) -> None:
    file = tmp_path / "a.parquet"
    schema = pa.schema({"product_id": pa.int64(), "title": pa.string()})
    pq.write_table(pa.Table.from_pylist(rows, schema), file)
    with pytest.raises(CatalogError, match=reason):
        build_index(file, tmp_path / "no repository", tmp_path / "index", progress=False)


def test_a_title_that_nobody_named_is_pointed_out(tmp_path: Path) -> None:
    rows = [{"product_id": n, "image": b"a", "name": "mug", "price": "₹1,299.00", "sizes": "S|M"} for n in range(3)]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "a.parquet")
    assert [hint.partition(": ")[2] for hint in surveyed(tmp_path / "a.parquet").hints] == [
        "--map title=name",
        "--number price",
        "--list 'sizes=|'",
    ]


def test_no_model_is_loaded(tmp_path: Path) -> None:
    file = write(tmp_path, "a.csv", ROWS)
    code = (
        f"import sys; from shopwindow.cli.main import main; assert main(['inspect', {str(file)!r}]) == 0;"
        "print({'torch', 'onnxruntime', 'faiss'} & {*sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("set()\n")
    assert f"next:\n  shopwindow index --catalog {file}\n" in done.stdout


def test_a_proposal_that_a_later_value_does_not_fit_is_not_taken(tmp_path: Path) -> None:
    rows = [
        {"sku": f"A{n}", "name": "mug", "price": f"₹{n % 90 + 1},200.00", "made": "2026-01-02"} for n in range(1, 1_500)
    ]
    file = write(tmp_path, "a.csv", [*rows, {**rows[0], "sku": "B", "price": "call us"}])
    outcome = read_as_proposed([file], CatalogOptions(), progress=False)
    assert outcome.proposal.options == ["--map", "product_id=sku,title=name"]
    assert "row 1499" in outcome.not_taken and "'call us'" in outcome.not_taken
    assert not outcome.problem and outcome.found is not None
    assert [(one.name, one.type) for one in outcome.found.columns] == [
        ("sku", "text"),
        ("name", "text"),
        ("price", "text"),
        ("made", "text"),
    ]


def test_a_long_id_is_cut_in_the_table(tmp_path: Path) -> None:
    found = surveyed(
        write(tmp_path, "a.jsonl", [{"product_id": "x" * 600, "title": "mug"}, {"product_id": "a", "title": "cup"}])
    )
    (line,) = (line for line in survey_table(found).splitlines() if line.startswith("left out"))
    assert f"1 row (row 0, id {'x' * 60}…): product_id: must be 1 to 512 bytes" in line and len(line) < 300


def test_no_word_of_arrow_is_shown(tmp_path: Path) -> None:
    kinds: dict[str, pa.Array] = {
        "hash": pa.array([b"0123456789abcdef"], pa.binary(16)),
        "maker": pa.array([{"name": "Kesto"}]),
        "opens": pa.array([3_600], pa.time32("s")),
        "sides": pa.array([[[1.5]]]),
        "terms": pa.array([[("a", 1)]], pa.map_(pa.string(), pa.int64())),
    }
    pq.write_table(pa.table({"product_id": [1], "title": ["mug"], **kinds}), tmp_path / "a.parquet")
    found = surveyed(tmp_path / "a.parquet")
    assert {one.name: one.type for one in found.columns if one.becomes == "left out"} == {
        "hash": "it holds 16 bytes each",
        "maker": "it holds objects",
        "opens": "it holds times of day",
        "sides": "it holds lists of lists of floating-point numbers",
        "terms": "it holds maps",
    }
    nested = [{"product_id": 1, "title": "mug", "maker": {"name": "Kesto"}}]
    assert surveyed(write(tmp_path, "a.jsonl", nested)).columns[-1].type == "it holds objects or lists of lists"
