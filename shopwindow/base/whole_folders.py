"""Replace a folder as a whole. The old folder stays until the new one is complete, also if writing fails."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

FileMark = tuple[object, ...]
"""Identifies a file or a folder of files. Two paths with the same mark have the same content."""


def mark_of(path: Path) -> FileMark | None:
    """Return the mark of a file or of all files in a folder; None if the path does not exist.

    Hard links to the same file have the same mark.
    """
    if path.is_dir():
        return tuple((entry.name, mark_of(entry)) for entry in sorted(path.iterdir()))
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


@contextmanager
def replacing(folder: Path, marker: str) -> Iterator[Path]:
    """Yield a new folder beside `folder`, which replaces `folder` if the block ends without an exception.

    The replacement takes two renames, so for an instant there is no folder. If `folder` is a symbolic link, its target
    is replaced.

    Args:
        folder: the folder to replace: missing, empty, or an earlier folder of the same kind.
        marker: name of a file that every folder of this kind contains.

    Raises:
        FileExistsError: `folder` contains something else, which would be lost.
        OSError: the parent folder is not writable.
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
    """Raise FileExistsError if `folder` is neither missing, nor empty, nor a folder with the file `marker`."""
    if folder.exists() and not (folder / marker).is_file() and (not folder.is_dir() or any(folder.iterdir())):
        raise FileExistsError(
            f"{folder} holds other things (it has no {marker}), which would be lost: name another folder"
        )


def sync(path: Path) -> None:
    """Flush a file, or the entries of a folder, to the disk, so that a power cut does not lose them."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sweep(folder: Path) -> None:
    """Remove the folders that killed processes left beside `folder`."""
    for leftover in folder.parent.glob(f".{folder.name}.*"):
        found = re.fullmatch(r"\.(new|old)-(\d+)", leftover.name.removeprefix(f".{folder.name}"))
        if found and (int(found[2]) == os.getpid() or not Path(f"/proc/{found[2]}").exists()):
            shutil.rmtree(leftover, ignore_errors=True)
