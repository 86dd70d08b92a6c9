"""The in-process pipeline against its separate parts: tokeniser, ONNX graph, brute force."""

from __future__ import annotations

import io
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pyarrow.parquet as pq
import pytest
from PIL import Image
from tokenizers import Tokenizer

from shopwindow.retrieval import IndexUnfit, InProcessPipeline, InvalidRequest, SearchResult
from shopwindow.retrieval.embedding.bundle import Bundle
from shopwindow.retrieval.embedding.repository_layout import RepositoryLayout
from shopwindow.retrieval.index.folder import read_manifest, write_manifest
from shopwindow.retrieval.index.home import resolve_index
from tests.ranking import TOLERANCE, assert_is_exact_search, assert_same_ranking

QUERIES = ["red dress", "mug", "blue running shoes for summer, size 38, with a very long tail of further words " * 3]


@pytest.fixture(scope="module")
def products(shop: Path) -> list[dict[str, Any]]:
    """Thirty products of the shop, with title and photo."""
    rows = pq.read_table(shop / "products.parquet", columns=["product_id", "title", "image"]).slice(100, 30)
    return rows.to_pylist()


def embed_one_query(repository: Path, query: str) -> np.ndarray:
    """Return (1, dim) float32 from the tokeniser and the graph alone, without padding."""
    layout = RepositoryLayout(repository)
    session = ort.InferenceSession(layout.query_tower, providers=["CPUExecutionProvider"])
    limit = Bundle.read(repository).query_max_tokens
    ids = Tokenizer.from_file(str(layout.query_tokenizer)).encode(query, add_special_tokens=False).ids[:limit]
    feed = {"input_ids": np.array([ids], np.int32), "attention_mask": np.ones((1, len(ids)), np.int32)}
    return session.run(["query_embedding"], feed)[0]


def embed_one_product(repository: Path, title: str, image: bytes) -> np.ndarray:
    """Return (1, dim) float32 from the tokeniser and the graph alone, for a square photo or none."""
    layout = RepositoryLayout(repository)
    session = ort.InferenceSession(layout.product_tower, providers=["CPUExecutionProvider"])
    size = session.get_inputs()[2].shape[1]
    ids = Tokenizer.from_file(str(layout.title_tokenizer)).encode(title, add_special_tokens=False).ids or [0]
    pixels = np.full((1, size, size, 3), 255, np.uint8)
    if image:
        photo = Image.open(io.BytesIO(image)).convert("RGB")
        assert photo.size == (size, size)
        pixels[0] = np.asarray(photo)
    feed = {
        "title_ids": np.array([ids], np.int32),
        "title_mask": np.full((1, len(ids)), bool(title), np.int32),
        "pixels": pixels,
        "modality_mask": np.array([[bool(title), bool(image)]], np.float32),
    }
    return session.run(["product_embedding"], feed)[0]


def square(image: bytes, size: int) -> bytes:
    """Return the photo as a PNG of exactly the tower's size, so that the pipeline does not resize it."""
    file = io.BytesIO()
    Image.open(io.BytesIO(image)).convert("RGB").resize((size, size)).save(file, "PNG")
    return file.getvalue()


def assert_found_by_brute_force(result: SearchResult, queries: np.ndarray, index: Path) -> None:
    vectors, ids = np.load(resolve_index(index) / "vectors.npy"), np.load(resolve_index(index) / "product_ids.npy")
    assert_is_exact_search(result.product_ids, result.scores, queries, vectors, ids)


def test_retrieve_equals_the_tower_and_brute_force(pipeline: InProcessPipeline, repository: Path, index: Path) -> None:
    result = pipeline.retrieve(QUERIES, top_k=50)
    assert result.product_ids.shape == (3, 50)
    embeddings = np.concatenate([embed_one_query(repository, query) for query in QUERIES])
    assert_found_by_brute_force(result, embeddings, index)


def test_text_and_its_utf8_are_the_same_query(pipeline: InProcessPipeline) -> None:
    as_text, as_bytes = pipeline.retrieve(["größe red"]), pipeline.retrieve(["größe red".encode()])
    assert np.array_equal(as_text.product_ids, as_bytes.product_ids)
    assert as_text.product_ids.shape == (1, 100)


def test_padding_beside_a_longer_query_does_not_change_an_embedding(pipeline: InProcessPipeline) -> None:
    alone = np.concatenate([pipeline.embed_query([query]) for query in QUERIES])
    together = pipeline.embed_query(QUERIES)
    assert np.abs(alone - together).max() < TOLERANCE
    assert np.abs(np.linalg.norm(together, axis=1) - 1).max() < TOLERANCE
    assert np.abs(together[0] - together[2]).max() > 1e-3


