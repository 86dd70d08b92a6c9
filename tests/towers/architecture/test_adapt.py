"""Adapted dual encoders compute what transformers computes: in PyTorch, as ONNX graphs and in a whole pipeline."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer
from transformers import AutoModel, CLIPModel

from shopwindow.cli.main import main
from shopwindow.indexing.full_build.run import build_index
from shopwindow.retrieval import InProcessPipeline
from shopwindow.retrieval.embedding.product_inputs import ProductPreprocessor
from shopwindow.retrieval.embedding.text import TextEncoder
from shopwindow.towers.architecture.checkpoint import FILES, Checkpoint, load_checkpoint
from shopwindow.towers.architecture.from_hugging_face import adapt
from shopwindow_export.graphs.onnx_export import (
    PRODUCT_INPUTS,
    PRODUCT_OUTPUTS,
    QUERY_INPUTS,
    QUERY_OUTPUTS,
    export_product_tower,
    export_query_tower,
)
from shopwindow_export.repository.run import export_repository
from tests.towers.architecture.published import MEAN, SIDE, SOURCES, STD, write_published
from tests.towers.small import COLOURS, photo, write_catalog

CLOSE = 1e-5
TEXTS = ["red mug", "lamp", "a small green chair", "a black shirt red mug blue lamp green chair small"]


@pytest.fixture(scope="module", params=SOURCES)
def source(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A published model, tiny and untrained."""
    return write_published(request.param, tmp_path_factory.mktemp(request.param) / "source")


@pytest.fixture(scope="module")
def checkpoint(source: Path) -> Checkpoint:
    """The same model, adapted with a title weight of 0.3 and read back."""
    adapt(source, source.parent / "checkpoint", title_weight=0.3)
    return load_checkpoint(source.parent / "checkpoint")


@pytest.fixture(scope="module")
def published(source: Path) -> Any:
    """The source as transformers loads it, with the attention that transformers chooses."""
    return AutoModel.from_pretrained(source).eval()


def rows(*tensors: torch.Tensor) -> np.ndarray:
    """Return the rows with length one."""
    return torch.nn.functional.normalize(torch.cat(tensors), dim=1).numpy()


def text_features(published: Any, source: Path, texts: list[str]) -> np.ndarray:
    """Return the text features of transformers, one text at a time. SigLIP's texts are padded as it documents."""
    tokenizer = Tokenizer.from_file(str(source / "tokenizer.json"))
    limit = published.config.text_config.max_position_embeddings
    tokenizer.enable_truncation(limit)
    found = []
    with torch.inference_mode():
        for text in texts:
            ids = tokenizer.encode(text).ids
            if published.config.model_type == "siglip":
                ids += [tokenizer.token_to_id("</s>")] * (limit - len(ids))
            found.append(published.get_text_features(input_ids=torch.tensor([ids])).pooler_output)
    return rows(*found)


def image_features(published: Any, pixels: np.ndarray) -> np.ndarray:
    values = ((pixels / 255 - np.array(MEAN)) / np.array(STD)).astype(np.float32).transpose(0, 3, 1, 2)
    with torch.inference_mode():
        return rows(published.get_image_features(pixel_values=torch.from_numpy(values)).pooler_output)


