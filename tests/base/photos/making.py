"""Photos with parts that no program writes."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import numpy as np
from PIL import Image


def picture(width: int = 40, height: int = 24, mode: str = "RGB") -> Image.Image:
    noise = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(noise).resize((width, height)).convert(mode)


def encode(image: Image.Image, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def with_chunks(png: bytes, *chunks: bytes) -> bytes:
    """Put chunks between the header of a PNG and its picture."""
    return png[:33] + b"".join(chunks) + png[33:]


def with_segments(jpeg: bytes, *segments: bytes) -> bytes:
    """Put segments at the start of a JPEG."""
    return jpeg[:2] + b"".join(segments) + jpeg[2:]


def exif(orientation: int, order: str = ">") -> bytes:
    """EXIF data with odd tags beside the orientation: one points far outside, one has an unknown type."""
    start = b"MM\0*" if order == ">" else b"II*\0"
    tags = [(0x010E, 2, 2**31, 2**31), (0x0100, 99, 1, 7)]
    body = b"".join(struct.pack(f"{order}HHII", *tag) for tag in tags)
    turn = struct.pack(f"{order}HHIHH", 0x0112, 3, 1, orientation, 0)
    return start + struct.pack(f"{order}IH", 8, len(tags) + 1) + body + turn


def png(width: int, height: int, depth: int, colours: int, rows: bytes, *chunks: bytes) -> bytes:
    """Return a PNG of a kind that Pillow does not write, from rows that begin with their filter."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colours, 0, 0, 0))
    picture = chunk(b"IDAT", zlib.compress(rows))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(chunks) + picture + chunk(b"IEND", b"")


def segment(marker: int, content: bytes, length: int | None = None) -> bytes:
    """Return a segment of a JPEG; a length that is given stands there instead of the right one."""
    return struct.pack(">BBH", 0xFF, marker, len(content) + 2 if length is None else length) + content


def riff(name: bytes, content: bytes, length: int | None = None) -> bytes:
    """Return a chunk of a WebP; a length that is given stands there instead of the right one."""
    size = len(content) if length is None else length
    return name + struct.pack("<I", size) + content + bytes(len(content) % 2)


def webp(*chunks: bytes, length: int | None = None) -> bytes:
    """Return a WebP; a length that is given stands there instead of the right one."""
    return riff(b"RIFF", b"WEBP" + b"".join(chunks), length)
