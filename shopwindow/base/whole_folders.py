"""Writing folders whole: while one is being written the previous one stays, and a failure leaves it as it was."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

FileMark = tuple[object, ...]
"""Tells one file, or folder of files, from another: paths that have it in common have their content in common."""


def mark_of(path: Path) -> FileMark | None:
    """The mark of a file, which hard links of it share, or of all that is in a folder; None where there is nothing."""
    if path.is_dir():
        return tuple((entry.name, mark_of(entry)) for entry in sorted(path.iterdir()))
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


@contextmanager
def replacing(folder: Path, marker: str) -> Iterator[Path]:
    """A fresh folder beside `folder` that takes its place when the block ends without an exception.

    The place is taken by two renames, so for an instant between them there is no folder. A symbolic link is
    followed: what it points to is replaced.

    Args:
        folder: the place; missing, empty, or an earlier folder of the same kind.
        marker: the file that every folder of this kind holds.

    Raises:
        FileExistsError: `folder` holds something else, which would be lost.
        OSError: the parent cannot be written to.
    """
    folder = folder.resolve()
    check_replaceable(folder, marker)
    folder.parent.mkdir(parents=True, exist_ok=True)
    _sweep(folder)
    new = folder.with_name(f".{folder.name}.new-{os.getpid()}")
    old = folder.with_name(f".{folder.name}.old-{os.getpid()}")
    new.mkdir()
    try:
        yield new
        if folder.exists():
            folder.replace(old)
        try:
            new.replace(folder)
        except OSError:
            if old.exists():
                old.replace(folder)
            raise
    finally:
        shutil.rmtree(new, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def check_replaceable(folder: Path, marker: str) -> None:
    """Raise FileExistsError when `folder` holds something other than an earlier folder with `marker` in it."""
    if folder.exists() and not (folder / marker).is_file() and (not folder.is_dir() or any(folder.iterdir())):
        raise FileExistsError(
            f"{folder} holds other things (it has no {marker}) and would be lost: name another folder"
        )


def sync(path: Path) -> None:
    """Write a file or a folder's entries through to the disk, so that a power cut does not lose them."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sweep(folder: Path) -> None:
    """Remove what killed processes left beside `folder`."""
    for leftover in folder.parent.glob(f".{folder.name}.*"):
        found = re.fullmatch(r"\.(new|old)-(\d+)", leftover.name.removeprefix(f".{folder.name}"))
        if found and (int(found[2]) == os.getpid() or not Path(f"/proc/{found[2]}").exists()):
            shutil.rmtree(leftover, ignore_errors=True)
