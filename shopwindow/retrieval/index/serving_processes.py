"""Live files: which processes serve an index home, and which generation each of them serves.

HOME/live/<host>-<process>-<model>.json   what the process serves; always replaced as a whole
HOME/live/<host>-<process>-<model>.lock   the process holds it (flock) while it lives, so files of dead ones are known
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

from shopwindow.retrieval.errors import Unfit

_FOLDER = "live"


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """A generation that a process refused to serve.

    Attributes:
        generation: its number; None if CURRENT could not be read.
        reason: the reason, in words.
        kind: the reason in one word, one of `Unfit`.
        current: mark of the CURRENT that named it, see `IndexHome.mark`; None in reports of earlier versions.
    """

    generation: int | None
    reason: str
    kind: str = Unfit.OTHER
    current: tuple[int, int] | None = None


@dataclass(frozen=True, kw_only=True)
class ServingProcess:
    """What one process reports about itself.

    Attributes:
        name: host, process id and model.
        generation: the generation that it serves; None while it starts.
        refused: the generation that CURRENT names, if the process refused it; else None.
        since: time of the report, UTC, ISO 8601.
        unreadable: why the report of a living process cannot be read; empty if it can.
    """

    name: str
    generation: int | None = None
    refused: Refusal | None = None
    since: str = ""
    unreadable: str = ""


class LiveFile:
    """The live file of this process. `close` removes it. If the process dies, readers notice that by its lock.

    Args:
        home: the index home.
        model: name of the model instance, unique in this process.

    Raises:
        OSError: the home is not writable.
    """

    def __init__(self, home: Path, model: str) -> None:
        folder = home / _FOLDER
        folder.mkdir(exist_ok=True)
        self.name = f"{socket.gethostname()}-{os.getpid()}-{model}"
        self._file = folder / f"{self.name}.json"
        self._lock = _hold(folder / f"{self.name}.lock")
        self.write(None, None)

    def write(self, generation: int | None, refused: Refusal | None) -> None:
        """Report the generation that is served, and the refused one.

        Args:
            generation: the generation that this process serves; None while it starts.
            refused: the generation that it refused; None if it refused none.
        """
        facts = {
            "generation": generation,
            "refused": asdict(refused) if refused else None,
            "since": datetime.now(UTC).isoformat(timespec="milliseconds"),
        }
        new = self._file.with_name(f".{self._file.name}.new")
        new.write_text(json.dumps(facts) + "\n")
        new.replace(self._file)

    def close(self) -> None:
        """Remove the files, because this process no longer serves."""
        with contextlib.suppress(OSError):
            self._file.unlink(missing_ok=True)
            Path(self._lock.name).unlink(missing_ok=True)
        self._lock.close()


def served_by(home: Path) -> list[ServingProcess]:
    """Return the living processes that serve an index home, sorted by name. Remove the files of dead ones."""
    locks = sorted((home / _FOLDER).glob("*.lock"))
    return [_read(lock.with_suffix(".json")) for lock in locks if not _clear_away(lock)]


@contextmanager
def loading_turn(home: Path) -> Iterator[bool]:
    """Yield whether it is this process's turn to load.

    On each host only one process loads at a time, so that each sees how much memory is left. If the home is not
    writable, every process always has its turn.
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
        fcntl.flock(lock, fcntl.LOCK_EX)  # readers hold it only for a moment
        if _is_at(file, lock):
            return lock
        lock.close()  # before it was locked, a reader took its process for dead and removed the file


def _is_at(file: Path, opened: IO[str]) -> bool:
    """Return whether the opened file is still the one at this path."""
    try:
        return file.stat().st_ino == os.fstat(opened.fileno()).st_ino
    except FileNotFoundError:
        return False


def _clear_away(file: Path) -> bool:
    """Return whether the process of a lock file is dead, and remove its files if so.

    A process whose state is unknown counts as alive, so that a publisher waits for it.
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
        except OSError:  # the process holds it, or the file system does not support locks
            return False
        if not _is_at(file, lock):  # someone removed this lock file, and a new process may have created another
            return not file.exists()
        with contextlib.suppress(OSError):  # a reader without write permission leaves the files
            file.with_suffix(".json").unlink(missing_ok=True)
            file.unlink(missing_ok=True)
        return True


def _read(file: Path) -> ServingProcess:
    try:
        facts = json.loads(file.read_text(encoding="utf-8"))
        return ServingProcess(
            name=file.stem,
            generation=_number(facts["generation"]),
            refused=_refusal(facts["refused"]) if facts["refused"] else None,
            since=str(facts["since"]),
        )
    except FileNotFoundError:  # the process has not written it yet
        return ServingProcess(name=file.stem)
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        return ServingProcess(name=file.stem, unreadable=f"its report {file} cannot be read ({error!r})")


def _refusal(facts: dict[str, object]) -> Refusal:
    current = facts.get("current")
    return Refusal(
        generation=_number(facts["generation"]),
        reason=str(facts["reason"]),
        kind=str(facts.get("kind", Unfit.OTHER)),
        current=(int(current[0]), int(current[1])) if isinstance(current, list) else None,
    )


def _number(value: object) -> int | None:
    if value is not None and type(value) is not int:
        raise ValueError(f"a generation is a whole number, got {value!r}")
    return value