def test_padding_beside_a_longer_title_does_not_change_an_embedding(
    pipeline: InProcessPipeline, products: list[dict[str, Any]]
) -> None:
    titles = ["mug", products[0]["title"] + " further words" * 20, ""]
    images = [b"", products[0]["image"], products[1]["image"]]
    pairs = zip(titles, images, strict=True)
    alone = np.concatenate([pipeline.embed_product([title], [image])[0] for title, image in pairs])
    together, weights = pipeline.embed_product(titles, images)
    assert np.abs(alone - together).max() < TOLERANCE
    assert np.abs(weights[[0, 2]] - [[1, 0], [0, 1]]).max() < TOLERANCE


def test_rows_of_several_tower_calls_stay_in_order(pipeline: InProcessPipeline, products: list[dict[str, Any]]) -> None:
    queries = [f"{row} red dress" for row in range(150)]
    embeddings = pipeline.embed_query(queries)
    assert np.abs(embeddings[[0, 64, 149]] - pipeline.embed_query([queries[0], queries[64], queries[149]])).max() < (
        TOLERANCE
    )
    titles = [product["title"] for product in products] * 5
    embeddings, _ = pipeline.embed_product(titles, [b""] * len(titles))
    assert np.abs(embeddings[:30] - embeddings[-30:]).max() < TOLERANCE


@pytest.mark.parametrize(("with_title", "with_image"), [(True, False), (False, True), (True, True)])
def test_retrieve_similar_by_title_by_photo_and_by_both(
    pipeline: InProcessPipeline,
    repository: Path,
    index: Path,
    products: list[dict[str, Any]],
    with_title: bool,
    with_image: bool,
) -> None:
    titles = [product["title"] if with_title else "" for product in products[:4]]
    images = [square(product["image"], pipeline.bundle.image_size) if with_image else b"" for product in products[:4]]
    result = pipeline.retrieve_similar(titles, images, top_k=20)
    pairs = zip(titles, images, strict=True)
    embeddings = np.concatenate([embed_one_product(repository, title, image) for title, image in pairs])
    assert_found_by_brute_force(result, embeddings, index)


def test_a_product_of_the_catalogue_finds_itself(pipeline: InProcessPipeline, products: list[dict[str, Any]]) -> None:
    result = pipeline.retrieve_similar(
        [product["title"] for product in products], [product["image"] for product in products], top_k=5
    )
    assert np.abs(result.scores[:, 0] - 1).max() < TOLERANCE
    for product, ids, scores in zip(products, result.product_ids, result.scores, strict=True):
        assert product["product_id"] in ids[scores > scores[0] - TOLERANCE]


def test_a_product_without_title_and_photo_is_refused_with_its_row(
    pipeline: InProcessPipeline, products: list[dict[str, Any]]
) -> None:
    with pytest.raises(InvalidRequest, match=r"title\[1\], image\[1\]: at least one must be given"):
        pipeline.retrieve_similar(["mug", " "], [b"", b""])
    with pytest.raises(InvalidRequest, match=r"image\[1\]: not a readable"):
        pipeline.retrieve_similar(["mug", "mug"], [b"", products[0]["image"][:50]])


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"top_k": 0}, "top_k"),
        ({"topk": 5}, "topk"),
        ({"filter": {"nothing": 1}}, "filter.nothing"),
        ({"channels": "words"}, "channels"),
        ({"fusion": "rrf"}, "fusion"),
    ],
)
def test_bad_parameters_are_refused_with_the_field_s_name(
    pipeline: InProcessPipeline, given: dict[str, Any], field: str
) -> None:
    for call in (
        lambda: pipeline.retrieve(["mug"], **given),
        lambda: pipeline.retrieve_similar(["mug"], [b""], **given),
    ):
        with pytest.raises(InvalidRequest) as caught:
            call()
        assert caught.value.field == field


MIXED: list[dict[str, Any]] = [
    {},
    {"top_k": 3},
    {"top_k": 1_000, "min_score": 0.1},
    {"top_k": 3, "effort": 9},
    {"top_k": 40, "min_score": 2.0},
]
MIXED_CHANNELS: list[dict[str, Any]] = [
    {"channels": "lexical", "top_k": 20},
    {"channels": "embedding,lexical"},
    {"channels": "embedding,lexical", "fusion": "weighted:0.5", "top_k": 3},
]


