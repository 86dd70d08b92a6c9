"""Find the files of a catalogue, given as files, folders or patterns, and the columns that their paths hold."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fnmatch import fnmatch
from glob import glob, has_magic
from pathlib import Path
from urllib.parse import unquote

from shopwindow.indexing.catalogue.formats.opening import ENDINGS
from shopwindow.indexing.errors import CatalogError

_NO_VALUE = "__HIVE_DEFAULT_PARTITION__"  # the folder of rows without a value, as Hive and Spark call it


def catalog_files(inputs: Sequence[Path]) -> list[Path]:
    """Return the files that the inputs name.

    Args:
        inputs: files, folders or patterns. A folder stands for all files in it, at any depth, whose names end in one of
            `ENDINGS`. A pattern has `*`, `?` or `[...]`; `**` stands for folders at any depth. Names in it that begin
            with `.` or `_` are left out, as most writers expect, unless the pattern has the same beginning.

    Returns:
        Absolute paths, in the order of the inputs. The files of one input are in alphabetical order. No file appears
        twice.

    Raises:
        CatalogError: there is no input, or one names no file.
    """
    files: list[Path] = []
    for path in inputs:
        if path.is_dir():
            within = (file for file in path.rglob("*") if file.name.lower().endswith(ENDINGS))
            found = _visible(within, path, ())
        elif not path.exists() and has_magic(str(path)):
            matches = glob(str(path), recursive=True)  # noqa: PTH207 - pathlib takes no absolute pattern
            fixed = next(part for part in path.parents if not has_magic(str(part)))
            found = _visible(map(Path, matches), fixed, path.relative_to(fixed).parts)
        else:
            found = [path]  # whoever opens a missing file reports it
        if not found:
            raise CatalogError(f"catalog: {path} has no file whose name ends in {', '.join(ENDINGS)}")
        files += [file.absolute() for file in found]
    if not files:
        raise CatalogError("catalog: no file was given")
    different: dict[Path, Path] = {}
    for file in files:
        different.setdefault(file.resolve(), file)
    return list(different.values())


def path_columns(file: Path) -> dict[str, str | None]:
    """Return the columns that a file's folders hold: `colour=red/` gives colour the value red in all rows.

    Hive and Spark write such folders. Characters that no folder may have are written as `%2F`.
    """
    parts = [part.partition("=") for part in file.parts[:-1] if "=" in part.lstrip("=")]
    return {unquote(name): None if value in ("", _NO_VALUE) else unquote(value) for name, _, value in parts}


def _visible(files: Iterable[Path], top: Path, pattern: Sequence[str]) -> list[Path]:
    """Return the files in alphabetical order, without those that have a hidden name below `top`."""
    return sorted(
        file
        for file in files
        if file.is_file() and not any(_hidden(name, pattern) for name in file.relative_to(top).parts)
    )


def _hidden(name: str, pattern: Sequence[str]) -> bool:
    asked = any(part[:1] == name[:1] and fnmatch(name, part) for part in pattern)
    return name[:1] in (".", "_") and not asked
