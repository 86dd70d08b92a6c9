"""An index home: the generations of one index, which of them is served, and which were before.

CURRENT               JSON: the served generation and those before it
generations/000007/   index folders, see `shopwindow.retrieval.index.folder`
building/             the generation being built; the same command resumes it
live/                 who serves, see `shopwindow.retrieval.index.serving_processes`
.lock                 held by whoever makes a generation from the served one, or publishes one
.building.lock        held by whoever fills building/, for hours at times
.pointer.lock         held while CURRENT changes, for a moment: a rollback waits for nothing else

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
from itertools import pairwise
from pathlib import Path

from shopwindow.base.whole_folders import sync
from shopwindow.retrieval.errors import IndexUnfit
from shopwindow.retrieval.index.serving_processes import served_by

CURRENT = "CURRENT"


@dataclass(frozen=True, kw_only=True)
class Pointer:
    """What CURRENT says.

    Attributes:
        generation: the one to serve.
        previous: the one served before it, where a rollback leads; None when there was none or it was removed.
        earlier: those served before that, newest first.
    """

    generation: int
    previous: int | None = None
    earlier: tuple[int, ...] = ()

    @classmethod
    def of(cls, order: list[int]) -> Pointer:
        """The pointer whose `order` is this."""
        return cls(generation=order[0], previous=order[1] if order[1:] else None, earlier=tuple(order[2:]))

    @property
    def order(self) -> list[int]:
        """All of them, the one to serve first."""
        return [self.generation, *([] if self.previous is None else [self.previous]), *self.earlier]


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
            fields = json.loads(file.read_text())
            return Pointer(**{**fields, "earlier": tuple(fields.get("earlier", ()))})
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (OSError, ValueError, TypeError, AttributeError) as error:
            raise IndexUnfit(f"{file}: cannot be read ({error})") from error

    def folder(self, generation: int) -> Path:
        """Where a generation is."""
        return self.path / "generations" / f"{generation:06d}"

    @property
    def generations(self) -> list[int]:
        """Those on disk, in rising order."""
        return sorted(int(entry.name) for entry in (self.path / "generations").glob("[0-9]*") if entry.name.isdecimal())

    @property
    def next_generation(self) -> int:
        """The number of the next one; numbers are never used twice. Hold `writing` from here until it is published."""
        pointer = self.pointer
        return max([*self.generations, *(pointer.order if pointer else []), 0]) + 1

    @contextmanager
    def writing(self, *, wait: bool = False) -> Iterator[None]:
        """Hold the home to make a generation from the served one, or to publish one: one process at a time.

        Args:
            wait: for the process that holds it, instead of failing.

        Raises:
            IndexUnfit: another process holds it.
            FileExistsError: the folder holds other things.
        """
        check_home(self.path)
        with self._holding(".lock", "another update, compaction or publishing is under way here", wait=wait):
            yield

    @contextmanager
    def filling(self) -> Iterator[None]:
        """Hold `building`, which keeps nobody from changing or publishing what is served.

        Raises:
            IndexUnfit: another process holds it.
            FileExistsError: the folder holds other things.
        """
        check_home(self.path)
        with self._holding(".building.lock", "another build is under way here", wait=False):
            yield

    def publish(self, folder: Path, generation: int, *, onto: int | None = None) -> None:
        """Move a finished index folder into its place and point CURRENT at it.

        What no way back needs is removed before that and not after, so that a generation that is refused costs none.

        Args:
            folder: complete, inside this home; hold `writing`.
            generation: its number, `next_generation` since `writing` is held.
            onto: the generation that it was made from; None for none.

        Raises:
            IndexUnfit: CURRENT names another one than `onto` by now.
        """
        place = self.folder(generation)
        place.parent.mkdir(exist_ok=True)
        _flush(folder)
        with self._pointing() as now:
            if onto is not None and (now is None or now.generation != onto):
                named = now.generation if now else None
                raise IndexUnfit(
                    f"{self.path}: generation {onto} was changed, and meanwhile a rollback had {named} served: nothing "
                    "is published; run the same command again to change what is served now"
                )
            self._prune(now)
            folder.replace(place)
            sync(place.parent)
            sync(self.path)
            self._point([generation, *(now.order if now else ())])

    def point(self, generation: int) -> None:
        """Serve a finished generation whose publishing was cut off before CURRENT named it.

        Args:
            generation: on disk; hold `writing`.
        """
        with self._pointing() as now:
            self._point([generation, *(now.order if now else ())])

    def rollback(self, to: int | None = None) -> Pointer:
        """Serve the previous generation again; a second rollback leads forward again. It waits for no writer.

        Args:
            to: serve this one instead.

        Raises:
            IndexUnfit: it is not there.
        """
        with self._pointing() as now:
            wanted = (now.previous if now else None) if to is None else to
            if now is None or wanted is None or not self.folder(wanted).is_dir():
                which = "previous generation" if to is None else f"generation {to}"
                raise IndexUnfit(f"{self.path}: no {which} to go back to; on disk: {self.generations}")
            return self._point([wanted, *(each for each in now.order if each != wanted)])

    def withdraw(self, generation: int, served: int | None) -> Pointer | None:
        """Take back a generation that was refused, with all that were published since the one that is still served.

        They stay on disk until the next one is published, for `rollback` by number.

        Args:
            generation: refused.
            served: by the process that refused it.

        Returns:
            What is to be served now; None where nothing was done, as CURRENT names another one by now, or `served` is
            no more.
        """
        with self._pointing() as now:
            if now is None or now.generation != generation or served is None or not self.folder(served).is_dir():
                return None
            order = now.order
            kept = order[order.index(served) :] if served in order else [served, *order[1:]]
            return self._point(kept)

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
        """Hold CURRENT; yields what it says."""
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
        """Remove all but what is served and the one before it, and the newest of each of the last two bases.

        Served is what CURRENT names, and what a process that has not followed, or has refused it, serves on.
        """
        order = now.order if now else []
        served = {process.generation for process in served_by(self.path)} | set(order[:1])
        kept = served | {before for one, before in pairwise(order) if one in served}
        bases: dict[object, int] = {}
        for generation in order:
            bases.setdefault(_base(self.folder(generation)), generation)
        kept |= set(list(bases.values())[:2])
        for generation in self.generations:
            if generation not in kept:
                shutil.rmtree(self.folder(generation), ignore_errors=True)


def resolve_index(path: Path) -> Path:
    """The index folder that a path means: the served generation of a home, else the path itself."""
    pointer = IndexHome(path).pointer
    return IndexHome(path).folder(pointer.generation) if pointer else path


def check_home(path: Path) -> None:
    """Raise FileExistsError when `path` holds something other than an index home, which would be mixed with it."""
    known = (CURRENT, "building", "generations", "live")
    if path.exists() and (
        not path.is_dir() or any(entry.name not in known for entry in path.iterdir() if not entry.name.startswith("."))
    ):
        raise FileExistsError(
            f"{path} holds other things than an index home and would be mixed with it: name another folder"
        )


def _base(folder: Path) -> object:
    """What the generations have in common that updates made of the same build: the file of their vectors."""
    try:
        about = (folder / "vectors.npy").stat()
    except OSError:
        return folder
    return about.st_dev, about.st_ino


def _flush(folder: Path) -> None:
    """Everything in a folder onto the disk, so that a power cut after CURRENT's rename finds it whole."""
    for entry in [folder, *folder.rglob("*")]:
        sync(entry)
