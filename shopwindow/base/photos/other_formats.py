"""Name the formats that are not read, so that an error can say what to do.

AVIF and HEIC are not read although libraries could: a file that says it is small may decode to a huge picture.
"""

from __future__ import annotations

_BEGINNINGS = {
    b"GIF8": "GIF",
    b"BM": "BMP",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
    b"%PDF": "PDF",
    b"\xff\x0a": "JPEG XL",
    b"\0\0\0\x0cJXL ": "JPEG XL",
    b"\0\0\0\x0cjP  ": "JPEG 2000",
}
_BRANDS = {
    "AVIF": {b"avif", b"avis"},
    "HEIC": {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"},
}


def other_format(data: bytes) -> str | None:
    """Return the name of a file's format if it is a known one, but none that is read; else None."""
    if data[4:8] == b"ftyp":
        named = {data[8:12], *(data[at : at + 4] for at in range(16, min(64, int.from_bytes(data[:4], "big")), 4))}
        return next((name for name, brands in _BRANDS.items() if named & brands), None)
    if found := next((name for start, name in _BEGINNINGS.items() if data.startswith(start)), None):
        return found
    start = data[:300].removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if start.startswith(b"<svg") or (start.startswith(b"<?xml") and b"<svg" in start):
        return "SVG"
    return "HTML" if start.startswith((b"<!doctype html", b"<html")) else None
