"""Read what a photo's file says about it, before anything is decoded.

The work is bounded, whatever the bytes are: at most MAX_PIECES pieces, and for a JPEG two passes over the file.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from shopwindow.base.photos import exif
from shopwindow.base.photos.errors import PhotoBroken, PhotoUnfit
from shopwindow.base.photos.other_formats import other_format

FORMATS = ("JPEG", "PNG", "WEBP")
MAX_BYTES = 20 * 2**20
MAX_SIDE = 16_000
MAX_PIXELS = 50_000_000
MAX_SCANS = 100  # of a progressive JPEG. Common ones have about ten, and each costs a pass over the whole photo.
MAX_PIECES = 10_000  # chunks or segments of a file

# Seconds to decode a pixel, and a byte of the file, on one core. They only tell cheap photos from expensive ones.
_JPEG = 1.5e-9, 5e-9
_SCAN = 1e-9  # each pixel of each scan of a progressive JPEG
_PNG = 25e-9, 10e-9
_WEBP = 40e-9, 0.0

# A marker of a JPEG with a length. Decoders skip what stands before it, for example behind a segment whose length is
# wrong. Without the limit, 20 MiB of bytes that only fill up would be searched.
_MARKER = re.compile(rb"\xff[\x02-\xcf\xd8-\xfe]")
_MAX_GAP = 2**16
_FILL = b"\xff" * 256
_MARKER_IN_SCAN = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
_SOI, _EOI, _SOS, _EXIF, _COMMENT = 0xD8, 0xD9, 0xDA, 0xE1, 0xFE
_COLOURS = {0xE0: (b"JFIF\0", 14), 0xEE: (b"Adobe", 12)}  # segments that say which colours a JPEG has: start and length
_SIZES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}  # start of a frame
_PROGRESSIVE = {0xC2, 0xC6, 0xCA, 0xCE}
_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PNG_PICTURE = {b"IHDR", b"IDAT", b"IEND"}
_PALETTE = 3
_WEBP_PICTURE = {b"ANIM", b"ALPH", b"ANMF", b"VP8 ", b"VP8L"}
_WEBP_FRAME = {b"ANMF", b"VP8 ", b"VP8L"}

Part = tuple[int, int] | bytes


@dataclass(frozen=True, kw_only=True)
class Header:
    """What a photo's file says about it.

    Attributes:
        format: one of FORMATS.
        width: width in pixels, as stored.
        height: height in pixels, as stored.
        seconds: roughly how long one core decodes it.
        orientation: how to turn it for display, 1 to 8, as in EXIF; 1 is upright.
        parts: (start, stop) of the parts of the file that hold the picture, or bytes to put there instead. Texts,
            colour profiles and thumbnails are left out: they are not used, may be broken, and a tiny file may hold
            gigabytes of them.
        ended: False for a JPEG without its end marker. Only decoding shows whether the picture is whole.
    """

    format: str
    width: int
    height: int
    seconds: float
    orientation: int
    parts: tuple[Part, ...]
    ended: bool = True

    @property
    def pixels(self) -> int:
        """Number of pixels."""
        return self.width * self.height


def read_header(data: bytes) -> Header:
    """Read the header of a JPEG, PNG or WebP file, and check the limits of one photo.

    Raises:
        PhotoUnfit: too many bytes, pixels or scans.
        PhotoBroken: another format, or broken data.
    """
    if len(data) > MAX_BYTES:
        raise PhotoUnfit(f"at most {MAX_BYTES} bytes, got {len(data)}")
    try:
        if data.startswith(b"\xff\xd8\xff"):
            header = _jpeg(data)
        elif data.startswith(_PNG_SIGNATURE):
            header = _png(data)
        elif data[:4] == b"RIFF" and data[8:12] == b"WEBP":
            header = _webp(data)
        elif name := other_format(data):
            raise PhotoBroken(f"it is {name}, convert it to one of these")
        else:
            raise PhotoBroken("its first bytes are of no such file")
    except (struct.error, IndexError):
        raise PhotoBroken("the header is truncated") from None
    if max(header.width, header.height) > MAX_SIDE or header.pixels > MAX_PIXELS:
        raise PhotoUnfit(
            f"at most {MAX_SIDE} pixels a side and {MAX_PIXELS} in all, got {header.width} x {header.height}"
        )
    if not header.pixels:
        raise PhotoBroken(f"its size is {header.width} x {header.height}")
    return header


def _jpeg(data: bytes) -> Header:
    size: tuple[int, int] | None = None
    components, kind = 0, 0
    orientation: int | None = None
    parts: list[Part] = [(0, 2)]
    for marker, start, body, stop in _segments(data):
        if marker in _SIZES:
            if size is not None:
                raise PhotoBroken("it has two sizes")
            height, width, components = struct.unpack_from(">HHB", data, body + 1)
            size, kind = (width, height), marker
        elif marker == _EXIF and data[body : body + 5] == b"Exif\0":
            orientation = orientation or exif.orientation(data[body + 6 : stop])
        if marker == _SOS:
            break
        if 0xE0 <= marker <= 0xEF or marker == _COMMENT:
            name, length = _COLOURS.get(marker, (b"", 2**16))
            if not (data.startswith(name, body) and stop - body >= length):
                continue
        parts.append((start, stop))
    else:
        raise PhotoBroken("the header is truncated")
    if size is None:
        raise PhotoBroken("the header has no size")
    # The decoder would look through a long run of fill bytes again and again. No picture goes on behind one.
    fill = data.find(_FILL, stop)
    end = len(data) if fill < 0 else fill
    parts.append((start, end))
    ended = data.find(bytes([0xFF, _EOI]), stop, end) >= 0
    width, height = size
    seconds = _seconds(_JPEG, width * height, len(data))
    if kind in _PROGRESSIVE or data[body] < components:  # otherwise one scan holds everything
        scans = _scans(data, body, stop, end)
        seconds += len(scans) * width * height * _SCAN
        if not ended and not _hold_everything(data, scans, components):
            raise PhotoBroken("the picture is truncated, scans are missing")
    return Header(
        format="JPEG",
        width=width,
        height=height,
        seconds=seconds if ended else 2 * seconds,  # see `jpeg_end`
        orientation=orientation or 1,
        parts=tuple(parts),
        ended=ended,
    )


def _segments(data: bytes) -> Iterator[tuple[int, int, int, int]]:
    """Yield marker, start, start of the body and stop of each segment of a JPEG, up to the first scan."""
    start = 2
    for _ in range(MAX_PIECES):
        found = _MARKER.search(data, start, start + _MAX_GAP)
        if found is None:
            raise PhotoBroken("the header is truncated" if start >= len(data) else f"no marker at byte {start}")
        marker = found[0][1]
        if marker in (_SOI, _EOI):
            raise PhotoBroken("the header has no size")
        stop = found.end() + _length(data, found.end())
        yield marker, found.start(), found.end() + 2, stop
        start = stop
    raise PhotoUnfit(f"at most {MAX_PIECES} segments before the picture, got more")


def _scans(data: bytes, body: int, start: int, end: int) -> list[int]:
    """Return where the body of the header of each scan of a JPEG begins.

    Args:
        data: the file.
        body: where that of the first one begins.
        start: where the data of the first scan begins.
        end: where the part of the file that the decoder gets ends.
    """
    scans, pieces = [body], 1
    while found := _MARKER_IN_SCAN.search(data, start, end):
        marker = data[found.end() - 1]
        if marker == _EOI or found.end() + 2 > end:
            break
        pieces += 1
        if marker == _SOS:
            scans.append(found.end() + 2)
        if len(scans) > MAX_SCANS or pieces > MAX_PIECES:
            raise PhotoUnfit(f"at most {MAX_SCANS} scans and {MAX_PIECES} segments in a JPEG, got more")
        start = found.end() + _length(data, found.end())
    return scans


def _hold_everything(data: bytes, scans: list[int], components: int) -> bool:
    """Return whether scans of a JPEG hold the last bit of all 64 coefficients of each component."""
    held = set()
    for body in scans:
        number = min(data[body], 4)
        first, last, bits = struct.unpack_from("3B", data, body + 1 + 2 * number)
        if bits & 15 == 0:  # the lowest bit is the last one to come
            held |= {(data[body + 1 + 2 * each], k) for each in range(number) for k in range(first, min(last, 63) + 1)}
    return len(held) == 64 * components


def _length(data: bytes, at: int) -> int:
    """Return the length of a segment of a JPEG, which counts itself: a lower one is read as 2, as decoders do."""
    (length,) = struct.unpack_from(">H", data, at)
    return max(2, int(length))


def _png(data: bytes) -> Header:
    if data[12:16] != b"IHDR":
        raise PhotoBroken("the first chunk is not IHDR")
    width, height, depth, colours = struct.unpack_from(">IIBB", data, 16)
    seconds = _seconds(_PNG, width * height, len(data))
    orientation: int | None = None
    transparency: bytes | None = None
    picture: list[Part] = [(0, len(_PNG_SIGNATURE))]
    at = len(_PNG_SIGNATURE)
    for _ in range(MAX_PIECES):
        if at + 8 > len(data):
            break  # the decoder says what is missing
        length, kind = struct.unpack_from(">I4s", data, at)
        stop = at + 12 + length
        if kind in _PNG_PICTURE or (kind == b"PLTE" and colours == _PALETTE):
            if kind == b"IDAT" and transparency is None:
                transparency = b""  # behind the picture it does not count
            picture.append((at, stop))
        elif kind == b"tRNS" and transparency is None and _is_sound(data, at, stop):
            transparency = _transparency(data[at + 8 : stop - 4], depth, colours)
            picture.append(transparency)
        elif kind == b"eXIf" and _is_sound(data, at, stop):
            orientation = orientation or exif.orientation(data[at + 8 : stop - 4])
        if kind == b"IEND":
            break
        at = stop
    else:
        raise PhotoUnfit(f"at most {MAX_PIECES} chunks in a PNG, got more")
    return Header(
        format="PNG",
        width=width,
        height=height,
        seconds=2 * seconds if transparency and (depth, colours) == (16, 2) else seconds,  # decoded twice
        orientation=orientation or 1,
        parts=tuple(picture),
    )


def _is_sound(data: bytes, at: int, stop: int) -> bool:
    """Return whether the checksum of a chunk of a PNG is right. Decoders leave out what is no part of the picture."""
    return zlib.crc32(memoryview(data)[at + 4 : stop - 4]).to_bytes(4, "big") == data[stop - 4 : stop]


def _transparency(values: bytes, depth: int, colours: int) -> bytes:
    """Return the chunk that says what is transparent in a PNG in the way that Pillow reads it, or nothing.

    Pillow refuses one that is too short or too long for a palette, does not leave out the bits beyond the depth of a
    pixel, and compares shades of grey of 2 and 4 bits with pixels that it has scaled to 8 bits.
    """
    if colours == _PALETTE:
        values = values[:256]
    else:
        number = {0: 1, 2: 3}.get(colours, 0)
        if not number or len(values) < 2 * number:
            return b""
        scale = 255 // (2**depth - 1) if depth in (2, 4) else 1
        values = struct.pack(
            f">{number}H",
            *(scale * (value & 2**depth - 1) for value in struct.unpack_from(f">{number}H", values)),
        )
    chunk = b"tRNS" + values
    return len(values).to_bytes(4, "big") + chunk + zlib.crc32(chunk).to_bytes(4, "big")


def _webp(data: bytes) -> Header:
    """Read a WebP. Its container is written anew, because a wrong length, or a break behind the picture, spoils it."""
    kind = data[12:16]
    orientation: int | None = None
    parts: list[Part] = []
    if kind == b"VP8X":
        width, height = (1 + int.from_bytes(data[at : at + 3], "little") for at in (24, 27))
        at, framed, exif_read = 12, False, False
        for number in range(MAX_PIECES):
            if at + 8 > len(data):
                break
            name, length = struct.unpack_from("<4sI", data, at)
            stop = at + 8 + length
            if number == 0 or (name in _WEBP_PICTURE and not framed):
                parts += [(at, stop), bytes(length % 2)]
                framed = name in _WEBP_FRAME  # of an animation, only the first one is needed
            elif name == b"EXIF" and not exif_read:
                orientation, exif_read = exif.orientation(data[at + 8 : stop]), True
            if framed and exif_read:
                break
            at = stop + length % 2
        else:
            raise PhotoUnfit(f"at most {MAX_PIECES} chunks in a WebP, got more")
    else:
        if kind == b"VP8L":
            (bits,) = struct.unpack_from("<I", data, 21)
            width, height = 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
        elif kind == b"VP8 ":
            width, height = (side & 0x3FFF for side in struct.unpack_from("<HH", data, 26))
        else:
            raise PhotoBroken(f"its first chunk is {kind!r}")
        (length,) = struct.unpack_from("<I", data, 16)
        parts += [(12, 20 + length), bytes(length % 2)]
    size = 4 + sum(len(part) if isinstance(part, bytes) else part[1] - part[0] for part in parts)
    return Header(
        format="WEBP",
        width=width,
        height=height,
        seconds=_seconds(_WEBP, width * height, len(data)),
        orientation=orientation or 1,
        parts=(b"RIFF" + struct.pack("<I", size & 2**32 - 1) + b"WEBP", *parts),
    )


def _seconds(rates: tuple[float, float], pixels: int, size: int) -> float:
    return pixels * rates[0] + size * rates[1]
