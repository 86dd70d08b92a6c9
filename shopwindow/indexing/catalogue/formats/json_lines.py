"""JSON lines: an object a line. A name that an object lacks has no value there."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from shopwindow.indexing.catalogue.formats.text_file import LONGEST, Malformed, Row, TextRows


def json_rows(path: Path, option: str) -> TextRows:
    """Return the rows of a file of JSON lines.

    Raises:
        CatalogError: the file cannot be read, or a line is not a JSON object.
    """
    return TextRows(path, option, "JSON lines", _read_rows, typed=True)


def _read_rows(file: IO[str]) -> Iterator[tuple[Row, int]]:
    number = 0
    while line := file.readline(LONGEST):
        number += 1
        if len(line) == LONGEST:
            raise Malformed(f"line {number} has more than {LONGEST} characters")
        if not line.strip():
            continue
        try:
            row = _DECODER.decode(line)
        except (ValueError, RecursionError) as error:
            raise Malformed(f"line {number}: {error}; every line must be an object") from error
        if not isinstance(row, dict):
            raise Malformed(f"line {number}: every line must be an object, got {line.strip()[:60]}")
        yield row, len(line)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise Malformed(f"the name {twice!r} appears twice")
    return found


_DECODER = json.JSONDecoder(object_pairs_hook=_object)  # one for all lines: making one takes longer than a short line
