"""Live files: which processes serve an index home, and which of its generations.

HOME/live/<host>-<process>-<model>.json   what the process serves, replaced whole
HOME/live/<host>-<process>-<model>.lock   held (flock) while it lives, so that a dead one's leftovers are known as such
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

_FOLDER = "live"


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """A generation that a process would not serve, and why."""

    generation: int
    reason: str


@dataclass(frozen=True, kw_only=True)
class ServingProcess:
    """What one process says of itself.

    Attributes:
        name: host, process id and model.
        generation: the one it serves; None while it starts.
        refused: the newest generation that it refused, as long as that one is CURRENT.
        since: when that became so, UTC, ISO 8601.
    """

    name: str
    generation: int | None = None
    refused: Refusal | None = None
    since: str = ""


class LiveFile:
    """The live file of this process; gone when it is closed, and known as dead when the process dies.

    Args:
        home: the index home.
        model: who serves in this process; no other in it has the name.

    Raises:
        OSError: the home cannot be written to.
    """

    def __init__(self, home: Path, model: str) -> None:
        folder = home / _FOLDER
        folder.mkdir(exist_ok=True)
        self.name = f"{socket.gethostname()}-{os.getpid()}-{model}"
        self._file = folder / f"{self.name}.json"
        self._lock = _hold(folder / f"{self.name}.lock")
        self.write(None, None)

    def write(self, generation: int | None, refused: Refusal | None) -> None:
        """Say what is served, and what was refused."""
        facts = {
            "generation": generation,
            "refused": asdict(refused) if refused else None,
            "since": datetime.now(UTC).isoformat(timespec="milliseconds"),
        }
        new = self._file.with_name(f".{self._file.name}.new")
        new.write_text(json.dumps(facts) + "\n")
        new.replace(self._file)

    def close(self) -> None:
        """Remove the files: this process serves no more."""
        with contextlib.suppress(OSError):
            self._file.unlink(missing_ok=True)
            Path(self._lock.name).unlink(missing_ok=True)
        self._lock.close()


def served_by(home: Path) -> list[ServingProcess]:
    """The living processes that serve an index home, by name; what dead ones left is removed."""
    locks = sorted((home / _FOLDER).glob("*.lock"))
    return [_read(lock.with_suffix(".json")) for lock in locks if not _clear_away(lock)]


@contextmanager
def loading_turn(home: Path) -> Iterator[bool]:
    """Whether it is this process's turn to load: one at a time on a host, so that each sees the memory that is left.

    Where the home cannot be written to, it is always its turn.
    """
    try:
        lock = (home / _FOLDER / f".loading-{socket.gethostname()}").open("a")
    except OSError:
        yield True
        return
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True


def _hold(file: Path) -> IO[str]:
    while True:
        lock = file.open("a")
        fcntl.flock(lock, fcntl.LOCK_EX)  # waits for no more than a reader's look
        if _is_at(file, lock):
            return lock
        lock.close()  # a reader took it for a dead one's before it was locked


def _is_at(file: Path, opened: IO[str]) -> bool:
    """Whether the opened file is the one that is at its place now."""
    try:
        return file.stat().st_ino == os.fstat(opened.fileno()).st_ino
    except FileNotFoundError:
        return False


def _clear_away(file: Path) -> bool:
    """Whether the process of a lock is gone; what it left is removed then.

    One of which that cannot be known counts as alive: a publisher must not take it for one that needs no waiting for.
    """
    try:
        lock = file.open()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:  # it is held, or the file system cannot tell
            return False
        if not _is_at(file, lock):  # a new process has taken the place of the one whose lock this was
            return not file.exists()
        with contextlib.suppress(OSError):  # a reader that may not write leaves them
            file.with_suffix(".json").unlink(missing_ok=True)
            file.unlink(missing_ok=True)
        return True


def _read(file: Path) -> ServingProcess:
    try:
        facts = json.loads(file.read_text())
    except OSError:  # it holds its lock and has not written yet, or may not be read
        return ServingProcess(name=file.stem)
    refused = Refusal(**facts.pop("refused")) if facts["refused"] else facts.pop("refused")
    return ServingProcess(name=file.stem, refused=refused, **facts)
