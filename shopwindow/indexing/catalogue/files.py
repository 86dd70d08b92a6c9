"""Find the parquet files of a catalogue, given as files, folders or patterns."""

from __future__ import annotations

from collections.abc import Sequence
from glob import glob, has_magic
from pathlib import Path

from shopwindow.indexing.errors import CatalogError


def catalog_files(inputs: Sequence[Path]) -> list[Path]:
    """Return the files that the inputs name.

    Args:
        inputs: files, folders or patterns. A folder stands for all `.parquet` files in it, at any depth. A pattern
            has `*`, `?` or `[...]`; `**` stands for folders at any depth.

    Returns:
        Absolute paths, in the order of the inputs. The files of one input are in alphabetical order. No file appears
        twice.

    Raises:
        CatalogError: there is no input, or one names no file.
    """
    files: list[Path] = []
    for path in inputs:
        if path.is_dir():
            found = sorted(file for file in path.rglob("*.parquet") if file.is_file())
        elif not path.exists() and has_magic(str(path)):
            matches = glob(str(path), recursive=True)  # noqa: PTH207 - pathlib takes no absolute pattern
            found = sorted(file for file in map(Path, matches) if file.is_file())
        else:
            found = [path]  # whoever opens a missing file reports it
        if not found:
            raise CatalogError(f"catalog: there is no parquet file in {path}")
        files += [file.resolve() for file in found]
    if not files:
        raise CatalogError("catalog: no file was given")
    return list(dict.fromkeys(files))
