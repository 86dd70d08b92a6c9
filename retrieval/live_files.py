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
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

from retrieval.errors import GenerationRefused, NotServed
from retrieval.index_home import IndexHome

_FOLDER = "live"
_POLL_S = 0.05


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


def wait_until_served(home: Path, generation: int, timeout_s: float = 60.0) -> int:
    """Wait until every living process serves a generation.

    Args:
        home: the index home.
        generation: the one that CURRENT names.
        timeout_s: longest wait in seconds.

    Returns:
        The number of processes; 0 when none lives.

    Raises:
        GenerationRefused: a process found it unfit.
        NotServed: some are late, or CURRENT names another one by now.
    """
    deadline = time.monotonic() + timeout_s
    while True:
        processes = served_by(home)
        for process in processes:
            if process.refused is not None and process.refused.generation == generation:
                raise GenerationRefused(
                    f"generation {generation} of {home} was refused by {process.name}, generation "
                    f"{process.generation} is served on: {process.refused.reason}"
                )
        late = [process for process in processes if process.generation != generation]
        if not late:
            return len(processes)
        pointer = IndexHome(home).pointer
        if pointer is None or pointer.generation != generation:
            now = f"CURRENT names {pointer.generation}" if pointer else "there is no CURRENT"
            raise NotServed(f"generation {generation} of {home} is not to be served any more: {now}")
        if time.monotonic() > deadline:
            names = ", ".join(f"{process.name} (serves {process.generation})" for process in late)
            raise NotServed(
                f"generation {generation} of {home} is not served after {timeout_s:g} s by {len(late)} of "
                f"{len(processes)} processes: {names}; look into the server's log"
            )
        time.sleep(_POLL_S)


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
    """Whether the process of a lock is gone; what it left is removed then."""
    try:
        with file.open() as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            if _is_at(file, lock):  # else a new process has taken the place of the one whose lock this was
                file.with_suffix(".json").unlink(missing_ok=True)
                file.unlink(missing_ok=True)
                return True
            return not file.exists()
    except BlockingIOError:
        return False
    except FileNotFoundError:
        return True
    except OSError:  # a reader that may not write leaves them
        return True


def _read(file: Path) -> ServingProcess:
    try:
        facts = json.loads(file.read_text())
    except FileNotFoundError:  # it holds its lock and has not written yet
        return ServingProcess(name=file.stem)
    refused = Refusal(**facts.pop("refused")) if facts["refused"] else facts.pop("refused")
    return ServingProcess(name=file.stem, refused=refused, **facts)
