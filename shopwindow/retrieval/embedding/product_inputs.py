"""Prepare products for the product tower. A product has a title, a photo or both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from shopwindow.retrieval.embedding.images import decode_image
from shopwindow.retrieval.embedding.text import TextEncoder, clean_text
from shopwindow.retrieval.errors import InvalidRequest


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
        """Check and prepare the products of one request.

        Args:
            titles: (batch) texts; empty means absent.
            images: (batch) encoded photos; empty means absent.
            pad_to: width of the titles in tokens; None pads to the longest.

        Raises:
            InvalidRequest: a title is not UTF-8 or too long, a photo is unreadable, or a row has neither. The field
                names the row (`image[3]`).
        """
        texts = [clean_text(f"title[{row}]", title) for row, title in enumerate(titles)]
        pixels = np.full((len(texts), self._image_size, self._image_size, 3), 255, dtype=np.uint8)
        present = np.zeros((len(texts), 2), dtype=np.float32)
        for row, (text, image) in enumerate(zip(texts, images, strict=True)):
            if not text and not image:
                raise InvalidRequest(f"title[{row}], image[{row}]", "at least one must be given, both are empty")
            present[row] = bool(text), bool(image)
            if image:
                pixels[row] = decode_image(f"image[{row}]", image, self._image_size)
        ids, mask = self._titles.encode(texts, pad_to=pad_to)
        return ProductBatch(title_ids=ids, title_mask=mask, pixels=pixels, modality_mask=present)


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
