"""shopwindow retrieve, similar and embed against a real server."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shopwindow.retrieval import InProcessPipeline
from shopwindow_client import RetrievalClient
from tests.cli.command_line import Page, fails, succeeds, tables


@pytest.fixture
def dead_url() -> str:
    """An address where nothing listens."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{listener.getsockname()[1]}"


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
    cheap = {"price": {"lt": 40}}
    scores = client.retrieve("red dress", top_k=50, filter=cheap).scores[0]
    limit = float(scores[20] + scores[21]) / 2
    common = ("--url", served.grpc_url, "--index", index, "--filter", json.dumps(cheap))
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
    cases: dict[str, tuple[dict[str, Any], tuple[object, ...]]] = {
        "photo.jpg": ({"image": photo}, ("--image", photo)),
        "“red mug”": ({"title": "red mug"}, ("--title", "red mug")),
        "photo.jpg + “in red”": ({"image": photo, "title": "in red"}, ("--image", photo, "--title", "in red")),
    }
    for heading, (product, arguments) in cases.items():
        printed = tables(succeeds("similar", *arguments, "--url", served.grpc_url, "--top-k", 5, "--index", index))
        expected = client.retrieve_similar(**product, top_k=5)[0]
        assert [product_id for _, product_id, *_ in printed[heading]] == expected.ids.tolist(), heading


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
