"""shopwindow mine and shopwindow convert as a user types them."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from shopwindow.cli.main import main


def test_mine_writes_pairs_and_prints_a_count_for_every_reason(
    shop: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = ["--catalog", shop / "products.parquet", "--clicks", shop / "clicks.parquet"]
    options = ["--category-column", "article", "--labels", shop / "same_style.parquet", "--partners", 2]
    out = tmp_path / "pairs.parquet"
    assert main(["mine", *map(str, [*files, *options, "--out", out])]) == 0
    *lines, agreement, wrote = capsys.readouterr().out.splitlines()
    counts = {name.strip(): int(rest.split()[0]) for name, rest in ((line[:33], line[33:]) for line in lines)}
    assert wrote == f"wrote {out}"
    assert agreement.startswith("against ")
    table = pq.read_table(out)
    assert table.num_rows == 2 * counts["kept"] > 0
    assert max(table["trigger_id"].value_counts().field("counts").to_pylist()) <= 2
    dropped = sum(count for name, count in counts.items() if name.startswith("- "))
    assert counts["candidate pairs"] == dropped + counts["kept"]
    assert counts["products"] == pq.read_metadata(shop / "products.parquet").num_rows


def test_mine_reports_a_missing_category_column(shop: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = ["--catalog", shop / "products.parquet", "--clicks", shop / "clicks.parquet"]
    assert main(["mine", *map(str, files), "--category-column", "leaf", "--out", str(tmp_path / "pairs.parquet")]) == 1
    assert "products.parquet: has no column leaf; it has ['product_id'" in capsys.readouterr().err


def test_convert_prints_counts_and_the_first_rows_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good = {"trigger_id": 1, "recall_id": 2, "trigger_title": "mug", "recall_title": "cup", "label": 1}
    rows = [good, *({**good, "label": 7} for _ in range(6))]
    (tmp_path / "pairs.jsonl").write_text("\n".join(map(json.dumps, rows)))
    source, out = str(tmp_path / "pairs.jsonl"), tmp_path / "out"
    assert main(["convert", "--format", "esspr", source, "--out", str(out)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "rows left out            6" in lines
    assert [line for line in lines if line.startswith("- ")] == [
        f"- row {row}: label: must be 0 or 1, got 7" for row in range(1, 6)
    ]
    assert lines[-1] == f"wrote {out}, all rows left out in its skipped.csv"
    assert main(["convert", "--format", "fashion", source, "--out", str(out), "--images", str(out)]) == 1
    assert "--images: is for --format esspr" in capsys.readouterr().err
