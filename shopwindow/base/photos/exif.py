"""Read from EXIF data how a photo is turned. Nothing else of it is read, because odd tags must not spoil a photo."""

from __future__ import annotations

import struct

_ORDERS = {b"II*\0": "<", b"MM\0*": ">"}
_ORIENTATION = 0x0112
_INTEGERS = {1: "B", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i"}  # as TIFF numbers its types; 3 is the usual one
_MAX_TAGS = 1_000


def orientation(exif: bytes) -> int | None:
    """Return how to turn a photo for display, 1 to 8; 1 is upright. None: the data, broken or not, do not say it."""
    for _ in range(2):  # some programs write the name where it is not due, or twice
        exif = exif.removeprefix(b"Exif\0\0")
    order = _ORDERS.get(exif[:4])
    if order is None:
        return None
    try:
        (at,) = struct.unpack_from(f"{order}I", exif, 4)
        (number,) = struct.unpack_from(f"{order}H", exif, at)
        for tag_at in range(at + 2, at + 2 + 12 * min(number, _MAX_TAGS), 12):
            tag, kind, values = struct.unpack_from(f"{order}HHI", exif, tag_at)
            if tag == _ORIENTATION:
                if kind not in _INTEGERS or values != 1:
                    return None
                (value,) = struct.unpack_from(order + _INTEGERS[kind], exif, tag_at + 8)
                return int(value) if 1 <= value <= 8 else None
    except struct.error:
        pass
    return None
