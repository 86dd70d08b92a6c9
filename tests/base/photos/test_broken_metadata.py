"""Whatever stands beside the picture in a file, the picture is read, as browsers show it."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest

from shopwindow.base.photos.header import read_header
from shopwindow.base.photos.pixels import decode
from tests.base.photos.making import (
    chunk,
    encode,
    exif,
    picture,
    riff,
    segment,
    webp,
    with_chunks,
    with_segments,
)

SIZE = 32
SIDEWAYS = exif(6)
JPEG, PNG, WEBP = encode(picture(), "JPEG"), encode(picture(), "PNG"), encode(picture(), "WEBP")
VP8 = WEBP[12:]


def extended(flags: int) -> bytes:
    """Return the first chunk of an extended WebP."""
    return riff(b"VP8X", struct.pack("<I", flags) + (39).to_bytes(3, "little") + (23).to_bytes(3, "little"))


SEGMENTS = {
    "a length of 0": segment(0xE1, b"", 0),
    "a length of 1": segment(0xE2, b"", 1),
    "a comment with a length of 0": segment(0xFE, b"", 0),
    "a length that is too short": segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + b"x" * 500, 200),
    "bytes without a marker": segment(0xFE, b"words") + b"garbage",
    "a restart marker": b"\xff\xd3",
    "a marker that has no length": b"\xff\x01",
    "JFIF without a version": segment(0xE0, b"JFIF\0"),
    "Adobe without a colour": segment(0xEE, b"Adobe"),
    "a colour profile without a number": segment(0xE2, b"ICC_PROFILE\0"),
    "a colour profile of which parts are missing": segment(0xE2, b"ICC_PROFILE\0\x07\x09garbage"),
    "broken Photoshop data": segment(0xED, b"Photoshop 3.0\x008BIM\x03\xed\0\0\xff\xff\xff\xff"),
    "a broken list of photos": segment(0xE2, b"MPF\0garbage"),
    "EXIF data that are none": segment(0xE1, b"Exif\0\0no TIFF at all"),
    "cut EXIF data": segment(0xE1, b"Exif\0\0" + SIDEWAYS[:11]),
}


@pytest.mark.parametrize("name", SEGMENTS)
def test_a_broken_segment_does_not_spoil_a_jpeg(name: str) -> None:
    np.testing.assert_array_equal(decode(with_segments(JPEG, SEGMENTS[name]), SIZE), decode(JPEG, SIZE))
    turned = with_segments(JPEG, SEGMENTS[name], segment(0xE1, b"Exif\0\0" + SIDEWAYS))
    assert read_header(turned).orientation == 6


CHUNKS = {
    "a text": chunk(b"tEXt", b"Software\0tool"),
    "a packed text that becomes large": chunk(b"zTXt", b"Raw profile type xmp\0\0" + zlib.compress(bytes(2**23))),
    "a packed text that is not packed": chunk(b"zTXt", b"name\0\0garbage"),
    "a text of no known encoding": chunk(b"iTXt", b"name\0\1\7\xff\xff"),
    "a colour profile that becomes large": chunk(b"iCCP", b"printer\0\0" + zlib.compress(bytes(2**23))),
    "EXIF data that are none": chunk(b"eXIf", b"no TIFF at all"),
    "an empty time": chunk(b"tIME", b""),
    "a short gamma": chunk(b"gAMA", b"\0"),
    "a resolution of 3 bytes": chunk(b"pHYs", b"abc"),
    "a palette of an RGB picture": chunk(b"PLTE", b"a"),
    "transparency that is too short": chunk(b"tRNS", b"a"),
    "an animation without frames": chunk(b"acTL", struct.pack(">II", 0, 0)),
    "a frame of no size": chunk(b"acTL", struct.pack(">II", 2, 0)) + chunk(b"fcTL", bytes(26)),
}


@pytest.mark.parametrize("checksum", ["right", "wrong"])
@pytest.mark.parametrize("name", CHUNKS)
def test_a_broken_chunk_does_not_spoil_a_png(name: str, checksum: str) -> None:
    broken = CHUNKS[name] if checksum == "right" else CHUNKS[name][:-1] + bytes([CHUNKS[name][-1] ^ 1])
    np.testing.assert_array_equal(decode(with_chunks(PNG, broken), SIZE), decode(PNG, SIZE))
    np.testing.assert_array_equal(decode(PNG[:-12] + broken + PNG[-12:], SIZE), decode(PNG, SIZE))
    assert read_header(with_chunks(PNG, broken, chunk(b"eXIf", SIDEWAYS))).orientation == 6


def test_a_png_needs_no_end_and_no_checksum_of_its_end() -> None:
    for missing in (2, 4, 12):
        np.testing.assert_array_equal(decode(PNG[:-missing], SIZE), decode(PNG, SIZE))


WEBPS = {
    "EXIF data that are none": webp(extended(8), VP8, riff(b"EXIF", b"garbage")),
    "EXIF data longer than the file": webp(extended(8), VP8, riff(b"EXIF", b"abcd", 4_000)),
    "XMP longer than the file": webp(extended(4), VP8, riff(b"XMP ", b"<x", 2**32 - 1)),
    "an empty colour profile": webp(extended(0x20), riff(b"ICCP", b""), VP8),
    "a colour profile that is announced and missing": webp(extended(0x20), VP8),
    "EXIF data before the picture": webp(extended(8), riff(b"EXIF", b"abc"), VP8),
    "an odd length without the byte that fills it up": webp(extended(8), VP8, b"XMP \3\0\0\0abc", riff(b"abcd", b"")),
    "an unknown chunk": webp(extended(0), riff(b"abcd", b"efg"), VP8),
    "a file that is said to be longer": webp(VP8, length=2**20),
    "a file that is said to be empty": webp(VP8, length=0),
    "an end in the middle of the EXIF data": webp(extended(8), VP8, riff(b"EXIF", SIDEWAYS))[:-50],
    "bytes behind the file": webp(VP8) + b"garbage",
}


@pytest.mark.parametrize("name", WEBPS)
def test_a_broken_chunk_does_not_spoil_a_webp(name: str) -> None:
    np.testing.assert_array_equal(decode(WEBPS[name], SIZE), decode(WEBP, SIZE))


@pytest.mark.parametrize("length", [0, 2**20])
def test_an_animated_webp_needs_only_its_first_frame(length: int) -> None:
    frames = [picture(), picture().rotate(180), picture().rotate(90)]
    data = encode(frames[0], "WEBP", save_all=True, append_images=frames[1:], lossless=True, duration=40)
    second = data.index(b"ANMF", data.index(b"ANMF") + 4)
    first = data[:4] + struct.pack("<I", length) + data[8 : second + 40]
    np.testing.assert_array_equal(decode(first, SIZE), decode(PNG, SIZE))


@pytest.mark.parametrize(
    ("kind", "value", "orientation"),
    [
        (1, b"\x06\0\0\0", 6),  # a byte
        (3, b"\0\x06\0\0", 6),  # 16 bits, as the standard says
        (4, b"\0\0\0\x06", 6),  # 32 bits
        (9, b"\0\0\0\x06", 6),  # 32 bits with a sign
        (9, b"\xff\xff\xff\xfa", 1),
        (2, b"6\0\0\0", 1),  # text
        (11, b"\x40\xc0\0\0", 1),  # floating point
        (99, b"\0\x06\0\0", 1),
        (3, b"\0\0\0\0", 1),
        (3, b"\0\x09\0\0", 1),
    ],
)
def test_the_orientation_may_be_any_integer(kind: int, value: bytes, orientation: int) -> None:
    data = b"MM\0*" + struct.pack(">IHHHI", 8, 1, 0x0112, kind, 1) + value
    assert read_header(with_segments(JPEG, segment(0xE1, b"Exif\0\0" + data))).orientation == orientation
    assert read_header(with_chunks(PNG, chunk(b"eXIf", data))).orientation == orientation
    assert read_header(webp(extended(8), VP8, riff(b"EXIF", data))).orientation == orientation


def test_the_first_exif_data_that_give_an_orientation_count() -> None:
    parts = [b"garbage", SIDEWAYS, exif(3)]
    assert read_header(with_segments(JPEG, *[segment(0xE1, b"Exif\0\0" + part) for part in parts])).orientation == 6
    assert read_header(with_chunks(PNG, *[chunk(b"eXIf", part) for part in parts])).orientation == 6


@pytest.mark.parametrize("prefix", [b"Exif\0\0", b"Exif\0\0Exif\0\0"])
def test_exif_data_may_have_their_name_before_them(prefix: bytes) -> None:
    assert read_header(with_chunks(PNG, chunk(b"eXIf", prefix + SIDEWAYS))).orientation == 6
    assert read_header(webp(extended(8), VP8, riff(b"EXIF", prefix + SIDEWAYS))).orientation == 6


def test_exif_data_with_a_wrong_checksum_do_not_turn_a_photo() -> None:
    broken = chunk(b"eXIf", SIDEWAYS)[:-1] + b"?"
    assert read_header(with_chunks(PNG, broken)).orientation == 1
