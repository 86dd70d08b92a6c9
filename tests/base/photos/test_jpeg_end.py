"""A JPEG without its end marker is read if its picture is whole. Half a picture never is."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from PIL import Image

from shopwindow.base.photos.errors import PhotoBroken
from shopwindow.base.photos.header import read_header
from shopwindow.base.photos.pixels import decode
from tests.base.photos.making import encode, picture

SIZE = 64
WAYS: dict[str, dict[str, Any]] = {
    "plain": {},
    "colours as fine as brightness": {"subsampling": 0},
    "own codes": {"optimize": True},  # the white below the product is a long run of zeros
    "progressive": {"progressive": True},
    "restarts": {"restart_marker_blocks": 5},
    "progressive with restarts": {"progressive": True, "restart_marker_rows": 1},
}


def product(mode: str = "RGB", size: tuple[int, int] = (320, 240)) -> Image.Image:
    """Return a coarse pattern on white, as shops show their products."""
    photo = Image.new("RGB", size, "white")
    pattern = picture(20, 15).resize((size[0] // 2, size[1] // 2))
    photo.paste(pattern, (size[0] // 4, size[1] // 8))
    return photo.convert(mode)


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("size", [(320, 240), (97, 65), (1_600, 1_200)])
@pytest.mark.parametrize("way", WAYS)
def test_a_whole_picture_needs_no_end_marker(way: str, size: tuple[int, int], mode: str) -> None:
    data = encode(product(mode, size), "JPEG", **WAYS[way])
    assert data.endswith(b"\xff\xd9")
    for cut in (data[:-2], data[:-1], data[:-2] + b"\xff\xff"):
        np.testing.assert_array_equal(decode(cut, SIZE), decode(data, SIZE))


@pytest.mark.parametrize("rest", ["missing", "zeros"])
@pytest.mark.parametrize("way", WAYS)
def test_half_a_picture_is_refused(way: str, rest: str) -> None:
    data = encode(product(), "JPEG", **WAYS[way])
    first = data.index(b"\xff\xda")
    cuts = [first + round((len(data) - first) * share) for share in (0.1, 0.3, 0.5, 0.7)]
    # Where a restart marker or another scan would follow, the last bits are there.
    cuts += [found.start() for found in re.finditer(rb"\xff[\xd0-\xd7\xc4\xda]", data) if found.start() > first][:12]
    for cut in cuts:
        with pytest.raises(PhotoBroken, match="truncated"):
            decode(data[:cut] + bytes(len(data) - cut if rest == "zeros" else 0), SIZE)


def test_a_photo_without_an_end_counts_as_dearer_because_it_is_decoded_twice() -> None:
    data = encode(product(), "JPEG")
    assert read_header(data[:-2]).seconds > 1.9 * read_header(data).seconds
