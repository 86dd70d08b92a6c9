"""Checksums of the files of an index folder: written with its manifest, compared before the folder is served.

They find what disks, copies and hands change by accident. They do not stop an attacker, who could write new ones.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import xxhash

from shopwindow.base.choice import choice
from shopwindow.base.whole_folders import FileMark, mark_of
from shopwindow.retrieval.errors import IndexUnfit, Unfit
from shopwindow.retrieval.index.home import GENERATIONS

VARIABLE = "SHOPWINDOW_VERIFY"
BLOCK_BYTES = 64 * 2**20  # a checksum covers this much, so that a check of both ends of a file need not read all of it
MANIFEST = "manifest.json"
_FORMAT = 2
_WITHOUT_CHECKSUMS = 1  # the format of earlier versions, which is still read
_FILES, _SEAL = "files", "checksum"  # keys in manifest.json
_READ_BYTES = 2**20
# What servers and commands open in a folder ends so. If such a file is there and not in the manifest, the folder is
# refused. Anything else, such as what a file manager leaves behind, changes no answer and is left alone.
_OPENED = (".npy", ".faiss", ".parquet", ".arrow", ".json", "lexical", "bundle")
_REMEDY = (
    "if it is still being copied, servers take it when the copy is complete; otherwise copy it again from where it is "
    "whole, go back with 'shopwindow rollback', or build it again with 'shopwindow index'"
)


class Verify(StrEnum):
    """How thoroughly an index folder is compared with its checksums before it is served.

    FULL reads every file. FAST compares the size of every file, and the first and last 64 MiB of each. OFF compares
    nothing.
    """

    FULL = "full"
    FAST = "fast"
    OFF = "off"

    @classmethod
    def from_environment(cls) -> Verify:
        """Return what the environment variable SHOPWINDOW_VERIFY says; FULL if it is not set or empty.

        Raises:
            ValueError: it says something else.
        """
        return choice(cls, VARIABLE, os.environ.get(VARIABLE) or cls.FULL)


@dataclass(frozen=True)
class FileSum:
    """The size of a file in bytes, and the XXH3 checksum (64 bits, as hex) of each of its blocks of BLOCK_BYTES."""

    bytes: int
    xxh3: tuple[str, ...]


Checksums = Mapping[str, FileSum]
"""The path of each file inside its folder, except manifest.json -> its checksums."""
Checked = Mapping[str, tuple[FileMark | None, FileSum]]
"""The path of each file that was found to be right -> the file as it was then, and its checksums."""


def files_in(folder: Path) -> list[str]:
    """Return the paths of all files in a folder and its folders, except manifest.json and hidden files.

    A hidden file has a dot before its name or before that of its folder. File managers and network file systems make
    and remove such files, so they are no part of an index.
    """
    paths = (file.relative_to(folder) for file in folder.rglob("*") if file.is_file())
    names = sorted(path.as_posix() for path in paths if not any(part.startswith(".") for part in path.parts))
    return [name for name in names if name != MANIFEST]


def folder_sums(folder: Path, known: Checksums) -> Checksums:
    """Return the checksums of all files in a folder, see `files_in`.

    Args:
        folder: the folder.
        known: checksums of files that are not read again. Names that the folder lacks are left out.
    """
    return {name: known.get(name) or _file_sum(folder / name) for name in files_in(folder)}


def seal(fields: Mapping[str, Any], sums: Checksums) -> str:
    """Return the text of a manifest with the checksums of the files, and a checksum over the text itself."""
    files = {name: {"bytes": each.bytes, "xxh3": list(each.xxh3)} for name, each in sums.items()}
    text = json.dumps({**fields, "format": _FORMAT, _FILES: files, _SEAL: ""}, indent=2) + "\n"
    head, tail = text.rsplit('""', 1)
    return f'{head}"{xxhash.xxh3_64_hexdigest(text.encode())}"{tail}'


def read_sealed(folder: Path, verify: Verify | None = None) -> tuple[dict[str, Any], Checksums | None]:
    """Read the manifest of an index folder.

    Args:
        folder: an index folder.
        verify: Verify.OFF reads a manifest that was changed after it was written; None takes it from the environment.

    Returns:
        Its fields, and the checksums of the files; None if an earlier version wrote it.

    Raises:
        IndexUnfit: it is missing, unreadable, of an unknown format, or was changed.
    """
    file = folder / MANIFEST
    if not file.is_file():
        copied = "; if it is still being copied, servers take it when the copy is complete"
        raise IndexUnfit(
            f"no index in {folder} ({MANIFEST} is missing); build one with: shopwindow index"
            + (copied if folder.parent.name == GENERATIONS else ""),
            kind=Unfit.INCOMPLETE,
        )
    try:
        text = file.read_bytes()
        fields = json.loads(text)
        found = fields.pop("format", None)
        if found not in (_FORMAT, _WITHOUT_CHECKSUMS):
            raise IndexUnfit(
                f"{file}: format {found!r}, this version reads formats {_WITHOUT_CHECKSUMS} and {_FORMAT}",
                kind=Unfit.UNREADABLE,
            )
        if found == _WITHOUT_CHECKSUMS:
            return fields, None
        sums = {name: FileSum(int(each["bytes"]), tuple(each["xxh3"])) for name, each in fields.pop(_FILES).items()}
        written = fields.pop(_SEAL)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise IndexUnfit(f"{file}: not a manifest ({error!r})", kind=Unfit.UNREADABLE) from error
    head, _, tail = text.rpartition(f'"{written}"'.encode(errors="replace"))
    if written != xxhash.xxh3_64_hexdigest(head + b'""' + tail) and _level(verify) is not Verify.OFF:
        raise IndexUnfit(f"{file}: is not what was written, by its own checksum: {_REMEDY}", kind=Unfit.CHANGED)
    return fields, sums


def check_folder(
    folder: Path,
    verify: Verify | None = None,
    *,
    checked: Checked | None = None,
    only: Collection[str] | None = None,
    leave_out: Collection[str] = (),
) -> Checked:
    """Check that the files of an index folder are those that were written.

    An index of an earlier version has no checksums. Then nothing is compared, and the log says so.

    Args:
        folder: an index folder.
        verify: how thoroughly; None takes it from the environment.
        checked: files that were right before, for example those of the generation before. Hard links to them are not
            read again.
        only: names of the files to check; None checks all of them, and that there are no others.
        leave_out: names of files of which only the sizes are compared.

    Returns:
        The files that were right; none with Verify.OFF.

    Raises:
        IndexUnfit: a file is missing or not what was written, or there is one too many.
    """
    verify = _level(verify)
    _, sums = read_sealed(folder, verify)
    if verify is Verify.OFF:
        return {}
    if sums is None:
        if only is None:
            logging.getLogger(__name__).warning(
                "%s has no checksums, because an earlier version wrote it: changed files go unnoticed until "
                "'shopwindow index', 'update' or 'compact' writes the next generation",
                folder,
            )
        return {}
    marks = {name: mark_of(folder / name) for name in sums if only is None or name in only}
    _check_sizes(folder, {name: sums[name] for name in marks})
    if only is None:
        written = {MANIFEST, *(name.partition("/")[0] for name in sums)}
        found = {entry.name for entry in folder.iterdir() if not entry.name.startswith(".")}
        if extra := sorted(name for name in found - written if name.endswith(_OPENED)):
            raise IndexUnfit(
                f"{folder}: {', '.join(extra)} did not belong to this index when it was written: remove it, or "
                "build the index again with 'shopwindow index'",
                kind=Unfit.CHANGED,
            )
    right = {name: (mark, sums[name]) for name, mark in marks.items() if name not in leave_out}
    for name, as_now in right.items():
        if checked is None or checked.get(name) != as_now:
            _check_content(folder / name, sums[name], verify)
    return right


def check_arrived(folder: Path, verify: Verify | None = None) -> None:
    """Check that all files of an index folder are there and have the right sizes. Only the manifest is read.

    Args:
        folder: an index folder.
        verify: None takes it from the environment; Verify.OFF compares no sizes.

    Raises:
        IndexUnfit: they are not.
    """
    verify = _level(verify)
    _, sums = read_sealed(folder, verify)
    if sums is not None and verify is not Verify.OFF:
        _check_sizes(folder, sums)


def _level(verify: Verify | None) -> Verify:
    return Verify.from_environment() if verify is None else verify


def _check_sizes(folder: Path, sums: Checksums) -> None:
    missing = []
    for name, written in sums.items():
        try:
            size = (folder / name).stat().st_size
        except OSError:
            missing.append(name)
            continue
        if size != written.bytes:
            raise IndexUnfit(
                f"{folder / name}: has {size:,} bytes, {MANIFEST} says {written.bytes:,}: {_REMEDY}",
                kind=Unfit.INCOMPLETE if size < written.bytes else Unfit.CHANGED,
            )
    if missing:
        raise IndexUnfit(f"{folder}: is incomplete, {', '.join(missing)} missing: {_REMEDY}", kind=Unfit.INCOMPLETE)


def _file_sum(file: Path) -> FileSum:
    size = file.stat().st_size
    return FileSum(size, tuple(_block_sums(file, range(_blocks(size)))))


def _blocks(size: int) -> int:
    return -(-size // BLOCK_BYTES)


def _block_sums(file: Path, blocks: Collection[int]) -> Iterator[str]:
    """Yield the checksums of some blocks of a file, by number from 0. A file that is too short gives wrong ones."""
    # Read, not memory-mapped: a file that is cut short meanwhile would kill the process.
    view = memoryview(bytearray(_READ_BYTES))
    with file.open("rb", buffering=0) as stream:
        for block in blocks:
            stream.seek(block * BLOCK_BYTES)
            left, total = BLOCK_BYTES, xxhash.xxh3_64()
            while left and (count := stream.readinto(view[: min(left, _READ_BYTES)])):
                total.update(view[:count])
                left -= count
            yield total.hexdigest()


def _check_content(file: Path, written: FileSum, verify: Verify) -> None:
    count = _blocks(written.bytes)
    blocks: Collection[int] = range(count)
    if verify is Verify.FAST and count:
        last = max(written.bytes // BLOCK_BYTES - 1, 0)  # the block in which the last BLOCK_BYTES begin
        blocks = sorted({0, *range(last, count)})
    try:
        for block, found in zip(blocks, _block_sums(file, blocks), strict=True):
            if written.xxh3[block : block + 1] != (found,):
                end = min((block + 1) * BLOCK_BYTES, written.bytes)
                raise IndexUnfit(
                    f"{file}: is not what was written, by the checksum of its bytes {block * BLOCK_BYTES:,} to "
                    f"{end:,}: {_REMEDY}",
                    kind=Unfit.CHANGED,
                )
    except OSError as error:
        raise IndexUnfit(f"{file}: cannot be read ({error}): {_REMEDY}", kind=Unfit.UNREADABLE) from error
