"""An index home: the generations of one index, which of them is served, and which was before.

CURRENT               JSON: the served generation and the one before it
generations/000007/   index folders, see `retrieval.index_folder`
building/             the generation being built; the same command resumes it
.lock                 held by whoever writes here

CURRENT is replaced by one rename, so a kill at any moment leaves the old or the new generation served, never a part.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from retrieval.errors import IndexUnfit

CURRENT = "CURRENT"


@dataclass(frozen=True, kw_only=True)
class Pointer:
    """What CURRENT says.

    Attributes:
        generation: the one to serve.
        previous: the one served before it, where a rollback leads; None when there was none or it was removed.
    """

    generation: int
    previous: int | None = None


class IndexHome:
    """The folder that `shopwindow index` writes and the server reads.

    Args:
        path: the folder; it need not exist yet.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.building = path / "building"

    @property
    def pointer(self) -> Pointer | None:
        """What is served; None while nothing was published.

        Raises:
            IndexUnfit: CURRENT can't be read.
        """
        file = self.path / CURRENT
        try:
            return Pointer(**json.loads(file.read_text()))
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (OSError, ValueError, TypeError) as error:
            raise IndexUnfit(f"{file}: cannot be read ({error})") from error

    def folder(self, generation: int) -> Path:
        """Where a generation is."""
        return self.path / "generations" / f"{generation:06d}"

    @property
    def generations(self) -> list[int]:
        """Those on disk, in rising order."""
        return sorted(int(entry.name) for entry in (self.path / "generations").glob("[0-9]*"))

    @property
    def next_generation(self) -> int:
        """The number of the next one; numbers are never used twice."""
        pointer = self.pointer
        named = [pointer.generation, pointer.previous or 0] if pointer else []
        return max([*self.generations, *named, 0]) + 1

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Hold the home for one writer at a time.

        Raises:
            IndexUnfit: another process writes here.
            FileExistsError: the folder holds other things.
        """
        check_home(self.path)
        self.path.mkdir(parents=True, exist_ok=True)
        with (self.path / ".lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise IndexUnfit(
                    f"{self.path}: another build, update or rollback is writing here; wait for it"
                ) from None
            yield

    def publish(self, folder: Path, generation: int) -> None:
        """Move a finished index folder into its place, point CURRENT at it, and remove what no rollback needs.

        Args:
            folder: complete, inside this home; hold `writing`.
            generation: its number, `next_generation` when the build began.
        """
        place = self.folder(generation)
        place.parent.mkdir(exist_ok=True)
        _flush(folder)
        folder.replace(place)
        _sync(place.parent)
        _sync(self.path)
        before = self.pointer
        self._point(Pointer(generation=generation, previous=before.generation if before else None))
        self._prune()

    def rollback(self) -> Pointer:
        """Serve the previous generation again; a second rollback leads forward again.

        Raises:
            IndexUnfit: there is none.
        """
        now = self.pointer
        if now is None or now.previous is None or not self.folder(now.previous).is_dir():
            raise IndexUnfit(f"{self.path}: no previous generation to go back to; on disk: {self.generations}")
        then = Pointer(generation=now.previous, previous=now.generation)
        self._point(then)
        return then

    def _point(self, pointer: Pointer) -> None:
        new = self.path / f".{CURRENT}.new"
        with new.open("w") as file:
            json.dump(asdict(pointer), file)
            file.flush()
            os.fsync(file.fileno())
        new.replace(self.path / CURRENT)
        _sync(self.path)

    def _prune(self) -> None:
        pointer = self.pointer
        assert pointer is not None  # just published
        for generation in self.generations:
            if generation not in (pointer.generation, pointer.previous):
                shutil.rmtree(self.folder(generation), ignore_errors=True)


def resolve_index(path: Path) -> Path:
    """The index folder that a path means: the served generation of a home, else the path itself."""
    pointer = IndexHome(path).pointer
    return IndexHome(path).folder(pointer.generation) if pointer else path


def check_home(path: Path) -> None:
    """Raise FileExistsError when `path` holds something other than an index home, which would be mixed with it."""
    known = (CURRENT, "building", "generations", ".lock", "live")
    if path.exists() and (
        not path.is_dir() or any(entry.name not in known for entry in path.iterdir() if not entry.name.startswith("."))
    ):
        raise FileExistsError(
            f"{path} holds other things than an index home and would be mixed with it: name another folder"
        )


def _flush(folder: Path) -> None:
    """Everything in a folder onto the disk, so that a power cut after CURRENT's rename finds it whole."""
    for entry in [folder, *folder.rglob("*")]:
        _sync(entry)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
