"""What a value of the photo column is: a photo's bytes, or a text that says where the photo is."""

from __future__ import annotations

import base64
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote_to_bytes

from shopwindow.base.photos.header import MAX_BYTES

_WEB = re.compile(r"https?://", re.IGNORECASE)
_OTHER_SCHEME = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]*://")
_DATA = re.compile(r"data:([^,]*),", re.IGNORECASE)
# How the formats begin in base64. A short text could also be a path.
_BASE64_PHOTO = re.compile(r"(/9j/|iVBORw0KGgo|UklGR)[A-Za-z0-9+/_\s-]{60,}={0,2}\s*\Z")
_LONGEST_PATH = 4_096  # of Linux
_SHOWN = 200

Source = bytes | str
"""A photo's bytes, or a text: a path, an address, a data URL or base64."""


class NotRead(ValueError):
    """A photo could not be read. The message says why."""


def sources(value: Any) -> Iterator[Source]:
    """Yield the photos that a value names, in order; none if there is no photo.

    Args:
        value: bytes, text, an object with `bytes` and `path` of which the bytes count first, as Hugging Face writes it,
            or a list of these. Anything else is yielded as text, which is no photo.
    """
    if isinstance(value, bytes):
        if value:
            yield value
    elif isinstance(value, str):
        if value.strip():
            yield value.strip()
    elif isinstance(value, dict):
        yield from list(sources(value.get("bytes"))) or sources(value.get("path"))
    elif isinstance(value, list):
        for one in value:
            yield from sources(one)
    elif value is not None:
        yield str(value)


def is_address(source: Source) -> bool:
    """Return whether a photo is to be fetched from the web."""
    return isinstance(source, str) and _WEB.match(source) is not None


def source_words(source: Source) -> str:
    """Return where a photo is, in words."""
    if isinstance(source, bytes):
        return "bytes"
    if is_address(source):
        return "addresses on the web"
    if _DATA.match(source):
        return "data URLs"
    return "base64" if _is_base64(source) else "paths of files"


def _is_base64(text: str) -> bool:
    return len(text) > _LONGEST_PATH or _BASE64_PHOTO.match(text) is not None


def place_of(value: Any) -> str | None:
    """Return the path or the address of the first photo of a value; None if the value holds it, or there is none."""
    first = next(sources(value), None)
    return first if isinstance(first, str) and not _DATA.match(first) and not _is_base64(first) else None


def shown(source: Source) -> str:
    """Return a source for messages, cut if it is long."""
    return repr(source[:_SHOWN]) + ("…" if len(source) > _SHOWN else "")


def read_text(text: str, folder: Path) -> bytes:
    """Return the photo that a text holds, or that is in the file that it names.

    The text is base64 if it begins like a JPEG, PNG or WebP in base64, or if it is too long for a path.

    Args:
        text: a data URL, base64, or a path.
        folder: what the path is relative to. It may be absolute or lead out of the folder.

    Raises:
        NotRead: there is no such file, it is empty or too large, or the text is no sound base64.
    """
    if not (photo := _read_text(text, folder)):
        raise NotRead(f"{shown(text)} is empty")
    return photo


def _read_text(text: str, folder: Path) -> bytes:
    if data := _DATA.match(text):
        payload = text[data.end() :]
        return _decoded(payload) if data[1].lower().endswith(";base64") else unquote_to_bytes(payload)
    if _is_base64(text):
        return _decoded(text)
    if scheme := _OTHER_SCHEME.match(text):
        raise NotRead(f"cannot read {shown(text)}: {scheme[0]} is not known, give a path, http:// or https://")
    return _file(folder, text)


def _decoded(text: str) -> bytes:
    plain = "".join(text.split()).rstrip("=").translate({ord("-"): "+", ord("_"): "/"})
    try:
        return base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True)
    except ValueError as error:
        raise NotRead(f"{shown(text[:40])}… is no sound base64: {error}") from error


def _file(folder: Path, text: str) -> bytes:
    path = folder / text
    try:
        about = path.stat()
        if not stat.S_ISREG(about.st_mode):  # a device or a pipe may never end
            raise NotRead(f"{str(path)!r} is not a file")
        if about.st_size > MAX_BYTES:
            raise NotRead(f"{str(path)!r} has {about.st_size} bytes, at most {MAX_BYTES} are read")
        return path.read_bytes()
    except OSError as error:
        raise NotRead(f"cannot read {str(path)!r}: {error.strerror}") from error
    except NotRead:
        raise
    except ValueError as error:  # characters that no path may have
        raise NotRead(f"cannot read {shown(text)}: {error}") from error
