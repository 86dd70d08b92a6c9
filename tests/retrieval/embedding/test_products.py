"""Titles and photos become the inputs of the product tower."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
from PIL import Image
from tokenizers import Tokenizer, models, pre_tokenizers

from shopwindow.base.photos.header import MAX_BYTES
from shopwindow.retrieval import InvalidRequest
from shopwindow.retrieval.embedding.product_inputs import ProductPreprocessor, concatenate
from shopwindow.retrieval.embedding.text import TextEncoder

SIZE = 8


def png_of(width: int, height: int, length: int = 100) -> bytes:
    """A PNG that only says how large it is."""
    head = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    file = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + head + bytes(4) + struct.pack(">I", 0) + b"IEND" + bytes(4)
    return file.ljust(length, b"\0")


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


@pytest.mark.parametrize(
    ("photo", "rows", "message"),
    [
        (png_of(7_000, 7_000), 11, "at most 512000000 pixels in all, got 539000000"),
        (png_of(60, 60, MAX_BYTES), 9, f"at most {160 * 2**20} bytes in all, got {9 * MAX_BYTES}"),
    ],
    ids=["pixels", "bytes"],
)
def test_a_request_with_too_much_in_its_photos_is_refused_before_they_are_decoded(
    preprocess: ProductPreprocessor, photo: bytes, rows: int, message: str
) -> None:
    with pytest.raises(InvalidRequest, match=f"^image: .*{message}; send fewer rows at once"):
        preprocess.check_request(["red"] * rows, [photo] * rows)
    assert len(preprocess.check_request(["red"] * (rows - 1), [photo] * (rows - 1)).photos) == rows - 1


def test_32_ordinary_photos_fit_into_a_request(preprocess: ProductPreprocessor) -> None:
    products = preprocess.check_request([""] * 32, [png_of(4_000, 3_000, 5 * 10**6)] * 32)
    assert products.photo_bytes == 160 * 10**6
    assert products.decode_s > 1


def test_joined_batches_equal_one_batch_prepared_together(preprocess: ProductPreprocessor, photo: bytes) -> None:
    titles, images = ["red", "red dress red dress", ""], [b"", photo, photo]
    parts = [preprocess([title], [image]) for title, image in zip(titles, images, strict=True)]
    joined, together = concatenate(parts).tensors(), preprocess(titles, images).tensors()
    for name, array in together.items():
        assert joined[name].dtype == array.dtype
        assert np.array_equal(joined[name], array), name
