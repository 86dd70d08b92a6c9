"""Decode a JPEG that lacks its end marker, if nothing else of it is missing."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from shopwindow.base.photos.errors import PhotoBroken

_END = b"\xff\xd9"
_NOISE = bytes(number * 89 % 255 for number in range(4_096))  # without \xff
_ZEROS = bytes(16)


def decode_without_end(picture: bytes, decode: Callable[[bytes], np.ndarray]) -> np.ndarray:
    """Return the pixels of a picture to which an end marker is added.

    libjpeg makes up what is missing of a picture that ends too early, and does not tell. So it is decoded once more,
    with noise before the end marker. A whole picture stays as it is, because nothing behind it is read. Zeros at the
    end may be a part of it or the rest of a broken download; they are a part if the picture changes without them.

    Args:
        picture: the file.
        decode: decodes a file.

    Raises:
        PhotoBroken: a part of the picture is missing.
    """
    picture = picture.rstrip(b"\xff")  # half an end marker
    scan = picture[picture.rindex(b"\xff\xda") :]
    last = max(range(0xD0, 0xD8), key=lambda marker: scan.rfind(bytes([0xFF, marker])))
    restart = 0xD0 if bytes([0xFF, last]) not in scan else 0xD0 + (last + 1) % 8
    # A picture may end right before a restart marker. Then only what follows the marker is read.
    pixels = decode(picture + _END)
    if not np.array_equal(pixels, decode(picture + _NOISE + bytes([0xFF, restart]) + _NOISE + _END)):
        raise PhotoBroken("the picture is truncated")
    if picture.endswith(_ZEROS) and np.array_equal(pixels, decode(picture[: -len(_ZEROS)] + _END)):
        raise PhotoBroken("the picture is truncated, zeros take the place of the rest")
    return pixels
