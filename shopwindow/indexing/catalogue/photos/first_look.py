"""Look at the first photos of a catalogue before anything heavy runs: if none can be read, something is set wrongly."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from shopwindow.base.photos.errors import PhotoUnfit
from shopwindow.base.photos.pixels import decode
from shopwindow.indexing.catalogue.photos.options import Unreadable
from shopwindow.indexing.catalogue.photos.reader import PhotoReader, Unread
from shopwindow.indexing.catalogue.photos.sources import Source, is_address, shown, sources
from shopwindow.indexing.errors import CatalogError

PRODUCTS = 1_000
_AT_ONCE = 16  # products read at a time: of most catalogues, the first photo is sound
_SIDE = 16
_OTHERWISE = "index the products by their titles with --unreadable-photos index"


def check_photos(column: Iterable[tuple[Path, Sequence[Any]]], reader: PhotoReader, most: int, option: str) -> bool:
    """Check that photos can be read, by the first PRODUCTS products that have one.

    Args:
        column: the values of the photo column, in order, with the file that they are from.
        reader: reads photos.
        most: how many photos of a product are read.
        option: name of the option that gave the files; errors begin with it.

    Returns:
        Whether there is a photo. True without a look if the options ask for no check.

    Raises:
        CatalogError: none of these photos can be read, or some are on the web and nothing is fetched.
    """
    if reader.options.unreadable is not Unreadable.CHECK:
        return True
    products = given = on_web = 0
    first = ""
    address: Source = ""
    readable = False
    for file, values in column:
        some = [found for value in values if (found := list(dict.fromkeys(sources(value)))[:most])]
        some = some[: PRODUCTS - products]
        products += len(some)
        for photo in (photo for found in some for photo in found):
            given += 1
            if is_address(photo) and not reader.options.fetch:
                on_web, address = on_web + 1, address or photo
        for start in range(0, 0 if readable else len(some), _AT_ONCE):
            read = reader.start(some[start : start + _AT_ONCE], file, most)()
            reasons = [problem_of(photo) for photos in read for photo in photos]
            first = first or next(filter(None, reasons), "")
            if readable := "" in reasons:
                break
        if products >= PRODUCTS or (readable and all(isinstance(p, bytes) for found in some for p in found)):
            break
    if on_web:
        raise CatalogError(
            f"{option}: {on_web} of the first {given} photos are on the web, such as {shown(address)}: fetch them with "
            f"--fetch-photos, or {_OTHERWISE}"
        )
    if given and not readable:
        raise CatalogError(
            f"{option}: none of the first {given} photos can be read; the first reason: {first}. If they are files, "
            "name the folder that their paths are relative to with --photos; if they are in another column, give --map "
            f"image=COLUMN; or {_OTHERWISE}"
        )
    return given > 0


def problem_of(photo: bytes | Unread) -> str:
    """Return why a photo cannot be used; empty if it can."""
    if isinstance(photo, Unread):
        return photo.reason
    try:
        decode(photo, _SIDE)
        return ""
    except PhotoUnfit as error:
        return f"{error}; {len(photo)} bytes"
