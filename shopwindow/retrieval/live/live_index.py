"""Serving an index home: a published generation is loaded beside the served one, checked, and takes its place."""

from __future__ import annotations

import logging
import threading
import time
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

from shopwindow.base.machine import give_back_memory
from shopwindow.retrieval.index.home import CURRENT, IndexHome, Pointer
from shopwindow.retrieval.index.serving_processes import LiveFile, Refusal, ServingProcess, loading_turn, served_by
from shopwindow.retrieval.live.awaiting_servers import wait_until_served

__all__ = ["LiveIndex", "ServingProcess", "served_by", "wait_until_served"]

POLL_S = 0.1
_FREED_WITHIN_S = 10.0  # a request in flight holds what it began with

Serving = TypeVar("Serving")
Load = Callable[[Path, Serving | None], Serving]
"""Makes what serves an index folder, and checks it; the second argument is what was served before, None at first."""


class LiveIndex(Generic[Serving]):
    """What serves the generation that an index home names, always as one object.

    Take `current` once for a batch and use nothing else for it: then no reply mixes generations. A thread watches
    CURRENT. Where loading another generation fails, whatever the reason, the one before is served on and the reason is
    told in the log and in the live file; it is tried again when CURRENT is written again. So it is at the start, too:
    what was served before what CURRENT names is served in its place, rather than nothing.

    Args:
        path: an index home, or an index folder, which is served until CURRENT appears in it.
        load: it runs in the watching thread, while requests are answered.
        name: who serves, for the live file and the log.
        say: writes a line to a log.
        complain: writes a line about what went wrong to a log.

    Raises:
        Exception: what `load` raises for the generation that CURRENT names, where it can't load those before either.
        IndexUnfit: CURRENT can't be read.
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
        # Before CURRENT is read, so that whoever publishes from here on waits for this process.
        self._announce()
        try:
            self._seen = self._mark()
            self.current, refused = self._first(self._home.pointer)
        except BaseException:
            self._close_file()
            raise
        self._tell(refused)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, name=f"{name}: index swaps", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the watching; `current` may still be used."""
        self._ended.set()
        self._thread.join()
        self._close_file()

    def _first(self, pointer: Pointer | None) -> tuple[Serving, Refusal | None]:
        """What CURRENT names, or the newest before it that can be served; and what was refused."""
        if pointer is None:
            return self._load(self._home.path, None), None
        failed: Exception | None = None
        for generation in pointer.order:
            try:
                found = self._load(self._home.folder(generation), None)
            except Exception as error:
                # Without the frames, which hold what was loaded while another one is.
                failed = failed or error.with_traceback(None)
                self._complain(f"{self._name}: index generation {generation} is refused: {error}")
                give_back_memory()
                continue
            self.generation = generation
            if failed is None:
                return found, None
            self._complain(f"{self._name}: index generation {generation} is served, which was served before")
            return found, Refusal(generation=pointer.generation, reason=str(failed))
        mark = self._mark()
        if mark != self._seen:  # others were published meanwhile, for which these may have been removed
            self._seen = mark
            return self._first(self._home.pointer)
        assert failed is not None
        raise failed

    def _watch(self) -> None:
        while not self._ended.wait(POLL_S):
            mark = self._mark()
            if mark is None or mark == self._seen:
                continue
            with loading_turn(self._home.path) as ours:
                if ours:
                    self._seen = mark
                    self._follow()

    def _mark(self) -> tuple[int, int] | None:
        """Which CURRENT there is; None without one. Another one has another mark, since it is replaced by a rename."""
        try:
            found = (self._home.path / CURRENT).stat()
        except OSError:
            return None
        return found.st_ino, found.st_mtime_ns

    def _follow(self) -> None:
        """Serve what CURRENT names, or say why not."""
        started = time.monotonic()
        generation = None
        try:
            pointer = self._home.pointer
            if pointer is None:
                return
            generation = pointer.generation
            if generation == self.generation:
                self._tell(None)
                return
            new = self._load(self._home.folder(generation), self.current)
        except Exception as error:  # of whatever kind: what is served is served on
            what = f"index generation {generation} is refused, {self.generation} is served on"
            self._complain(f"{self._name}: {what}: {error}")
            self._tell(Refusal(generation=generation, reason=str(error)) if generation is not None else None)
        else:
            before, old = self.generation, weakref.ref(self.current)
            self.current, self.generation = new, generation
            del new
            took = time.monotonic() - started
            self._say(f"{self._name}: index generation {generation} is served in place of {before}, after {took:.2f} s")
            self._wait_until_freed(old)  # before a publisher hears of it, who takes what was removed for gone then
            self._tell(None)
        give_back_memory()

    def _wait_until_freed(self, old: weakref.ref[Serving]) -> None:
        deadline = time.monotonic() + _FREED_WITHIN_S
        while old() not in (None, self.current) and time.monotonic() < deadline and not self._ended.wait(POLL_S / 10):
            pass

    def _announce(self) -> None:
        """Take a place among the live files, where there is a home."""
        if self._mark() is not None:
            try:
                self._file = LiveFile(self._home.path, self._name)
            except OSError as error:
                self._without_file(error)

    def _tell(self, refused: Refusal | None) -> None:
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
                f"{self._name}: {self._home.path} cannot be written to ({error}): the index is served, but 'shopwindow "
                "update' and 'rollback' cannot see when this process has followed"
            )

    def _close_file(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None
