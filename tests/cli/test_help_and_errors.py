"""The shopwindow command: its help, its usage errors, and expected errors as one line."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from shopwindow.cli.index.index import RECIPES
from shopwindow.cli.main import COMMANDS
from shopwindow.retrieval import InProcessPipeline
from shopwindow.retrieval.engines.recipes import KINDS
from tests.cli.command_line import fails, shopwindow, succeeds
from tests.cli.conftest import OTHER_TOWERS

ROOT = Path(__file__).parents[2]
TIMEOUT_S = 120


def python(*arguments: object) -> subprocess.CompletedProcess[str]:
    run = [sys.executable, *map(str, arguments)]
    return subprocess.run(run, cwd=ROOT, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)


def test_the_help_of_every_command_loads_no_heavy_library() -> None:
    code = (
        "import sys\nfrom shopwindow.cli.main import COMMANDS, main\n"
        "for command in COMMANDS:\n"
        "    try: main([command, '--help'])\n"
        "    except SystemExit as end: assert not end.code\n"
        "    heavy = {'torch', 'faiss', 'onnxruntime', 'locust'} & set(sys.modules)\n"
        "    if heavy: sys.exit(f'{command} loaded {heavy}')\n"
    )
    done = python("-c", code)
    assert done.returncode == 0, done.stderr
    assert re.findall(r"^usage: shopwindow (\S+) ", done.stdout, re.MULTILINE) == list(COMMANDS)


def test_help_lists_every_command() -> None:
    printed = succeeds("--help")
    for command, (_, text) in COMMANDS.items():
        assert re.search(rf"^ +{command}\s+{re.escape(text.split()[0])}", printed, re.MULTILINE)


@pytest.mark.parametrize("arguments", [(), ("sell",), ("retrieve",), ("retrieve", "mug", "--top-k", "ten")])
def test_wrong_usage_exits_with_2_and_prints_the_usage(arguments: tuple[str, ...]) -> None:
    done = shopwindow(*arguments)
    assert done.code == 2
    assert done.stderr.startswith("usage: shopwindow")


def test_the_recipes_offered_are_those_of_the_library() -> None:
    assert RECIPES == KINDS


def test_an_expected_error_prints_its_traceback_only_on_request(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    serve = ("-m", "shopwindow.cli.main", "serve", "--repository", tmp_path / "nowhere", "--index", tmp_path)
    done = python(*serve)
    assert done.returncode == 1
    [line] = done.stderr.splitlines()
    assert line.startswith("shopwindow serve: error: ")
    monkeypatch.setenv("SHOPWINDOW_DEBUG", "1")
    done = python(*serve)
    assert done.returncode == 1
    assert done.stderr.startswith("Traceback (most recent call last):")


def test_a_missing_repository_is_one_line(index: Path, shop: Path, tmp_path: Path) -> None:
    nowhere = tmp_path / "nowhere"
    catalogue = shop / "products.parquet"
    for arguments in (
        ("index", "--catalog", catalogue, "--out", tmp_path / "index"),
        ("evaluate", "--index", index, "--queries", shop / "queries.parquet", "--qrels", shop / "qrels.parquet"),
        ("serve", "--index", index),
    ):
        line = fails(*arguments, "--repository", nowhere)
        assert str(nowhere / "bundle.json") in line
        assert "shopwindow export" in line
    assert not (tmp_path / "index").exists()


def test_a_missing_index_is_one_line(repository: Path, shop: Path, tmp_path: Path) -> None:
    queries = ("--queries", shop / "queries.parquet", "--qrels", shop / "qrels.parquet")
    line = fails("evaluate", "--repository", repository, "--index", tmp_path / "nowhere", *queries)
    assert str(tmp_path / "nowhere") in line
    assert "shopwindow index" in line


def test_a_missing_catalogue_or_one_without_products_is_one_line(repository: Path, tmp_path: Path) -> None:
    out = ("--repository", repository, "--out", tmp_path / "index")
    assert str(tmp_path / "none.parquet") in fails("index", "--catalog", tmp_path / "none.parquet", *out)
    pq.write_table(pa.table({"sku": ["a"], "name": ["mug"]}), tmp_path / "other.parquet")
    assert "product_id" in fails("index", "--catalog", tmp_path / "other.parquet", *out)
    assert not (tmp_path / "index").exists()


def test_an_index_of_other_towers_is_one_line(
    repository: Path, pipeline: InProcessPipeline, index_of_other_towers: Path, shop: Path
) -> None:
    queries = ("--queries", shop / "queries.parquet", "--qrels", shop / "qrels.parquet")
    line = fails("evaluate", "--repository", repository, "--index", index_of_other_towers, *queries)
    assert OTHER_TOWERS[:12] in line
    assert pipeline.bundle.tower_hash[:12] in line