def tokens(checkpoint: Checkpoint, texts: list[str], pad_to: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    limit = checkpoint.towers.config.query_max_tokens
    return TextEncoder.read(checkpoint.folder / "tokenizer.json", limit).encode(texts, pad_to=pad_to)


def embed(checkpoint: Checkpoint, *inputs: np.ndarray) -> Any:
    tower = checkpoint.towers.query if len(inputs) == 2 else checkpoint.towers.product
    with torch.inference_mode():
        return tower(*map(torch.from_numpy, inputs))


def random_pixels(batch: int) -> np.ndarray:
    return np.random.default_rng(batch).integers(0, 256, (batch, SIDE, SIDE, 3), dtype=np.uint8)


def product(checkpoint: Checkpoint, batch: int, present: tuple[int, int]) -> tuple[np.ndarray, ...]:
    ids, mask = tokens(checkpoint, TEXTS[:batch])
    return ids, mask, random_pixels(batch), np.array([present] * batch, np.float32)


@pytest.mark.parametrize("pad_to", [None, 12], ids=["longest", "full"])
def test_a_batch_of_queries_equals_each_query_alone_in_transformers(
    source: Path, checkpoint: Checkpoint, published: Any, pad_to: int | None
) -> None:
    expected = text_features(published, source, TEXTS)
    assert np.abs(expected[0] - expected[1:]).max(axis=1).min() > 0.1  # the texts are told apart
    ids, mask = tokens(checkpoint, TEXTS, pad_to)
    pad = json.loads((source / "tokenizer_config.json").read_text())["pad_token"]
    assert set(ids[mask == 0].tolist()) == {Tokenizer.from_file(str(source / "tokenizer.json")).token_to_id(pad)}
    found = embed(checkpoint, ids, mask).numpy()
    assert np.abs(found - expected).max() < CLOSE


def test_a_single_query_equals_the_one_in_transformers(source: Path, checkpoint: Checkpoint, published: Any) -> None:
    for text in TEXTS:
        found = embed(checkpoint, *tokens(checkpoint, [text])).numpy()
        assert np.abs(found - text_features(published, source, [text])).max() < CLOSE


def test_ids_in_the_padding_do_not_matter(checkpoint: Checkpoint) -> None:
    ids, mask = tokens(checkpoint, TEXTS)
    assert (mask == 0).any()
    for padding in (0, 5, 2**31 - 1):
        other = np.where(mask, ids, np.int32(padding))
        assert torch.equal(embed(checkpoint, other, mask), embed(checkpoint, ids, mask))


def test_a_text_over_the_limit_is_cut_and_keeps_its_special_tokens(
    source: Path, checkpoint: Checkpoint, published: Any
) -> None:
    limit = checkpoint.towers.config.title_max_tokens
    assert limit == {"chinese_clip": 52}.get(published.config.model_type, 12)
    ids, mask = tokens(checkpoint, ["red mug " * 60])
    assert ids.shape == mask.shape == (1, limit)
    if limit == 12:
        found = embed(checkpoint, ids, mask).numpy()
        assert np.abs(found - text_features(published, source, ["red mug " * 60])).max() < CLOSE


def test_a_photo_alone_equals_the_image_features_of_transformers(checkpoint: Checkpoint, published: Any) -> None:
    expected = image_features(published, random_pixels(3))
    assert np.abs(expected[0] - expected[1:]).max(axis=1).min() > 0.05
    found, weights = embed(checkpoint, *product(checkpoint, 3, (0, 1)))
    assert np.abs(found.numpy() - expected).max() < CLOSE
    assert weights.tolist() == [[0.0, 1.0]] * 3


def test_a_title_alone_equals_the_same_words_as_a_query(checkpoint: Checkpoint) -> None:
    inputs = product(checkpoint, 3, (1, 0))
    found, weights = embed(checkpoint, *inputs)
    assert np.abs(found - embed(checkpoint, *inputs[:2])).max() < CLOSE
    assert weights.tolist() == [[1.0, 0.0]] * 3


def test_title_and_photo_are_added_by_their_weights(source: Path, checkpoint: Checkpoint, published: Any) -> None:
    title = text_features(published, source, TEXTS[:3]).astype(np.float64)
    expected = 0.3 * title + 0.7 * image_features(published, random_pixels(3))
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    found, weights = embed(checkpoint, *product(checkpoint, 3, (1, 1)))
    assert np.abs(found.numpy() - expected).max() < CLOSE
    assert weights.numpy() == pytest.approx(np.array([[0.3, 0.7]] * 3))


def test_the_content_of_an_absent_title_does_not_matter(checkpoint: Checkpoint) -> None:
    ids, mask, pixels, present = product(checkpoint, 3, (0, 1))
    expected = embed(checkpoint, ids, mask, pixels, present)[0]
    for value in (0, 1, 7):
        junk = (np.full_like(ids, 2**31 - 1), np.full_like(mask, value), pixels, present)
        assert torch.equal(embed(checkpoint, *junk)[0], expected)


def test_the_content_of_an_absent_photo_does_not_matter(checkpoint: Checkpoint) -> None:
    ids, mask, pixels, present = product(checkpoint, 3, (1, 0))
    assert torch.equal(
        embed(checkpoint, ids, mask, 255 - pixels, present)[0], embed(checkpoint, ids, mask, pixels, present)[0]
    )


# "clip-old", with the old pooling rule, is exported in the last test of this file.
@pytest.mark.parametrize("source", ["clip", "chinese_clip", "siglip"], indirect=True)
def test_the_graphs_compute_the_same_at_every_batch_and_length(checkpoint: Checkpoint, tmp_path: Path) -> None:
    export_query_tower(checkpoint.towers, tmp_path / "query.onnx")
    export_product_tower(checkpoint.towers, tmp_path / "product.onnx")
    query, products = (ort.InferenceSession(tmp_path / f"{name}.onnx") for name in ("query", "product"))
    for batch in (1, 4):
        for width in (None, 12):
            ids, mask = tokens(checkpoint, TEXTS[-batch:], width)
            (found,) = query.run(list(QUERY_OUTPUTS), dict(zip(QUERY_INPUTS, (ids, mask), strict=True)))
            assert np.abs(found - embed(checkpoint, ids, mask).numpy()).max() < CLOSE
            for present in ((1, 1), (1, 0), (0, 1)):
                inputs = (ids, mask, random_pixels(batch), np.array([present] * batch, np.float32))
                got = products.run(list(PRODUCT_OUTPUTS), dict(zip(PRODUCT_INPUTS, inputs, strict=True)))
                for array, tensor in zip(got, embed(checkpoint, *inputs), strict=True):
                    assert array.shape == tensor.shape
                    assert np.abs(array - tensor.numpy()).max() < CLOSE


def test_adapting_again_gives_the_same_four_files(source: Path, checkpoint: Checkpoint) -> None:
    assert sorted(file.name for file in checkpoint.folder.iterdir()) == sorted(FILES)
    adapt(source, checkpoint.folder, title_weight=0.3)
    assert load_checkpoint(checkpoint.folder).tower_hash == checkpoint.tower_hash
    adapt(source, source.parent / "other", title_weight=0.4)
    assert load_checkpoint(source.parent / "other").tower_hash != checkpoint.tower_hash


def test_weights_in_half_precision_become_float32_towers(tmp_path: Path) -> None:
    source = write_published("clip", tmp_path / "source")
    CLIPModel.from_pretrained(source).half().save_pretrained(source)
    assert json.loads((source / "config.json").read_text())["dtype"] == "float16"
    adapt(source, tmp_path / "checkpoint")
    towers = load_checkpoint(tmp_path / "checkpoint").towers
    assert {parameter.dtype for parameter in towers.parameters()} == {torch.float32}
    half = load_file(source / "model.safetensors")["text_projection.weight"]
    assert torch.equal(towers.state_dict()["product.title.projection.weight"], half.float())


def test_an_adapted_checkpoint_is_exported_indexed_and_retrieves(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = write_published("clip-old", tmp_path / "source")
    assert main(["adapt", str(source), "--out", str(tmp_path / "checkpoint"), "--title-weight", "0.4"]) == 0
    assert f"wrote {tmp_path / 'checkpoint'}" in capsys.readouterr().out
    repository = tmp_path / "model_repository"
    report = export_repository(tmp_path / "checkpoint", repository, write_catalog(tmp_path), cpu_instances=1)
    assert report.passed
    titles = ["red mug", "green lamp", "blue chair", "black shirt", "small lamp"]
    photos = [photo(colour) for colour in COLOURS.values()] + [b""]
    catalog = pa.table({"product_id": [7, 8, 9, 10, 11], "title": titles, "image": photos})
    pq.write_table(catalog, tmp_path / "five.parquet")
    build_index(tmp_path / "five.parquet", repository, tmp_path / "index", progress=False)
    found = InProcessPipeline(repository, tmp_path / "index").retrieve(["small lamp", "blue chair"])

    published = CLIPModel.from_pretrained(source).eval()
    prepare = ProductPreprocessor(TextEncoder.read(tmp_path / "checkpoint" / "tokenizer.json", 12), SIDE)
    features = image_features(published, prepare(titles[:4], photos[:4]).pixels)
    vectors = text_features(published, source, titles)
    vectors[:4] = 0.4 * vectors[:4] + 0.6 * features
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    scores = text_features(published, source, ["small lamp", "blue chair"]) @ vectors.T
    order = np.argsort(-scores, axis=1)
    assert found.product_ids[:, :5].tolist() == (7 + order).tolist()
    assert found.scores[:, :5] == pytest.approx(np.take_along_axis(scores, order, 1), abs=1e-4)
    assert found.product_ids[0, 0] == 11  # the product without a photo, whose title is this query
