"""Product photos of a request: check their headers, and decode them to the square RGB pixels of the product tower."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from shopwindow.base.photos.errors import PhotoBroken, PhotoUnfit
from shopwindow.base.photos.header import FORMATS, Header, read_header
from shopwindow.base.photos.pixels import decode
from shopwindow.retrieval.errors import InvalidRequest, show


@dataclass(frozen=True)
class Photo:
    """An encoded photo whose header was checked.

    Attributes:
        field: name of the field for errors (`image[3]`).
        data: the file.
        header: what it says.
    """

    field: str
    data: bytes
    header: Header

    @classmethod
    def read(cls, field: str, data: bytes) -> Photo:
        """Read the header.

        Raises:
            InvalidRequest: too many bytes or pixels, an unknown format, or a broken header.
        """
        try:
            return cls(field, data, read_header(data))
        except PhotoUnfit as error:
            raise refusal(field, data, error) from None


Decode = Callable[[Photo, int], np.ndarray]
"""Decodes a photo to (size, size, 3) uint8 as `decode_photo` does, here or in another process."""


def decode_photo(photo: Photo, size: int) -> np.ndarray:
    """Decode a photo; see `shopwindow.base.photos.pixels.decode`.

    Raises:
        InvalidRequest: broken data.
    """
    try:
        return decode(photo.data, size, photo.header)
    except PhotoUnfit as error:
        raise refusal(photo.field, photo.data, error) from None


def decode_image(field: str, data: bytes, size: int) -> np.ndarray:
    """Decode a photo and fit it into a square, padded with white.

    Only the first frame of an animated image counts. Transparent parts become white. EXIF rotation is applied.

    Args:
        field: name of the field for errors (`image[3]`).
        data: a JPEG, PNG or WebP file.
        size: side of the square in pixels.

    Returns:
        (size, size, 3) uint8.

    Raises:
        InvalidRequest: too many bytes or pixels, an unknown format, or broken data.
    """
    return decode_photo(Photo.read(field, data), size)


def refusal(field: str, data: bytes, error: PhotoUnfit) -> InvalidRequest:
    """Return the error for the caller."""
    if not isinstance(error, PhotoBroken):
        return InvalidRequest(field, str(error))
    return InvalidRequest(
        field, f"not a readable {', '.join(FORMATS)} image ({error}); {len(data)} bytes: {show(data[:16])}"
    )
