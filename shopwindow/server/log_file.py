"""The file for a server's output: its end is read without the rest, and it does not grow without limit."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from pathlib import Path

LOG_BYTES = 64 * 2**20
"""The size from which a log is put aside."""
OLD_LOGS = 3
"""The number of old logs that are kept, as *.1 (the newest) to *.3."""
_TAIL_BYTES = 64 * 2**10


class LogFile:
    """A log that another process writes to, through the descriptor that it was given.

    Args:
        path: The file. The previous one is kept beside it as *.1. None for an unnamed temporary file, which disappears
            when it is closed.
        limit: The size in bytes from which `rotate` puts it aside.

    Attributes:
        file: The open file, to be given to the process.

    Raises:
        OSError: The file cannot be written.
    """

    def __init__(self, path: Path | None, *, limit: int = LOG_BYTES) -> None:
        self._path, self._limit = path, limit
        if path is None:
            self.file = tempfile.TemporaryFile("w+b")  # noqa: SIM115 - close() closes it
            fcntl.fcntl(self.file, fcntl.F_SETFL, os.O_APPEND)
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists():  # a restart must not erase the last messages of a server that died
            self._shift()
            path.replace(self._old(1))
        # A process that appends goes on at the new end after the file was emptied.
        self.file = path.open("a+b")

    @property
    def size(self) -> int:
        """Its size in bytes."""
        return os.fstat(self.file.fileno()).st_size

    def tail(self) -> str:
        """Return its end, at most 64 KiB."""
        start = max(0, self.size - _TAIL_BYTES)
        return os.pread(self.file.fileno(), _TAIL_BYTES, start).decode(errors="replace")

    def rotate(self) -> None:
        """Put the log aside if it is too large: copy it to *.1 and empty it. An unnamed log is only emptied.

        The process keeps its descriptor, so the file cannot be replaced. A line that is written between the end of the
        copy and the emptying is lost. So is the log if there is no room for a copy, because a full disk is worse.
        """
        if self.size < self._limit:
            return
        if self._path is not None:
            try:
                self._shift()
                with self._old(1).open("wb") as old, Path(f"/proc/self/fd/{self.file.fileno()}").open("rb") as log:
                    shutil.copyfileobj(log, old, 2**20)
            except OSError:
                self._old(1).unlink(missing_ok=True)
        os.ftruncate(self.file.fileno(), 0)

    def close(self) -> None:
        """Close the file."""
        self.file.close()

    def _shift(self) -> None:
        """Make room for a new *.1."""
        for number in range(OLD_LOGS - 1, 0, -1):
            if self._old(number).exists():
                self._old(number).replace(self._old(number + 1))

    def _old(self, number: int) -> Path:
        assert self._path is not None
        return self._path.with_name(f"{self._path.name}.{number}")
