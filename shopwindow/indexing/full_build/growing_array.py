"""A .npy file that grows by rows, and can be cut back to an earlier length."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from numpy.lib import format as npy


class GrowingArray:
    """A NumPy file that is complete after every `append`.

    Only its header is rewritten: it has room for any number of rows.

    Args:
        file: made if missing.
        rows: number of rows to keep of an existing file. Rows that a killed process wrote beyond them are cut off.
        kind: type of the elements.
        shape: shape of one row.

    Raises:
        ValueError: the file holds fewer than `rows` rows.
    """

    def __init__(self, file: Path, rows: int, kind: type[np.generic], shape: tuple[int, ...] = ()) -> None:
        self.file = file
        self._kind = np.dtype(kind)
        self._shape = shape
        self._rows = rows
        self._stream = file.open("r+b" if file.exists() else "w+b")
        self._write_header()
        end = self._stream.tell() + rows * self._row_bytes
        if os.fstat(self._stream.fileno()).st_size < end and rows:
            self._stream.close()
            raise ValueError(f"{file}: holds fewer than the {rows} rows that were written")
        self._stream.truncate(end)

    @property
    def _row_bytes(self) -> int:
        return self._kind.itemsize * int(np.prod(self._shape, dtype=np.int64))

    def append(self, rows: np.ndarray) -> None:
        """Add rows at the end, and sync them to disk."""
        self._stream.seek(0, os.SEEK_END)
        self._stream.write(np.ascontiguousarray(rows, self._kind).tobytes())
        self._rows += len(rows)
        self._write_header()
        self._stream.flush()
        os.fsync(self._stream.fileno())

    def read(self) -> np.ndarray:
        """Return all rows, memory-mapped."""
        # NumPy cannot map a file without rows.
        rows: np.ndarray = np.load(self.file, mmap_mode="r" if self._rows else None)
        return rows

    def close(self) -> None:
        """Close the file."""
        self._stream.close()

    def _write_header(self) -> None:
        self._stream.seek(0)
        header = {"descr": self._kind.str, "fortran_order": False, "shape": (self._rows, *self._shape)}
        npy.write_array_header_1_0(self._stream, header)  # type: ignore[no-untyped-call]
