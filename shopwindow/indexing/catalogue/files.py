"""The parquet files that a catalogue is made of: named one by one, by folder or by pattern."""

from __future__ import annotations

from collections.abc import Sequence
from glob import glob, has_magic
from pathlib import Path

from shopwindow.indexing.errors import CatalogError


def catalog_files(inputs: Sequence[Path]) -> list[Path]:
    """The files that the inputs mean.

    Args:
        inputs: files; folders, of which all `.parquet` files at any depth are meant; or patterns with `*`, `?` or
            `[...]`, where `**` stands for folders at any depth.

    Returns:
        Absolute paths: inputs in the order given, the files of each in alphabetical order, none twice.

    Raises:
        CatalogError: an input means no file.
    """
    files: list[Path] = []
    for given in inputs:
        if given.is_dir():
            found = sorted(file for file in given.rglob("*.parquet") if file.is_file())
        elif not given.exists() and has_magic(str(given)):
            matches = glob(str(given), recursive=True)  # noqa: PTH207 - pathlib takes no absolute pattern
            found = sorted(file for file in map(Path, matches) if file.is_file())
        else:
            found = [given]  # a missing file is told by whoever opens it
        if not found:
            raise CatalogError(f"catalog: there is no parquet file in {given}")
        files += [file.resolve() for file in found]
    if not files:
        raise CatalogError("catalog: no file was given")
    return list(dict.fromkeys(files))
