"""Open a file of a catalogue by its name."""

from __future__ import annotations

from copy import copy
from functools import lru_cache
from pathlib import Path

from shopwindow.base.whole_folders import FileMark, mark_of
from shopwindow.indexing.catalogue.formats.delimited import delimited_rows
from shopwindow.indexing.catalogue.formats.json_lines import json_rows
from shopwindow.indexing.catalogue.formats.one_file import Rows
from shopwindow.indexing.catalogue.formats.parquet import ParquetRows
from shopwindow.indexing.catalogue.formats.text_file import PACKED
from shopwindow.indexing.errors import CatalogError

_DELIMITERS = {".csv": ",", ".tsv": "\t"}
_JSON = (".jsonl", ".ndjson", ".json")
_SPREADSHEETS = (".xlsx", ".xlsm", ".xlsb", ".xls", ".ods")
# What a folder is searched for. Files in .json often hold something about the others.
ENDINGS = (".parquet", *(name + packed for name in (".csv", ".tsv", ".jsonl", ".ndjson") for packed in ("", *PACKED)))


def open_rows(path: Path, option: str) -> Rows:
    """Return the rows of a file.

    Args:
        path: the file. Its name tells the format: .csv, .tsv, .jsonl, .ndjson or .json, also followed by .gz or .zst.
            Any other name is that of a parquet file.
        option: name of the option that gave the file; errors begin with it.

    Raises:
        CatalogError: the file cannot be read.
    """
    return copy(_opened(path, option, mark_of(path)))


@lru_cache(maxsize=64)
def _opened(path: Path, option: str, mark: FileMark | None) -> Rows:
    """Return the rows of a file. A text file is read as a whole for that, so one that stays the same is read once.

    Args:
        path: see `open_rows`.
        option: see `open_rows`.
        mark: differs when the file has changed; None if there is no file, for whoever opens it to say so.
    """
    ending = _ending(path)
    if ending in _SPREADSHEETS:
        raise CatalogError(
            f"{option}: {path} is a spreadsheet, which is not read: save it as CSV (UTF-8), and give that file"
        )
    if ending in _DELIMITERS:
        return delimited_rows(path, option, _DELIMITERS[ending])
    return json_rows(path, option) if ending in _JSON else ParquetRows(path, option)


def is_parquet(path: Path) -> bool:
    """Return whether the name of a file says that it is parquet."""
    return _ending(path) not in (*_DELIMITERS, *_JSON, *_SPREADSHEETS)


def _ending(path: Path) -> str:
    """Return the ending of a name in lower case, such as `.csv`, without that of a packed file."""
    name = path.name.lower()
    return Path(name.removesuffix(next((packed for packed in PACKED if name.endswith(packed)), ""))).suffix
