"""Serve an index home: load each newly published generation beside the served one, check it, and switch to it."""

from __future__ import annotations

import logging
import threading
import time
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

from shopwindow.base.machine import give_back_memory
from shopwindow.base.whole_folders import FileMark, mark_of
from shopwindow.retrieval.errors import BundleUnfit, IndexUnfit, Unfit
from shopwindow.retrieval.index.home import IndexHome, Pointer
from shopwindow.retrieval.index.serving_processes import LiveFile, Refusal, loading_turn

POLL_S = 0.1
_LOOK_S = 1.0  # how often the files of a refused generation are looked at
_FREED_WITHIN_S = 10.0  # a request in flight keeps the old generation in memory until it ends

Serving = TypeVar("Serving")
Load = Callable[[Path, Serving | None], Serving]
"""Loads and checks an index folder. The second argument is the object served before, None for the first load."""


class LiveIndex(Generic[Serving]):
    """Holds the loaded generation that CURRENT names, as one object, and switches when CURRENT changes.

    Read `current` once for each batch and use only that object, so that no reply mixes generations. A thread watches
    CURRENT. If a new generation cannot be loaded, for whatever reason, the old one stays in service, and the log and
    the live file give the reason. It is tried again when CURRENT is written again, and when its own files have changed
    and then stayed the same for a second: a copy may be complete now. The same holds at start-up: if the generation
    that CURRENT names does not load, the newest earlier one that loads is served.

    Attributes:
        generation: number of the served generation; None for a folder without CURRENT.
        refused: the generation that CURRENT names, if it was refused; else None.

    Args:
        path: an index home, or an index folder, which is served until CURRENT appears in it.
        load: loads a generation. It runs in the watching thread while requests are answered.
        name: name of the model instance, for the live file and the log.
        say: writes a line to the log.
        complain: writes an error line to the log.

    Raises:
        Exception: the error of `load` for the generation that CURRENT names, if no earlier one loads either.
        IndexUnfit: CURRENT cannot be read.
    """

    def __init__(
        self,
        path: Path,
        load: Load[Serving],
        *,
        name: str = "index",
        say: Callable[[str], object] = logging.info,
        complain: Callable[[str], object] = logging.error,
    ) -> None:
        self._home = IndexHome(path)
        self._load = load
        self._name = name
        self._say = say
        self._complain = complain
        self._file: LiveFile | None = None
        self._file_failed = False
        self.generation: int | None = None
        self.refused: Refusal | None = None
        self._refused_files: FileMark | None = None  # the files of the refused generation as they were
        self._looked_files: FileMark | None = None
        self._look_at = 0.0
        # Announce this process before reading CURRENT, so that anyone who publishes from now on waits for it.
        self._announce()
        try:
            self._seen = self._home.mark
            self.current, refused = self._first(self._home.pointer)
        except BaseException:
            self._close_file()
            raise
        self._tell(refused)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, name=f"{name}: index swaps", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop watching CURRENT. `current` stays usable."""
        self._ended.set()
        self._thread.join()
        self._close_file()

    def _first(self, pointer: Pointer | None) -> tuple[Serving, Refusal | None]:
        """Load the generation that CURRENT names or, if that fails, the newest earlier one that loads.

        Returns:
            The loaded object, and the refusal of the generation that CURRENT names, if it was refused.
        """
        if pointer is None:
            return self._load(self._home.path, None), None
        failed: Exception | None = None
        self._refused_files = self._files_of(pointer.generation)
        for generation in pointer.order:
            try:
                found = self._load(self._home.folder(generation), None)
            except Exception as error:
                # Without its traceback, whose frames keep the failed generation in memory while the next one loads.
                failed = failed or error.with_traceback(None)
                self._complain(f"{self._name}: index generation {generation} is refused: {error}")
                give_back_memory()
                continue
            self.generation = generation
            if failed is None:
                return found, None
            self._complain(f"{self._name}: index generation {generation} is served instead")
            return found, self._refusal(pointer.generation, failed)
        mark = self._home.mark
        if mark != self._seen:  # a publisher has changed CURRENT meanwhile and may have removed these generations
            self._seen = mark
            return self._first(self._home.pointer)
        assert failed is not None
        raise failed

    def _watch(self) -> None:
        while not self._ended.wait(POLL_S):
            mark = self._home.mark
            if mark is None or (mark == self._seen and not self._files_changed()):
                continue
            with loading_turn(self._home.path) as ours:
                if ours:
                    self._seen = mark
                    self._follow()

    def _files_changed(self) -> bool:
        """Return whether the files of the refused generation changed since, and no longer change."""
        if self.refused is None or self.refused.generation is None or time.monotonic() < self._look_at:
            return False
        found, before = self._files_of(self.refused.generation), self._looked_files
        self._look_at, self._looked_files = time.monotonic() + _LOOK_S, found
        return found == before and found != self._refused_files

    def _files_of(self, generation: int) -> FileMark | None:
        try:
            return mark_of(self._home.folder(generation))
        except OSError:  # something removes or replaces files at this moment
            return None

    def _refusal(self, generation: int | None, error: Exception) -> Refusal:
        kind = error.kind if isinstance(error, IndexUnfit) else Unfit.OTHER
        if isinstance(error, BundleUnfit):
            kind = Unfit.TOWERS
        return Refusal(generation=generation, reason=str(error), kind=kind, current=self._seen)

    def _follow(self) -> None:
        """Switch to the generation that CURRENT names, or report why it was refused."""
        started = time.monotonic()
        generation, files = None, None
        try:
            pointer = self._home.pointer
            if pointer is None:
                return
            generation = pointer.generation
            if generation == self.generation:
                self._tell(None)
                return
            files = self._files_of(generation)
            new = self._load(self._home.folder(generation), self.current)
        except Exception as error:  # whatever went wrong, the old generation must stay in service
            self._refused_files = files
            refusal, last = self._refusal(generation, error), self.refused
            if last is None or (last.generation, last.reason) != (generation, refusal.reason):  # else the log has it
                what = "CURRENT" if generation is None else f"index generation {generation}"
                stays = f"generation {self.generation} stays in service"
                self._complain(f"{self._name}: {what} is refused, {stays}: {error}")
            self._tell(refusal)
        else:
            before, old = self.generation, weakref.ref(self.current)
            self.current, self.generation = new, generation
            del new
            took = time.monotonic() - started
            self._say(f"{self._name}: index generation {generation} is served in place of {before}, after {took:.2f} s")
            # Before _tell, because a publisher that is told assumes that the removed products are gone from memory.
            self._wait_until_freed(old)
            self._tell(None)
        give_back_memory()

    def _wait_until_freed(self, old: weakref.ref[Serving]) -> None:
        deadline = time.monotonic() + _FREED_WITHIN_S
        while old() not in (None, self.current) and time.monotonic() < deadline and not self._ended.wait(POLL_S / 10):
            pass

    def _announce(self) -> None:
        """Create the live file, if the path is an index home."""
        if self._home.mark is not None:
            try:
                self._file = LiveFile(self._home.path, self._name)
            except OSError as error:
                self._without_file(error)

    def _tell(self, refused: Refusal | None) -> None:
        self.refused = refused
        if self._file is None and not self._file_failed:
            self._announce()
        if self._file is not None:
            try:
                self._file.write(self.generation, refused)
            except OSError as error:
                self._without_file(error)

    def _without_file(self, error: OSError) -> None:
        if not self._file_failed:
            self._file_failed = True
            self._complain(
                f"{self._name}: {self._home.path} is not writable ({error}): the index is served, but 'shopwindow "
                "update' and 'rollback' cannot tell when this process has switched to a new generation"
            )

    def _close_file(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None
