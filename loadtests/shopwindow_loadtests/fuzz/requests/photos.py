"""Photos: sound ones of each format, mutated ones, polyglots, and bombs of moderate size."""

from __future__ import annotations

import functools
import io
import struct
import zlib
from random import Random
from typing import Any

from PIL import Image

from shopwindow_loadtests.fuzz.requests import values

_VARIANTS = 12  # different sound photos of each format
_FORMATS = ("JPEG", "PNG", "WEBP")
_SIDES = (0, 1, 7, 300, 4_000, 16_000, 16_001, 65_535, 2**31 - 1, 2**32 - 1)


def photo(rng: Random) -> tuple[str, bytes]:
    """Return a description and the bytes of what claims to be a photo."""
    kind, data = sound(rng)
    draw = rng.random()
    if draw < 0.15:
        return f"sound {kind}", data
    if draw < 0.5:
        return f"mutated {kind}", values.mutated(rng, data, rng.choice((1, 1, 2, 4, 16)))
    if draw < 0.6:
        return f"cut {kind}", data[: rng.randrange(len(data))]
    if draw < 0.75:
        return f"{kind} with another part", _with_part(rng, kind, data)
    if draw < 0.88:
        return f"{kind} of another size in its header", _resized(rng, kind, data)
    if draw < 0.96:
        return f"polyglot of {kind}", _polyglot(rng, data)
    name = rng.choice(list(_BOMBS))
    return name, _bomb(name)


def sound(rng: Random) -> tuple[str, bytes]:
    """Return the format and the bytes of a photo that can be read."""
    kind = rng.choice(_FORMATS)
    return kind, _sound(kind, rng.randrange(_VARIANTS))


@functools.cache
def _sound(kind: str, variant: int) -> bytes:
    rng = Random(f"{kind} {variant}")
    size = (rng.randint(1, 160), rng.randint(1, 160))
    pixels = rng.randbytes(3 * size[0] * size[1]) if variant % 2 else rng.randbytes(3) * (size[0] * size[1])
    image = Image.frombytes("RGB", size, pixels)
    modes = {"JPEG": ("RGB", "L", "CMYK"), "PNG": ("RGB", "L", "RGBA", "P", "1", "I;16", "LA"), "WEBP": ("RGB", "RGBA")}
    mode = rng.choice(modes[kind])
    image = image.convert("I").convert("I;16") if mode == "I;16" else image.convert(mode)
    options: dict[str, Any] = {"JPEG": {"progressive": variant % 3 == 0}, "WEBP": {"lossless": variant % 3 == 0}}.get(
        kind, {}
    )
    if variant % 4 == 0:
        exif = Image.Exif()
        exif[0x0112] = rng.randint(1, 8)  # the orientation
        options["exif"] = exif
    if variant % 5 == 0 and kind != "JPEG" and mode in ("RGB", "RGBA"):
        options |= {"save_all": True, "append_images": [image.transpose(Image.Transpose.ROTATE_180)], "duration": 40}
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def _with_part(rng: Random, kind: str, data: bytes) -> bytes:
    """Insert a chunk or a segment of a valid form and any content."""
    content = (
        rng.randbytes(rng.choice((0, 1, 14, 300))) if rng.random() < 0.7 else zlib.compress(bytes(8 * values.MIB), 9)
    )
    if kind == "PNG":
        name = rng.choice(
            (b"iCCP", b"zTXt", b"iTXt", b"eXIf", b"acTL", b"fcTL", b"fdAT", b"IDAT", b"PLTE", b"tRNS", b"IHDR")
        )
        if name in (b"zTXt", b"iCCP"):
            content = b"a\x00\x00" + content
        place = rng.choice((8, 33, max(33, len(data) - 12)))
        return data[:place] + _chunk(name, content) + data[place:]
    if kind == "JPEG":
        marker = rng.choice((0xE0, 0xE1, 0xE2, 0xED, 0xEE, 0xDB, 0xC0, 0xC2, 0xC4, 0xDD, 0xDA, 0xFE, 0xD8, 0xD9))
        content = rng.choice((b"", b"Exif\x00\x00", b"ICC_PROFILE\x00\x01\x01", b"Adobe")) + content[:60_000]
        length = len(content) + 2 if rng.random() < 0.7 else rng.choice((0, 1, 2, 65_535))
        return data[:2] + struct.pack(">BBH", 0xFF, marker, length) + content + data[2:]
    name = rng.choice((b"VP8X", b"EXIF", b"ICCP", b"XMP ", b"ANIM", b"ANMF", b"ALPH", b"VP8 ", b"VP8L"))
    size = len(content) if rng.random() < 0.7 else rng.choice((0, 1, 2**31, 2**32 - 1))
    body = data[8:12] + name + size.to_bytes(4, "little") + content + bytes(len(content) % 2) + data[12:]
    return data[:4] + len(body).to_bytes(4, "little") + body


def _resized(rng: Random, kind: str, data: bytes) -> bytes:
    """Write another size into the header, with a right checksum where the format has one."""
    width, height = rng.choice(_SIDES), rng.choice(_SIDES)
    if kind == "PNG":
        return data[:8] + _chunk(b"IHDR", struct.pack(">II", width, height) + data[24:29]) + data[33:]
    if kind == "JPEG":
        place = max(data.find(b"\xff\xc0"), data.find(b"\xff\xc2")) + 5
        return data[:place] + struct.pack(">HH", height % 2**16, width % 2**16) + data[place + 4 :]
    if data[12:16] == b"VP8X":
        sides = (max(1, side) - 1 for side in (width, height))
        return data[:24] + b"".join((side % 2**24).to_bytes(3, "little") for side in sides) + data[30:]
    if data[12:16] == b"VP8L":
        return data[:21] + ((width % 2**14) | (height % 2**14) << 14).to_bytes(4, "little") + data[25:]
    return data[:26] + struct.pack("<HH", width % 2**16, height % 2**16) + data[30:]


def _polyglot(rng: Random, data: bytes) -> bytes:
    other = rng.choice(
        (sound(rng)[1], b"GIF89a\x01\x00\x01\x00", b"<svg/>", b"%PDF-1.7\n", b"PK\x03\x04", b"<!doctype html>")
    )
    return rng.choice(
        (data + other, other + data, data[: len(data) // 2] + other, data[:16] + other, other[:4] + data[4:])
    )


def _chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


_BOMBS = {
    "PNG of 9 megapixels in 10 KB": ("PNG", (3_000, 3_000)),
    "WebP of 9 megapixels": ("WEBP", (3_000, 3_000)),
    "JPEG of 9 megapixels": ("JPEG", (3_000, 3_000)),
    "PNG of 16,000 x 2": ("PNG", (16_000, 2)),
    "PNG of 49 megapixels": ("PNG", (7_000, 7_000)),
    "PNG of 100 megapixels": ("PNG", (10_000, 10_000)),
    "2 MiB of JPEG markers": ("", (0, 0)),
}


@functools.cache
def _bomb(name: str) -> bytes:
    kind, size = _BOMBS[name]
    if not kind:
        return b"\xff\xd8" + b"\xff" * (2 * values.MIB)
    buffer = io.BytesIO()
    Image.new("L", size).save(buffer, kind)
    return buffer.getvalue()
