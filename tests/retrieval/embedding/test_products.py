"""Titles and photos become the inputs of the product tower."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image
from tokenizers import Tokenizer, models, pre_tokenizers

from shopwindow.retrieval import InvalidRequest
from shopwindow.retrieval.embedding.product_inputs import ProductPreprocessor, concatenate
from shopwindow.retrieval.embedding.text import TextEncoder

SIZE = 8


@pytest.fixture
def preprocess() -> ProductPreprocessor:
    tokenizer = Tokenizer(models.WordPiece({"[PAD]": 0, "[UNK]": 1, "red": 2, "dress": 3}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    return ProductPreprocessor(TextEncoder(tokenizer, 5), SIZE)


@pytest.fixture
def photo() -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (20, 20), (10, 20, 30)).save(file, "PNG")
    return file.getvalue()


def test_the_modality_mask_marks_titles_and_photos(preprocess: ProductPreprocessor, photo: bytes) -> None:
    batch = preprocess(["red dress", b"", "red", "  "], [photo, photo, b"", photo])
    assert batch.modality_mask.tolist() == [[1, 1], [0, 1], [1, 0], [0, 1]]
    assert batch.title_ids.tolist() == [[2, 3], [0, 0], [2, 0], [0, 0]]
    assert batch.title_mask.tolist() == [[1, 1], [0, 0], [1, 0], [0, 0]]
    assert (batch.pixels[[0, 1, 3]] == (10, 20, 30)).all()
    assert (batch.pixels[2] == 255).all()
    assert [array.dtype.name for array in batch.tensors().values()] == ["int32", "int32", "uint8", "float32"]


@pytest.mark.parametrize("title", ["", b"", " \n"])
def test_a_product_without_title_and_photo_is_refused_with_its_row(
    preprocess: ProductPreprocessor, photo: bytes, title: bytes | str
) -> None:
    with pytest.raises(InvalidRequest, match=r"^title\[1\], image\[1\]: at least one must be given"):
        preprocess(["red", title], [photo, b""])


def test_a_broken_photo_is_refused_with_its_row(preprocess: ProductPreprocessor, photo: bytes) -> None:
    with pytest.raises(InvalidRequest, match=r"^image\[2\]: not a readable"):
        preprocess(["red", "red", "red"], [photo, b"", photo[:40]])


def test_joined_batches_equal_one_batch_prepared_together(preprocess: ProductPreprocessor, photo: bytes) -> None:
    titles, images = ["red", "red dress red dress", ""], [b"", photo, photo]
    parts = [preprocess([title], [image]) for title, image in zip(titles, images, strict=True)]
    joined, together = concatenate(parts).tensors(), preprocess(titles, images).tensors()
    for name, array in together.items():
        assert joined[name].dtype == array.dtype
        assert np.array_equal(joined[name], array), name
