"""shopwindow duplicates on a small index: its files, what it prints, and its page."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from shopwindow.cli.main import main
from shopwindow.retrieval.index.folder import read_index, write_index
from shopwindow.retrieval.index.home import IndexHome
from tests.cli.command_line import Page
from tests.retrieval.index_parts import make_index

ROWS = 300
THRESHOLD = 0.92
# Rows 290 to 299 repeat 0 to 9: up to 295 at the same supplier, the others elsewhere.
SUPPLIERS = [None if row % 50 == 7 else f"supplier {(row % 290 if row < 296 else row) % 6}" for row in range(ROWS)]


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Two files, the second in the layout of Hugging Face, as a manifest names them."""
    folder = tmp_path_factory.mktemp("catalog")
    ids = make_index("flat", ROWS).product_ids
    photos = [b"photo of %d" % product for product in ids]
    pq.write_table(pa.table({"product_id": ids[:100], "image": photos[:100]}), folder / "a.parquet")
    structs = [{"bytes": photo, "path": None} for photo in photos[100:]]
    pq.write_table(pa.table({"product_id": ids[100:], "image": structs}), folder / "b.parquet")
    return os.pathsep.join(str(folder / name) for name in ("a.parquet", "b.parquet"))


@pytest.fixture(scope="module")
def index(catalog: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An index home without towers. Its vectors are in clusters, so that some products are near others."""
    home = IndexHome(tmp_path_factory.mktemp("small") / "index")
    folder = make_index("flat", ROWS, catalog=catalog)
    write_index(
        home.building,
        manifest=folder.manifest,
        vectors=folder.vectors,
        product_ids=folder.product_ids,
        attributes=folder.attributes.append_column("supplier", pa.array(SUPPLIERS)),
        engine=folder.engine,
        skipped="",
    )
    home.publish(home.building, 1)
    return home.path


@pytest.fixture(scope="module")
def ids(index: Path) -> np.ndarray:
    return read_index(index).product_ids


def linked_pairs(index: Path, suppliers: Sequence[str | None], across: bool) -> set[tuple[int, int]]:
    """Return every pair of rows that must be in the same group."""
    vectors = read_index(index).vectors.astype(np.float64)
    return {
        (one, other)
        for one in range(ROWS)
        for other in range(one + 1, ROWS)
        if suppliers[one] and suppliers[other] and (suppliers[one] != suppliers[other]) == across
        if vectors[one] @ vectors[other] >= THRESHOLD
    }


def duplicates(*arguments: object) -> int:
    return main(["duplicates", *map(str, arguments)])


@pytest.mark.parametrize("across", [False, True])
def test_the_files_hold_the_linked_products_and_no_others(
    across: bool, index: Path, ids: np.ndarray, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pairs = linked_pairs(index, SUPPLIERS, across)
    known = [*sorted(pairs)[:3], (3, 9)]  # the labelled pairs; the last one cannot be found
    known = [(one, other) for one, other in known if (SUPPLIERS[one] != SUPPLIERS[other]) == across]
    file = tmp_path / "pairs.parquet"
    labelled = {"trigger_id": [ids[other] for _, other in known], "recall_id": [ids[one] for one, _ in known]}
    pq.write_table(pa.table(labelled), file)
    options = ["--index", index, "--supplier-column", "supplier", "--threshold", THRESHOLD, "--pairs", file]
    assert duplicates(*options, "--out", tmp_path, *(["--across"] if across else [])) == 0
    printed = capsys.readouterr().out

    table = pq.read_table(tmp_path / "duplicates.parquet")
    assert table.column_names == ["group", "product_id", "score", "supplier"]
    groups: dict[int, list[dict[str, Any]]] = {}
    for row in table.to_pylist():
        groups.setdefault(row["group"], []).append(row)
    group_of = dict(zip(table["product_id"].to_pylist(), table["group"].to_pylist(), strict=True))
    assert len(pairs) >= 3
    assert all(group_of[ids[one]] == group_of[ids[other]] for one, other in pairs)
    assert set(group_of) == {ids[row] for pair in pairs for row in pair}
    supplier_of = dict(zip(ids.tolist(), SUPPLIERS, strict=True))
    for rows in groups.values():
        assert [row["supplier"] for row in rows] == [supplier_of[row["product_id"]] for row in rows]
        assert (len({row["supplier"] for row in rows}) > 1) == across
        assert rows[0]["score"] == pytest.approx(1.0, abs=1e-5)

    summary = json.loads((tmp_path / "duplicates.json").read_text())
    assert (summary["groups"], summary["products_in_groups"]) == (len(groups), len(group_of))
    assert (summary["products"], summary["left_out"], summary["suppliers"]) == (294, 6, 6)
    assert sum(int(size) * count for size, count in summary["groups_by_size"].items()) == len(group_of)
    right = sum(group_of.get(ids[one], -1) == group_of.get(ids[other], -2) for one, other in known)
    assert (summary["pairs"]["labelled"], summary["pairs"]["right"]) == (len(known), right)
    assert 0 < right <= summary["pairs"]["judged"]

    assert "compared 294 products of 6 suppliers in" in printed
    assert f"{len(groups)} groups of {len(group_of)} products" in printed
    assert "left out 6 products without a supplier" in printed
    assert f"against {len(known)} labelled pairs: precision {summary['pairs']['precision']:.4f} ({right} of" in printed

    page = Page((tmp_path / "duplicates.html").read_text())
    shown = [row["product_id"] for number in range(min(50, len(groups))) for row in groups[number][:12]]
    assert page.pictures == [b"photo of %d" % product for product in shown]


def test_without_a_supplier_column_the_catalogue_counts_as_one_supplier(
    index: Path, ids: np.ndarray, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert duplicates("--index", index, "--out", tmp_path, "--threshold", THRESHOLD) == 0
    found = pq.read_table(tmp_path / "duplicates.parquet")
    assert found.column_names == ["group", "product_id", "score"]
    expected = {ids[row] for pair in linked_pairs(index, ["one"] * ROWS, False) for row in pair}
    assert set(found["product_id"].to_pylist()) == expected
    assert "compared 300 products in " in capsys.readouterr().out


def test_without_near_products_the_report_is_empty(
    index: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ("--supplier-column", "title", "--threshold", 1)  # each title is of one product
    assert duplicates("--index", index, "--out", tmp_path, *options) == 0
    assert "0 groups of 0 products" in capsys.readouterr().out
    assert pq.read_table(tmp_path / "duplicates.parquet").num_rows == 0
    assert Page((tmp_path / "duplicates.html").read_text()).pictures == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--across"], "across: needs --supplier-column"),
        (["--supplier-column", "vendor"], "supplier-column: the index has no column 'vendor'; it has title"),
        (["--threshold", "1.5"], "threshold: must be above 0 and at most 1"),
        (["--pairs", "nowhere.parquet"], "nowhere.parquet"),
        (["--index", "nowhere"], "no index in nowhere"),
    ],
)
def test_wrong_options_are_one_line_errors(
    options: list[str], message: str, index: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert duplicates("--index", index, "--out", tmp_path / "out", *options) == 1
    [line] = [line for line in capsys.readouterr().err.splitlines() if line.startswith("shopwindow")]
    assert line.startswith("shopwindow duplicates: error: ") and message in line
    assert not (tmp_path / "out").exists()
