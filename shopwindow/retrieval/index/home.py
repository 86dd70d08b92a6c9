"""An index home: a folder with the generations of one index, and a file that says which one is served.

CURRENT               JSON: the served generation and those served before
generations/000007/   index folders, see `shopwindow.retrieval.index.folder`
generations/.update/  the generation that an update or a compaction is making
generations/.copied/  a build on its way to another file system
building/             the generation that is being built; running the build command again resumes it
live/                 which processes serve, see `shopwindow.retrieval.index.serving_processes`
.lock                 held while a process makes a generation from the served one, or publishes one
.building.lock        held while a process fills building/, sometimes for hours
.pointer.lock         held for the moment in which CURRENT changes; a rollback waits for no other lock

One rename replaces CURRENT. So whenever a process is killed, CURRENT names either the old or the new generation.

The home may be a file system of its own, and `generations` may be on another one than the rest.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path

from shopwindow.base.whole_folders import sync
from shopwindow.retrieval.errors import IndexUnfit, Unfit
from shopwindow.retrieval.index.serving_processes import served_by

CURRENT = "CURRENT"
GENERATIONS = "generations"
# What file systems and their tools keep in their root.
_FOREIGN = frozenset({"lost+found", "System Volume Information", "$RECYCLE.BIN", "@eaDir", "#snapshot", "#recycle"})

Mark = tuple[int, int]
"""Tells one writing of CURRENT from another."""


@dataclass(frozen=True, kw_only=True)
class Pointer:
    """The content of CURRENT.

    Attributes:
        generation: the generation to serve.
        previous: the generation served before, to which a rollback returns; None if there was none or it was removed.
        earlier: the generations served before `previous`, newest first.
    """

    generation: int
    previous: int | None = None
    earlier: tuple[int, ...] = ()

    @classmethod
    def of(cls, order: list[int]) -> Pointer:
        """Return the pointer with this `order`."""
        return cls(generation=order[0], previous=order[1] if order[1:] else None, earlier=tuple(order[2:]))

    @classmethod
    def parse(cls, text: str) -> Pointer:
        """Return the pointer that a text describes.

        Raises:
            ValueError, TypeError, AttributeError, RecursionError: it is none.
        """
        fields = json.loads(text)
        pointer = cls(**{**fields, "earlier": tuple(fields.get("earlier", ()))})
        if wrong := [number for number in pointer.order if type(number) is not int or number < 0]:
            raise ValueError(f"generations are whole numbers from 0, got {wrong[0]!r}")
        return pointer

    @property
    def order(self) -> list[int]:
        """All generations, beginning with the one to serve, then `previous`, then `earlier`."""
        return [self.generation, *([] if self.previous is None else [self.previous]), *self.earlier]


class IndexHome:
    """The folder that `shopwindow index` writes and the server reads.

    Args:
        path: the folder, which may not exist yet.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.building = path / "building"

    @property
    def pointer(self) -> Pointer | None:
        """What CURRENT says; None if nothing was published yet.

        Raises:
            IndexUnfit: CURRENT cannot be read.
        """
        file = self.path / CURRENT
        try:
            return Pointer.parse(file.read_text(encoding="utf-8"))
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise IndexUnfit(
                f"{file}: cannot be read ({error}): make it a file that this user may read", kind=Unfit.UNREADABLE
            ) from error
        except (ValueError, TypeError, AttributeError, RecursionError) as error:
            raise IndexUnfit(
                f"{file}: cannot be read ({error}): write it anew with 'shopwindow rollback --index {self.path} --to "
                f"N', where N is one of the generations on disk: {self.generations}",
                kind=Unfit.UNREADABLE,
            ) from error

    @property
    def mark(self) -> Mark | None:
        """A mark that changes whenever CURRENT is replaced (by a rename) or written; None if there is no CURRENT."""
        try:
            found = (self.path / CURRENT).stat()
        except OSError:
            return None
        return found.st_ino, found.st_mtime_ns

    def folder(self, generation: int) -> Path:
        """Return the index folder of a generation."""
        return self.path / GENERATIONS / f"{generation:06d}"

    @property
    def generations(self) -> list[int]:
        """The generations on disk, in ascending order."""
        return sorted(int(entry.name) for entry in (self.path / GENERATIONS).glob("[0-9]*") if entry.name.isdecimal())

    @property
    def updating(self) -> Path:
        """The folder in which an update makes the next generation. Hard links from there to the others are possible."""
        return self.path / GENERATIONS / ".update"

    @property
    def next_generation(self) -> int:
        """The number of the next generation. Numbers are never reused.

        Hold `writing` from this call until the generation is published.
        """
        pointer = self.pointer
        return max([*self.generations, *(pointer.order if pointer else []), 0]) + 1

    @contextmanager
    def writing(self, *, wait: bool = False) -> Iterator[None]:
        """Lock the home to make a generation from the served one or to publish one. One process at a time may do so.

        Args:
            wait: wait for the process that holds the lock, instead of failing.

        Raises:
            IndexUnfit: another process holds the lock.
            FileExistsError: the folder contains something other than an index home.
        """
        check_home(self.path)
        with self._holding(".lock", "another update, compaction or publishing is under way here", wait=wait):
            yield

    @contextmanager
    def filling(self) -> Iterator[None]:
        """Lock `building`. Meanwhile, other processes can update the served generation and publish the result.

        Raises:
            IndexUnfit: another process holds the lock.
            FileExistsError: the folder contains something other than an index home.
        """
        check_home(self.path)
        with self._holding(".building.lock", "another build is under way here", wait=False):
            yield

    def publish(self, folder: Path, generation: int, *, onto: int | None = None) -> None:
        """Move a finished index folder to its place and point CURRENT at it. Hold `writing`.

        Generations that no rollback needs are deleted before publishing, not after. So a refused generation never
        costs us one we could go back to.

        Args:
            folder: the complete index folder, inside this home.
            generation: its number, from `next_generation` while `writing` has been held.
            onto: the generation that it was made from; None if it was made from none.

        Raises:
            IndexUnfit: CURRENT no longer names `onto`.
        """
        place = self.folder(generation)
        place.parent.mkdir(exist_ok=True)
        ready = _beside(folder, place.parent / ".copied")
        _flush(ready)
        with self._pointing() as now:
            if onto is not None and (now is None or now.generation != onto):
                named = now.generation if now else None
                raise IndexUnfit(
                    f"{self.path}: while generation {onto} was being changed, a rollback switched to generation "
                    f"{named}. Nothing was published. Run the command again to change {named}."
                )
            self._prune(now)
            ready.replace(place)
            sync(place.parent)
            sync(self.path)
            self._point([generation, *(now.order if now else ())])
        shutil.rmtree(folder, ignore_errors=True)  # there is still something if it was copied

    def point(self, generation: int) -> None:
        """Serve a finished generation whose publishing was interrupted before CURRENT named it. Hold `writing`.

        Args:
            generation: number of a generation on disk.
        """
        with self._pointing() as now:
            self._point([generation, *(now.order if now else ())])

    def rollback(self, to: int | None = None) -> Pointer:
        """Serve the previous generation again. A second rollback undoes the first. It does not wait for writers.

        Args:
            to: the generation to serve; None for the previous one. With a number, a CURRENT that is missing or damaged
                is written anew.

        Returns:
            The new content of CURRENT.

        Raises:
            IndexUnfit: the generation is not on disk, or `to` is None and CURRENT cannot be read.
        """
        with self._holding(".pointer.lock", "", wait=True):
            try:
                order = now.order if (now := self.pointer) else []
            except IndexUnfit:
                if to is None:
                    raise
                order = []
            target = next(iter(order[1:]), None) if to is None else to
            if target is None or not self.folder(target).is_dir():
                which = "previous generation" if to is None else f"generation {to}"
                raise IndexUnfit(f"{self.path}: no {which} to go back to; on disk: {self.generations}")
            order = order or self.generations[::-1]
            return self._point([target, *(each for each in order if each != target)])

    def withdraw(self, generation: int, served: int | None, *, before: Pointer | None = None) -> Pointer | None:
        """Point CURRENT back at the served generation after a process refused another one.

        If it was published, this also takes back all generations published in between. They stay on disk until the next
        one is published, so `rollback` by number can still try them. If a rollback named it, none is taken back.

        Args:
            generation: the refused generation.
            served: the generation that the refusing process still serves.
            before: for a rollback, what CURRENT said before it.

        Returns:
            The new content of CURRENT. None if nothing changed, because CURRENT already names another generation or
            `served` is no longer on disk.
        """
        with self._pointing() as now:
            if now is None or now.generation != generation or served is None or not self.folder(served).is_dir():
                return None
            order = (before or now).order
            if served in order:
                at = order.index(served)
                return self._point([*order[at:], *(order[:at] if before is not None else ())])
            return self._point([served, *(order if before is not None else order[1:])])

    @contextmanager
    def _holding(self, name: str, taken: str, *, wait: bool) -> Iterator[None]:
        self.path.mkdir(parents=True, exist_ok=True)
        with (self.path / name).open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            except BlockingIOError:
                raise IndexUnfit(f"{self.path}: {taken}; wait for it") from None
            yield

    @contextmanager
    def _pointing(self) -> Iterator[Pointer | None]:
        """Lock CURRENT and yield its content."""
        with self._holding(".pointer.lock", "", wait=True):
            yield self.pointer

    def _point(self, order: list[int]) -> Pointer:
        pointer = Pointer.of([order[0], *(each for each in order[1:] if self.folder(each).is_dir())])
        new = self.path / f".{CURRENT}.new"
        with new.open("w") as file:
            json.dump(asdict(pointer), file)
            file.flush()
            os.fsync(file.fileno())
        new.replace(self.path / CURRENT)
        sync(self.path)
        return pointer

    def _prune(self, now: Pointer | None) -> None:
        """Remove the generations that no rollback needs.

        The served generations stay, the generation before each of them, and the newest generation of each of the last
        two bases. "Served" means the generation that CURRENT names, and any older one that a process still serves
        because it has not switched yet or refused to.
        """
        order = now.order if now else []
        processes = served_by(self.path)
        if any(process.unreadable for process in processes):
            return  # it may serve any of them
        served = {process.generation for process in processes} | set(order[:1])
        kept = served | {before for one, before in pairwise(order) if one in served}
        bases: dict[object, int] = {}
        for generation in order:
            bases.setdefault(_base(self.folder(generation)), generation)
        kept |= set(list(bases.values())[:2])
        for generation in self.generations:
            if generation not in kept:
                shutil.rmtree(self.folder(generation), ignore_errors=True)


