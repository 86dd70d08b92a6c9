"""The shopwindow command as a user types it: what it prints, what it writes, how it fails."""

from __future__ import annotations

import base64
import json
import math
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from shopwindow.cli.index.index import RECIPES
from shopwindow.cli.main import COMMANDS
from shopwindow.retrieval import InProcessPipeline
from shopwindow.retrieval.embedding.bundle import Bundle
from shopwindow.retrieval.engines.recipes import KINDS
from shopwindow.retrieval.index.home import resolve_index
from shopwindow_client import RetrievalClient

ROOT = Path(__file__).parents[2]
TIMEOUT_S = 120
OTHER_TOWERS = "f00d" * 16

Done = subprocess.CompletedProcess[str]


def shopwindow(*arguments: object, cwd: Path = ROOT) -> Done:
    command = [sys.executable, "-m", "shopwindow.cli.main", *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)


def succeeds(*arguments: object) -> str:
    done = shopwindow(*arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


def fails(*arguments: object) -> str:
    """The one line that an expected error is."""
    done = shopwindow(*arguments)
    assert done.returncode == 1, (done.returncode, done.stderr)
    assert "Traceback" not in done.stderr
    [line] = done.stderr.splitlines()
    assert line.startswith(f"shopwindow {arguments[0]}: error: ")
    return line


@pytest.fixture(scope="module")
def products(shop: Path) -> dict[int, dict[str, Any]]:
    rows = pq.read_table(shop / "products.parquet").to_pylist()
    return {row["product_id"]: row for row in rows}


@pytest.fixture
def photo(products: dict[int, dict[str, Any]], tmp_path: Path) -> Path:
    file = tmp_path / "photo.jpg"
    file.write_bytes(next(iter(products.values()))["image"])
    return file


@pytest.fixture
def client(served: Any) -> Any:
    with RetrievalClient(served.grpc_url, timeout_s=30.0) as client:
        yield client


@pytest.fixture
def index_of_other_towers(index: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "other-index"
    shutil.copytree(index, folder)
    file = resolve_index(folder) / "manifest.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "tower_hash": OTHER_TOWERS}))
    return folder


@pytest.fixture
def dead_url() -> str:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{listener.getsockname()[1]}"


def tables(printed: str) -> dict[str, list[tuple[int, int, str, str]]]:
    """What is printed: under each heading (rank, id, score, title)."""
    found: dict[str, list[tuple[int, int, str, str]]] = {}
    for line in printed.splitlines():
        if row := re.fullmatch(r" +(\d+) +(\d+) +(-?\d\.\d{3})(?:  (.*))?", line):
            rank, product, score, title = row.groups()
            list(found.values())[-1].append((int(rank), int(product), score, title or ""))
        elif not line.startswith("wrote "):
            found[line] = []
    return found


@pytest.mark.parametrize("command", COMMANDS)
def test_help_answers_without_loading_torch(command: str) -> None:
    code = (
        "import sys\nfrom shopwindow.cli.main import main\n"
        f"try: main([{command!r}, '--help'])\n"
        "except SystemExit as end: assert not end.code\n"
        "heavy = {'torch', 'faiss', 'onnxruntime', 'locust'} & set(sys.modules)\n"
        "sys.exit(f'loaded {heavy}' if heavy else 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"usage: shopwindow {command} ")


def test_help_lists_every_command() -> None:
    printed = succeeds("--help")
    for command, text in COMMANDS.items():
        assert re.search(rf"^ +{command}\s+{re.escape(text.split()[0])}", printed, re.MULTILINE)


@pytest.mark.parametrize("arguments", [(), ("sell",), ("retrieve",), ("retrieve", "mug", "--top-k", "ten")])
def test_wrong_usage_exits_with_2_and_says_how(arguments: tuple[str, ...]) -> None:
    done = shopwindow(*arguments)
    assert done.returncode == 2
    assert done.stderr.startswith("usage: shopwindow")
    assert "Traceback" not in done.stderr


def test_retrieve_prints_ids_scores_and_titles(
    served: Any, client: RetrievalClient, index: Path, products: dict[int, dict[str, Any]]
) -> None:
    queries = ["red dress", "black leather bag"]
    printed = tables(succeeds("retrieve", *queries, "--url", served.grpc_url, "--top-k", 7, "--index", index))
    assert list(printed) == ["“red dress”", "“black leather bag”"]
    for rows, expected in zip(printed.values(), client.retrieve(queries, top_k=7), strict=True):
        assert [row[:3] for row in rows] == [
            (rank, product, f"{score:.3f}")
            for rank, (product, score) in enumerate(zip(expected.ids, expected.scores, strict=True), 1)
        ]
        assert [title for *_, title in rows] == [products[product]["title"] for product in expected.ids.tolist()]


def test_retrieve_passes_the_parameters_on(
    served: Any, client: RetrievalClient, index: Path, products: dict[int, dict[str, Any]]
) -> None:
    wanted = {"price": {"lt": 40}}
    scores = client.retrieve("red dress", top_k=50, filter=wanted).scores[0]
    limit = float(scores[20] + scores[21]) / 2
    common = ("--url", served.grpc_url, "--index", index, "--filter", json.dumps(wanted))
    [rows] = tables(succeeds("retrieve", "red dress", *common, "--top-k", 50, "--min-score", limit)).values()
    assert all(products[product]["price"] < 40 for _, product, *_ in rows)
    assert len(rows) == np.count_nonzero(scores >= limit)
    printed = succeeds("retrieve", "red dress", *common, "--effort", 9, "--min-score", 1.5)
    assert printed.splitlines() == ["“red dress”", "  nothing qualifies"]


def test_retrieve_needs_no_index_folder_to_print_ids(served: Any, tmp_path: Path) -> None:
    printed = tables(succeeds("retrieve", "mug", "--url", served.grpc_url, "--top-k", 3, "--index", tmp_path / "none"))
    assert [(rank, title) for rank, _, _, title in printed["“mug”"]] == [(1, ""), (2, ""), (3, "")]


def test_retrieve_shows_no_titles_of_an_index_of_other_towers(
    served: Any, client: RetrievalClient, index_of_other_towers: Path
) -> None:
    printed = succeeds("retrieve", "mug", "--url", served.grpc_url, "--top-k", 3, "--index", index_of_other_towers)
    assert f"no titles: {index_of_other_towers} is not the index that the server searches" in printed
    found = [(product, title) for _, product, _, title in tables(printed)["“mug”"]]
    assert found == [(product, "") for product in client.retrieve("mug", top_k=3).ids[0].tolist()]


class Page(HTMLParser):
    """The pictures and the text of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.pictures: list[bytes] = []
        self.text: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        if tag == "img":
            self.pictures.append(base64.b64decode((dict(attributes)["src"] or "").partition("base64,")[2]))
        assert tag != "script"

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def test_retrieve_html_writes_a_page_with_the_photos(
    served: Any, client: RetrievalClient, index: Path, products: dict[int, dict[str, Any]], tmp_path: Path
) -> None:
    file = tmp_path / "new" / "page.html"
    query = "red <script>alert(1)</script> dress"
    succeeds("retrieve", query, "--url", served.grpc_url, "--top-k", 6, "--index", index, "--html", file)
    page = Page(file.read_text())
    expected = client.retrieve(query, top_k=6).ids[0].tolist()
    assert page.pictures == [products[product]["image"] for product in expected]
    assert [text for text in page.text if text in {products[p]["title"] for p in expected}] == [
        products[product]["title"] for product in expected
    ]
    assert any(query in text for text in page.text)


def test_similar_finds_products_like_a_photo_a_title_and_both(
    served: Any, client: RetrievalClient, index: Path, photo: Path
) -> None:
    asked: dict[str, tuple[dict[str, Any], tuple[object, ...]]] = {
        "photo.jpg": ({"image": photo}, ("--image", photo)),
        "“red mug”": ({"title": "red mug"}, ("--title", "red mug")),
        "photo.jpg + “in red”": ({"image": photo, "title": "in red"}, ("--image", photo, "--title", "in red")),
    }
    for heading, (given, arguments) in asked.items():
        printed = tables(succeeds("similar", *arguments, "--url", served.grpc_url, "--top-k", 5, "--index", index))
        expected = client.retrieve_similar(**given, top_k=5)[0]
        assert {heading: [product for _, product, *_ in printed[heading]]} == {heading: expected.ids.tolist()}


def test_embed_writes_the_embeddings_of_queries(served: Any, pipeline: InProcessPipeline, tmp_path: Path) -> None:
    file = tmp_path / "vectors.npy"
    printed = succeeds("embed", "red dress", "mug", "--url", served.grpc_url, "--out", file)
    vectors = np.load(file)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(vectors, pipeline.embed_query(["red dress", "mug"]), atol=1e-5)
    assert f"red dress: [{vectors[0, 0]:+.4f}, " in printed
    assert f"mug: [{vectors[1, 0]:+.4f}, " in printed


def test_embed_writes_the_embedding_of_a_product(
    served: Any, pipeline: InProcessPipeline, photo: Path, tmp_path: Path
) -> None:
    file = tmp_path / "vectors.npy"
    arguments = ("--image", photo, "--title", "a cushion", "--url", served.grpc_url, "--out", file)
    printed = succeeds("embed", *arguments)
    expected, weights = pipeline.embed_product(["a cushion"], [photo.read_bytes()])
    np.testing.assert_allclose(np.load(file), expected, atol=1e-5)
    assert f"modality weights: title {weights[0, 0]:.3f}, photo {weights[0, 1]:.3f}" in printed


def test_evaluate_prints_the_figures_that_the_formulas_give(
    repository: Path, index: Path, pipeline: InProcessPipeline, shop: Path, tmp_path: Path
) -> None:
    queries = pq.read_table(shop / "queries.parquet").select(["query_id", "text"]).to_pylist()[:40]
    qrels = pq.read_table(shop / "qrels.parquet").select(["query_id", "product_id", "relevance"]).to_pylist()
    queries.append({"query_id": 10**6, "text": "nobody judged this one"})
    qrels += [{"query_id": queries[0]["query_id"], "product_id": 5, "relevance": 1}]  # not in the index
    found = pipeline.retrieve(["nobody judged this one"], top_k=1).product_ids[0, 0]
    qrels += [{"query_id": 10**6, "product_id": int(found), "relevance": 0}]
    for name, rows in (("queries", queries), ("qrels", qrels)):
        pq.write_table(pa.Table.from_pylist(rows), tmp_path / f"{name}.parquet")

    gains, recalls = [], []
    for query in queries[:-1]:
        relevant = {row["product_id"] for row in qrels if row["query_id"] == query["query_id"]}
        ranked = pipeline.retrieve([query["text"]], top_k=100).product_ids[0].tolist()
        gain = sum(1 / math.log2(place + 1) for place, product in enumerate(ranked[:10], 1) if product in relevant)
        best = sum(1 / math.log2(place + 1) for place in range(1, min(10, len(relevant)) + 1))
        gains.append(gain / best)
        recalls.append(sum(product in relevant for product in ranked) / len(relevant))

    files = ("--queries", tmp_path / "queries.parquet", "--qrels", tmp_path / "qrels.parquet")
    printed = succeeds("evaluate", "--repository", repository, "--index", index, "--out", tmp_path, *files)
    figures = re.fullmatch(
        r"40 judged queries over 900 products: nDCG@10 (\d\.\d{4}), recall@100 (\d\.\d{4})\n", printed
    )
    assert figures, printed
    assert float(figures[1]) == pytest.approx(sum(gains) / 40, abs=6e-5)
    assert float(figures[2]) == pytest.approx(sum(recalls) / 40, abs=6e-5)


@pytest.mark.parametrize("profile", ["cpu", "cpu-ensemble"])
def test_validate_passes_a_sound_repository(repository: Path, profile: str) -> None:
    done = shopwindow("validate", repository, "--profile", profile)
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads(succeeds("validate", repository, "--profile", profile, "--json"))
    assert report["ok"]
    assert [problem for problem in report["problems"] if problem["severity"] == "error"] == []


BREAK: dict[str, Callable[[Path], object]] = {
    "a model without code": lambda repository: (repository / "query_tower" / "1" / "model.py").unlink(),
    "dimensions that disagree": lambda repository: _edit(
        repository / "product_index" / "configs" / "cpu-ensemble.pbtxt",
        f"dims: [ {Bundle.read(repository).embedding_dim} ]",
        "dims: [ 7 ]",
    ),
    "a typing error": lambda repository: _edit(
        repository / "product_index" / "configs" / "cpu-ensemble.pbtxt", "max_batch_size", "max_batchsize"
    ),
    "an unknown step": lambda repository: _edit(
        repository / "embed_query" / "config.pbtxt", 'model_name: "query_tower"', 'model_name: "query_towel"'
    ),
}


def _edit(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


@pytest.mark.parametrize("broken", BREAK)
def test_validate_fails_a_broken_repository(repository: Path, tmp_path: Path, broken: str) -> None:
    copy = tmp_path / "model_repository"
    shutil.copytree(repository, copy)
    BREAK[broken](copy)
    done = shopwindow("validate", copy, "--profile", "cpu-ensemble", "--json")
    assert done.returncode == 1
    report = json.loads(done.stdout)
    assert not report["ok"]
    assert any(problem["severity"] == "error" for problem in report["problems"])
    assert "Traceback" not in done.stderr


def test_validate_fails_where_there_is_no_repository(tmp_path: Path) -> None:
    done = shopwindow("validate", tmp_path / "none")
    assert done.returncode == 1
    assert str(tmp_path / "none") in done.stdout
    assert "Traceback" not in done.stderr


def test_validate_fails_a_profile_that_no_model_has(repository: Path) -> None:
    done = shopwindow("validate", repository, "--profile", "cpuu")
    assert done.returncode == 1
    assert "profile: no model has a configs/cpuu.pbtxt" in done.stdout


def test_index_lists_the_rows_it_skipped(repository: Path, products: dict[int, dict[str, Any]], tmp_path: Path) -> None:
    good = list(products.values())[:8]
    rows = [{name: product[name] for name in ("product_id", "title", "image", "colour")} for product in good]
    rows[2:2] = [
        {"product_id": None, "title": "no id", "image": None, "colour": "red"},
        {"product_id": 7, "title": "a broken photo", "image": b"\xff\xd8 not a photo", "colour": "red"},
        {"product_id": 8, "title": "", "image": b"", "colour": "red"},
    ]
    rows.append({**rows[0], "title": "seen before"})
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "catalogue.parquet")
    out = tmp_path / "index"
    printed = succeeds("index", "--catalog", tmp_path / "catalogue.parquet", "--repository", repository, "--out", out)
    assert "indexed 8 products" in printed
    folder = resolve_index(out)
    assert f"skipped 4 rows, listed with reasons in {folder / 'skipped.csv'}" in printed
    listed = [line.split(",", 2) for line in (folder / "skipped.csv").read_text().splitlines()]
    assert [line[:2] for line in listed] == [
        ["row", "product_id"],
        ["2", ""],
        ["3", "7"],
        ["4", "8"],
        ["11", str(rows[0]["product_id"])],
    ]
    for (_, _, reason), said in zip(listed[1:], ("from 0 to", "not a readable", "at least one", "twice"), strict=True):
        assert said in reason
    np.testing.assert_array_equal(np.load(folder / "product_ids.npy"), [product["product_id"] for product in good])


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


def test_an_expected_error_keeps_its_traceback_when_asked_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOPWINDOW_DEBUG", "1")
    done = shopwindow("serve", "--repository", tmp_path / "nowhere", "--index", tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith("Traceback (most recent call last):")


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


@pytest.mark.parametrize("command", ["retrieve", "similar --title", "embed"])
def test_an_unreachable_server_is_one_line(command: str, dead_url: str) -> None:
    line = fails(*command.split(), "mug", "--url", dead_url, "--timeout", 5)
    assert dead_url in line


def test_a_bad_filter_is_one_line(served: Any) -> None:
    line = fails("retrieve", "mug", "--url", served.grpc_url, "--filter", '{"color": "red"}')
    assert "filter.color" in line
    assert "did you mean 'colour'?" in line
    assert "filter" in fails("retrieve", "mug", "--url", served.grpc_url, "--filter", "colour=red")


def test_a_missing_photo_is_one_line(served: Any, tmp_path: Path) -> None:
    line = fails("similar", "--image", tmp_path / "none.jpg", "--url", served.grpc_url)
    assert str(tmp_path / "none.jpg") in line


def test_embed_with_queries_and_a_product_is_one_line(served: Any) -> None:
    assert "either" in fails("embed", "mug", "--title", "mug", "--url", served.grpc_url)
    assert "either" in fails("embed", "--url", served.grpc_url)


def test_the_recipes_offered_are_those_there_are() -> None:
    assert RECIPES == KINDS
