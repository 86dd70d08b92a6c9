"""CSV and TSV files: a line of names, then a line a row. An empty field has no value."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from shopwindow.indexing.catalogue.formats.text_file import LONGEST, Malformed, Row, TextRows, open_text
from shopwindow.indexing.errors import CatalogError


def delimited_rows(path: Path, option: str, delimiter: str) -> TextRows:
    """Return the rows of a CSV or TSV file.

    If the line of names has another separator in place of the usual one, that one counts. Spreadsheets write semicolons
    where the comma is the decimal mark.

    Raises:
        CatalogError: the file cannot be read, has no line of names, or a line breaks the rules of RFC 4180.
    """
    csv.field_size_limit(LONGEST)
    format = "TSV" if delimiter == "\t" else "CSV"

    def read_rows(file: IO[str]) -> Iterator[tuple[Row, int]]:
        # Strict: otherwise a quote that is never closed would swallow all products after it.
        reader = csv.reader(file, delimiter=delimiter, strict=True)
        try:
            names = next(reader, [])
            for fields in reader:
                if not fields:
                    continue  # an empty line
                if len(fields) != len(names):
                    raise Malformed(f"line {reader.line_num} has {len(fields)} fields, the first line has {len(names)}")
                row = {name: field or None for name, field in zip(names, fields, strict=True) if name}
                yield row, sum(map(len, fields))
        except csv.Error as error:
            raise Malformed(f"line {reader.line_num}: {error}") from error

    try:
        with open_text(path) as file:
            names = next(csv.reader(file, delimiter=delimiter, strict=True), [])
        if len(names) == 1 and (other := next((mark for mark in ",;\t|" if mark in names[0]), None)):
            delimiter = other
            with open_text(path) as file:
                names = next(csv.reader(file, delimiter=delimiter, strict=True))
    except (OSError, EOFError, ValueError, csv.Error) as error:
        raise CatalogError(f"{option}: cannot read {path} as {format}: {error}") from error
    # Pandas writes its row numbers as a column without a name.
    named = [name for name in names if name]
    rows = TextRows(path, option, format, read_rows, typed=False, names=named)
    rows.names = named
    return rows
