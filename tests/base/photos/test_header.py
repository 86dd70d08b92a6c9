"""The header of any file is read in bounded time, and says what the whole photo will cost."""

from __future__ import annotations

import io
import struct
import time
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from shopwindow.base.photos.errors import PhotoBroken, PhotoUnfit
from shopwindow.base.photos.header import MAX_BYTES, MAX_PIECES, MAX_SCANS, read_header
from shopwindow.base.photos.pixels import decode
from tests.base.photos.making import chunk, encode, exif, picture, with_chunks, with_segments

SIZE = 32
WAYS: list[tuple[str, dict[str, Any]]] = [
    ("JPEG", {}),
    ("JPEG", {"progressive": True}),
    ("PNG", {}),
    ("WEBP", {}),
    ("WEBP", {"lossless": True}),
    ("WEBP", {"exif": b"Exif\0\0MM\0*\0\0\0\x08\0\0"}),  # an extended file
]


@pytest.mark.parametrize(("kind", "options"), WAYS)
@settings(max_examples=15)
@given(width=st.integers(1, 400), height=st.integers(1, 400))
def test_the_size_is_that_of_the_decoded_photo(kind: str, options: dict[str, Any], width: int, height: int) -> None:
    data = encode(picture(width, height), kind, **options)
    header = read_header(data)
    with Image.open(io.BytesIO(data)) as image:
        assert (header.format, header.width, header.height) == (image.format, *image.size)
        assert header.pixels == width * height


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGBA", "I;16"])
def test_a_png_of_any_kind_keeps_its_pixels(mode: str) -> None:
    image = (
        Image.fromarray(np.arange(900, dtype=np.uint16).reshape(30, 30) * 70) if mode == "I;16" else picture(mode=mode)
    )
    data = encode(image, "PNG")
    noisy = with_chunks(data, chunk(b"tEXt", b"Comment\0words"), chunk(b"gAMA", struct.pack(">I", 45_455)))
    np.testing.assert_array_equal(decode(noisy, SIZE), decode(data, SIZE))


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_a_photo_is_turned_as_its_exif_says_even_if_other_tags_are_odd(kind: str, orientation: int, order: str) -> None:
    upright = picture(64, 64)
    plain = encode(upright, kind, **({} if kind == "PNG" else {"quality": 95}))
    data = exif(orientation, order)
    if kind == "JPEG":
        odd = with_segments(plain, b"\xff\xe1" + struct.pack(">H", 8 + len(data)) + b"Exif\0\0" + data)
    elif kind == "PNG":
        odd = with_chunks(plain, chunk(b"eXIf", data))
    else:
        odd = encode(upright, kind, quality=95, exif=data)
    assert read_header(odd).orientation == orientation
    turned = Image.Exif()
    turned[0x0112] = orientation
    image = Image.fromarray(decode(plain, SIZE))
    image.info["exif"] = turned.tobytes()
    expected = np.asarray(ImageOps.exif_transpose(image)).astype(int)
    assert np.abs(decode(odd, SIZE) - expected).max() <= 2  # shrinking rounds differently in the other direction


BOMBS: dict[str, tuple[Callable[[], bytes], str]] = {
    "fill bytes": (lambda: b"\xff\xd8" + b"\xff" * (MAX_BYTES - 2), "no marker at byte 2"),
    "empty segments": (lambda: b"\xff\xd8" + b"\xff\xe2\0\2" * 5_000_000, f"at most {MAX_PIECES} segments"),
    "fill bytes in a scan": (
        lambda: encode(picture(), "JPEG", progressive=True)[:-2] + b"\xff" * 19_000_000,
        "",  # it is decoded or refused, but soon
    ),
    "scans": (lambda: many_scans(MAX_SCANS + 1), f"at most {MAX_SCANS} scans"),
    "empty chunks": (
        lambda: with_chunks(encode(picture(), "PNG"), chunk(b"tEXt", b"") * 1_700_000),
        f"at most {MAX_PIECES} chunks",
    ),
    "chunks of a WebP": (
        lambda: (webp := encode(picture(), "WEBP", exif=exif(1)))[:30] + b"abcd\0\0\0\0" * 2_600_000 + webp[30:],
        f"at most {MAX_PIECES} chunks",
    ),
}