def test_a_mixed_batch_of_queries_equals_one_at_a_time(pipeline: InProcessPipeline) -> None:
    asked = [(QUERIES[: 1 + turn % 3], given) for turn, given in enumerate([*MIXED, *MIXED_CHANNELS])]
    together = pipeline.answer_queries(
        [(queries, pipeline.prepare_parameters(given, words=True)) for queries, given in asked]
    )
    for (queries, given), result in zip(asked, together, strict=True):
        alone = pipeline.retrieve(queries, **given)
        assert_same_ranking(result.product_ids, result.scores, alone.product_ids, alone.scores)


def test_a_mixed_batch_of_products_equals_one_at_a_time(
    pipeline: InProcessPipeline, products: list[dict[str, Any]]
) -> None:
    forms = [(["mug"], [b""]), ([""], [products[0]["image"]]), ([products[1]["title"]], [products[1]["image"]])]
    asked = [(*forms[turn % 3], given) for turn, given in enumerate(MIXED)]
    together = pipeline.answer_products(
        [
            (pipeline.prepare_products(titles, images), pipeline.prepare_parameters(given))
            for titles, images, given in asked
        ]
    )
    for (titles, images, given), result in zip(asked, together, strict=True):
        alone = pipeline.retrieve_similar(titles, images, **given)
        assert_same_ranking(result.product_ids, result.scores, alone.product_ids, alone.scores)


def test_the_lexical_channel_finds_titles_with_the_word(pipeline: InProcessPipeline, index: Path) -> None:
    titles = pq.read_table(resolve_index(index) / "attributes.parquet", columns=["title"])["title"].to_pylist()
    ids = np.load(resolve_index(index) / "product_ids.npy").tolist()
    holding = {product for product, title in zip(ids, titles, strict=True) if "mug" in title.lower().split()}
    assert 0 < len(holding) < len(ids)
    result = pipeline.retrieve(["mug"], top_k=len(ids), channels="lexical")
    assert holding <= set(result.product_ids[result.product_ids >= 0].tolist())
    assert (np.diff(result.scores[0][: len(holding)]) <= 0).all()


def test_similar_products_cannot_be_searched_by_words(pipeline: InProcessPipeline) -> None:
    with pytest.raises(InvalidRequest, match="channels: must be embedding if the request has no query"):
        pipeline.retrieve_similar(["mug"], [b""], channels="lexical")


def test_an_index_without_a_lexical_channel_is_served_and_refuses_words_with_advice(
    repository: Path, index: Path, tmp_path: Path
) -> None:
    shutil.copytree(resolve_index(index), tmp_path / "older")
    shutil.rmtree(tmp_path / "older" / "lexical")
    write_manifest(tmp_path / "older", read_manifest(tmp_path / "older"))
    older = InProcessPipeline(repository, tmp_path / "older")
    assert (older.retrieve(["mug"], top_k=5).product_ids >= 0).all()
    with pytest.raises(InvalidRequest, match=r"channels: .* no lexical channel, .* rebuild it with 'shopwindow index'"):
        older.retrieve(["mug"], channels="embedding,lexical")


def test_every_product_found_through_a_filter_satisfies_it(pipeline: InProcessPipeline, index: Path) -> None:
    attributes = pq.read_table(resolve_index(index) / "attributes.parquet").to_pylist()
    ids = np.load(resolve_index(index) / "product_ids.npy").tolist()
    column = next(name for name, value in attributes[0].items() if isinstance(value, str) and name != "title")
    value = attributes[0][column]
    satisfying = {product for product, row in zip(ids, attributes, strict=True) if row[column] == value}
    assert 0 < len(satisfying) < len(ids)
    found = pipeline.retrieve(["mug"], top_k=len(ids), filter={column: value}).product_ids[0].tolist()
    assert set(found[: len(satisfying)]) == satisfying
    assert set(found[len(satisfying) :]) == {-1}


def test_a_pipeline_without_an_index_embeds_but_refuses_to_search(repository: Path) -> None:
    pipeline = InProcessPipeline(repository)
    assert pipeline.embed_query(["mug"]).shape == (1, pipeline.bundle.embedding_dim)
    with pytest.raises(ValueError, match="made without an index"):
        pipeline.retrieve(["mug"])


def test_a_folder_that_is_not_a_repository_is_refused_with_advice(tmp_path: Path, repository: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"bundle\.json is missing.*shopwindow export"):
        InProcessPipeline(tmp_path)
    with pytest.raises(IndexUnfit, match="shopwindow index"):
        InProcessPipeline(repository, tmp_path)
