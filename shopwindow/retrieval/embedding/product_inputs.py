"""Prepare products for the product tower. A product has a title, a photo or both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from shopwindow.retrieval.embedding.images import Decode, Photo, decode_photo
from shopwindow.retrieval.embedding.text import TextEncoder, clean_text
from shopwindow.retrieval.errors import InvalidRequest

MAX_REQUEST_BYTES = 160 * 2**20
MAX_REQUEST_PIXELS = 512_000_000


@dataclass(frozen=True, kw_only=True)
class ProductBatch:
    """The product tower's inputs.

    Attributes:
        title_ids: (batch, tokens) int32.
        title_mask: (batch, tokens) int32, 1 at real tokens.
        pixels: (batch, size, size, 3) uint8.
        modality_mask: (batch, 2) float32: 1 if the title is present, 1 if the image is present.
    """

    title_ids: np.ndarray
    title_mask: np.ndarray
    pixels: np.ndarray
    modality_mask: np.ndarray

    def __getitem__(self, rows: slice) -> ProductBatch:
        """Return some of the products."""
        return ProductBatch(**{name: array[rows] for name, array in self.tensors().items()})

    def tensors(self) -> dict[str, np.ndarray]:
        """Return tensor name -> input."""
        return dict(vars(self))


@dataclass(frozen=True, kw_only=True)
class Products:
    """Products that were checked, but whose photos are not decoded yet.

    Attributes:
        title_ids: (batch, tokens) int32.
        title_mask: (batch, tokens) int32, 1 at real tokens.
        modality_mask: (batch, 2) float32: 1 if the title is present, 1 if the photo is present.
        photos: the photos of those rows that have one, in order.
        image_size: side of the square that they are decoded to.
    """

    title_ids: np.ndarray
    title_mask: np.ndarray
    modality_mask: np.ndarray
    photos: tuple[Photo, ...]
    image_size: int

    @property
    def decode_s(self) -> float:
        """Roughly how many seconds one core decodes the photos."""
        return sum(photo.header.seconds for photo in self.photos)

    @property
    def photo_bytes(self) -> int:
        """Bytes of the photos."""
        return sum(len(photo.data) for photo in self.photos)

    def decoded(self, decode: Decode = decode_photo) -> ProductBatch:
        """Decode the photos, one after the other.

        Raises:
            InvalidRequest: a photo is broken. The field names the row (`image[3]`).
        """
        side = self.image_size
        pixels = np.full((len(self.title_ids), side, side, 3), 255, dtype=np.uint8)
        for row, photo in zip(np.flatnonzero(self.modality_mask[:, 1]), self.photos, strict=True):
            pixels[row] = decode(photo, side)
        return ProductBatch(
            title_ids=self.title_ids, title_mask=self.title_mask, pixels=pixels, modality_mask=self.modality_mask
        )


class ProductPreprocessor:
    """Turns raw titles and encoded photos into a `ProductBatch`.

    Args:
        titles: the title tokeniser.
        image_size: side of the square photo in pixels.
    """

    def __init__(self, titles: TextEncoder, image_size: int) -> None:
        self._titles = titles
        self._image_size = image_size

    def __call__(
        self, titles: Sequence[bytes | str], images: Sequence[bytes], *, pad_to: int | None = None
    ) -> ProductBatch:
        """Check and prepare products, as many as there are.

        Args:
            titles: (batch) texts; empty means absent.
            images: (batch) encoded photos; empty means absent.
            pad_to: width of the titles in tokens; None pads to the longest.

        Raises:
            InvalidRequest: a title is not UTF-8 or too long, a photo is unreadable, or a row has neither. The field
                names the row (`image[3]`).
        """
        return self._check(titles, images, pad_to).decoded()

    def check_request(
        self, titles: Sequence[bytes | str], images: Sequence[bytes], *, pad_to: int | None = None
    ) -> Products:
        """Check the products of one request by the headers of their photos, and tokenise the titles.

        Arguments: as `__call__`.

        Raises:
            InvalidRequest: as `__call__`, or the photos have more than MAX_REQUEST_BYTES or MAX_REQUEST_PIXELS in all.
        """
        total = sum(map(len, images))
        if total > MAX_REQUEST_BYTES:
            raise InvalidRequest("image", _too_much("bytes", MAX_REQUEST_BYTES, total))
        products = self._check(titles, images, pad_to)
        pixels = sum(photo.header.pixels for photo in products.photos)
        if pixels > MAX_REQUEST_PIXELS:
            raise InvalidRequest("image", _too_much("pixels", MAX_REQUEST_PIXELS, pixels))
        return products

    def _check(self, titles: Sequence[bytes | str], images: Sequence[bytes], pad_to: int | None) -> Products:
        texts = [clean_text(f"title[{row}]", title) for row, title in enumerate(titles)]
        present = np.zeros((len(texts), 2), dtype=np.float32)
        photos = []
        for row, (text, image) in enumerate(zip(texts, images, strict=True)):
            if not text and not image:
                raise InvalidRequest(f"title[{row}], image[{row}]", "at least one must be given, both are empty")
            present[row] = bool(text), bool(image)
            if image:
                photos.append(Photo.read(f"image[{row}]", image))
        ids, mask = self._titles.encode(texts, pad_to=pad_to)
        return Products(
            title_ids=ids,
            title_mask=mask,
            modality_mask=present,
            photos=tuple(photos),
            image_size=self._image_size,
        )


def _too_much(unit: str, limit: int, got: int) -> str:
    return f"the photos of a request may have at most {limit} {unit} in all, got {got}; send fewer rows at once"


def pad_columns(arrays: Sequence[np.ndarray]) -> np.ndarray:
    """Join (batch, tokens) arrays of different widths, padded with 0 on the right. Masks must hide the padding."""
    width = max(array.shape[1] for array in arrays)
    return np.concatenate([np.pad(array, ((0, 0), (0, width - array.shape[1]))) for array in arrays])


def concatenate(batches: Sequence[ProductBatch]) -> ProductBatch:
    """Join batches whose titles may be padded to different widths."""
    if len(batches) == 1:
        return batches[0]
    return ProductBatch(
        title_ids=pad_columns([batch.title_ids for batch in batches]),
        title_mask=pad_columns([batch.title_mask for batch in batches]),
        pixels=np.concatenate([batch.pixels for batch in batches]),
        modality_mask=np.concatenate([batch.modality_mask for batch in batches]),
    )