def many_scans(number: int) -> bytes:
    """Return a progressive JPEG whose last scan is repeated. Each one costs a pass over the whole photo."""
    data = encode(picture(), "JPEG", progressive=True)
    last = data.rindex(b"\xff\xda")
    return data[:last] + data[last:-2] * number + data[-2:]


@pytest.mark.parametrize("name", BOMBS)
def test_no_file_keeps_the_reader_busy(name: str) -> None:
    make, reason = BOMBS[name]
    data = make()
    began = time.process_time()
    try:
        decode(data, SIZE)
    except PhotoUnfit as error:
        assert reason in str(error)
    else:
        assert not reason
    assert time.process_time() - began < 1.5  # without limits it was 6 seconds to hours


@pytest.mark.parametrize("name", [b"zTXt", b"iCCP"])
def test_texts_and_colour_profiles_are_not_unpacked(name: bytes) -> None:
    data = encode(picture(), "PNG")
    packed = b"name\0\0" + zlib.compress(bytes(2**24), 9)
    bomb = with_chunks(data, *[chunk(name, packed)] * 1_000)  # 16 GiB
    began = time.process_time()
    np.testing.assert_array_equal(decode(bomb, SIZE), decode(data, SIZE))
    assert time.process_time() - began < 1.5


def test_a_broken_chunk_that_is_not_the_picture_does_not_matter() -> None:
    data = encode(picture(), "PNG")
    broken = chunk(b"iCCP", b"name\0\0not packed")[:-4] + b"abcd"  # a wrong checksum too
    np.testing.assert_array_equal(decode(with_chunks(data, broken), SIZE), decode(data, SIZE))


def test_a_file_with_two_sizes_is_refused() -> None:
    small, large = encode(picture(8, 8), "JPEG"), encode(picture(80, 80), "JPEG")
    start = large.index(b"\xff\xc0")
    frame = large[start : start + 2 + struct.unpack_from(">H", large, start + 2)[0]]
    with pytest.raises(PhotoBroken, match="two sizes"):
        decode(with_segments(small, frame), SIZE)
    png = encode(picture(8, 8), "PNG")
    with pytest.raises(PhotoBroken):
        decode(with_chunks(png, chunk(b"IHDR", struct.pack(">IIBBBBB", 9_000, 9_000, 8, 2, 0, 0, 0))), SIZE)


@given(
    st.binary(max_size=200), st.sampled_from([b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"RIFF\x90\0\0\0WEBPVP8X"])
)
def test_any_bytes_give_a_header_or_a_reason(data: bytes, start: bytes) -> None:
    try:
        header = read_header(start + data)
    except PhotoUnfit as error:
        assert str(error)
    else:
        assert header.pixels > 0


@pytest.mark.parametrize(("kind", "options"), WAYS)
@settings(max_examples=40)
@given(data=st.data())
def test_a_mutated_photo_is_decoded_or_refused(kind: str, options: dict[str, Any], data: st.DataObject) -> None:
    photo = bytearray(encode(picture(), kind, **options))
    for _ in range(data.draw(st.integers(1, 5))):
        photo[data.draw(st.integers(0, len(photo) - 1))] = data.draw(st.integers(0, 255))
    try:
        assert decode(bytes(photo), SIZE).shape == (SIZE, SIZE, 3)
    except PhotoUnfit as error:
        assert str(error)


def test_the_cost_grows_with_what_must_be_decoded() -> None:
    jpeg = [read_header(encode(picture(400, side), "JPEG")).seconds for side in (100, 400)]
    assert jpeg[1] > 3 * jpeg[0]
    scans = [read_header(encode(picture(400, 400), "JPEG", progressive=each)).seconds for each in (False, True)]
    assert scans[1] > 2 * scans[0]
    assert read_header(encode(picture(400, 400), "PNG")).seconds > 2 * jpeg[1]