def resolve_index(path: Path) -> Path:
    """Return the index folder for a path: the served generation of an index home, or the path itself."""
    pointer = IndexHome(path).pointer
    return IndexHome(path).folder(pointer.generation) if pointer else path


def check_home(path: Path) -> None:
    """Check that a folder can become or is an index home, before anything is built for it.

    Raises:
        FileExistsError: it contains anything else.
        IndexUnfit: it, or a folder in it, is a link to nothing or may not be written.
    """
    known = {CURRENT, "building", GENERATIONS, "live"} | _FOREIGN
    if path.exists() and (
        not path.is_dir() or any(entry.name not in known for entry in path.iterdir() if not entry.name.startswith("."))
    ):
        raise FileExistsError(
            f"{path} holds other things than an index home, and the index would be mixed with them: name another folder"
        )
    for folder in (path, path / GENERATIONS, path / "building"):
        if folder.is_symlink() and not folder.exists():
            raise IndexUnfit(f"{folder}: links to {folder.readlink()}, which does not exist: make it, or mount it")
        if folder.exists() and not (folder.is_dir() and os.access(folder, os.W_OK | os.X_OK)):
            raise IndexUnfit(f"{folder}: is not a folder that this user may write: an index cannot be written there")


def _beside(folder: Path, copied: Path) -> Path:
    """Return the folder if it can be renamed to a place beside `copied`; else copy it there and return the copy.

    A rename works only inside one file system, and fails between two mounts of the same one.
    """
    shutil.rmtree(copied, ignore_errors=True)  # left by a process that was killed
    probe = folder.with_name(f".{folder.name}.probe")
    probe.mkdir(exist_ok=True)
    try:
        probe.replace(copied)
    except OSError as error:
        probe.rmdir()
        if error.errno != errno.EXDEV:
            raise
        shutil.copytree(folder, copied)
        return copied
    copied.rmdir()
    return folder


def _base(folder: Path) -> object:
    """Return a key of the build that a generation goes back to: the file of its vectors, which updates share."""
    try:
        about = (folder / "vectors.npy").stat()
    except OSError:
        return folder
    return about.st_dev, about.st_ino


def _flush(folder: Path) -> None:
    """Flush everything in a folder to the disk, so that the folder is whole after a power cut."""
    for entry in [folder, *folder.rglob("*")]:
        sync(entry)
