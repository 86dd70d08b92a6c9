"""What a PNG says is transparent becomes white, whatever its depth."""

from __future__ import annotations

import struct

import numpy as np
import pytest

from shopwindow.base.photos.pixels import decode
from tests.base.photos.making import chunk, png

SIZE = 8  # as many pixels as the photos have, so that nothing is resized
GREY, RGB, PALETTE = 0, 2, 3


def rows(pixels: np.ndarray, depth: int) -> bytes:
    """Return the rows of a PNG, from (height, width, bands) pixels."""
    bits = pixels.reshape(len(pixels), -1, 1) >> np.arange(depth)[::-1] & 1
    return b"".join(b"\0" + row.tobytes() for row in np.packbits(bits.reshape(len(pixels), -1), axis=1))


def halves(left: tuple[int, ...], right: tuple[int, ...]) -> np.ndarray:
    pixels = np.empty((SIZE, SIZE, len(left)), np.uint16)
    pixels[:, : SIZE // 2], pixels[:, SIZE // 2 :] = left, right
    return pixels


@pytest.mark.parametrize("beyond", [0, 1])
@pytest.mark.parametrize(
    ("colours", "depth", "clear", "other", "seen"),
    [
        (GREY, 1, (1,), (0,), (0, 0, 0)),
        (GREY, 2, (1,), (2,), (170, 170, 170)),
        (GREY, 4, (7,), (6,), (102, 102, 102)),
        (GREY, 8, (117,), (118,), (118, 118, 118)),
        (GREY, 16, (0x7530,), (0x7531,), (0x75, 0x75, 0x75)),
        (RGB, 8, (10, 20, 30), (10, 20, 31), (10, 20, 31)),
        (RGB, 16, (3_000, 4_000, 5_000), (3_000, 4_000, 5_001), (11, 15, 19)),
    ],
)
def test_the_transparent_colour_becomes_white_and_the_next_one_does_not(
    colours: int, depth: int, clear: tuple[int, ...], other: tuple[int, ...], seen: tuple[int, ...], beyond: int
) -> None:
    said = [value + (beyond << depth) & 0xFFFF for value in clear]  # only as many bits count as a pixel has
    transparency = chunk(b"tRNS", struct.pack(f">{len(said)}H", *said))
    pixels = decode(png(SIZE, SIZE, depth, colours, rows(halves(clear, other), depth), transparency), SIZE)
    expected = halves((255, 255, 255), seen)
    np.testing.assert_array_equal(pixels, expected)


@pytest.mark.parametrize(
    ("transparency", "seen"),
    [
        (b"\0", (255, 255, 255)),
        (b"\x80", (255, 127, 127)),
        (b"\xff\0", (255, 0, 0)),
        (b"\0" + b"\xff" * 299, (255, 255, 255)),  # more than a palette has
        (b"", (255, 0, 0)),
    ],
)
def test_a_palette_may_have_transparent_colours(transparency: bytes, seen: tuple[int, ...]) -> None:
    palette = chunk(b"PLTE", bytes([255, 0, 0]))
    data = png(SIZE, SIZE, 8, PALETTE, rows(halves((0,), (0,)), 8), palette, chunk(b"tRNS", transparency))
    np.testing.assert_array_equal(decode(data, SIZE), halves(seen, seen))


def test_transparency_behind_the_picture_does_not_count() -> None:
    data = png(SIZE, SIZE, 8, GREY, rows(halves((7,), (7,)), 8))
    behind = data[:-12] + chunk(b"tRNS", b"\0\7") + data[-12:]
    np.testing.assert_array_equal(decode(behind, SIZE), np.full((SIZE, SIZE, 3), 7))
