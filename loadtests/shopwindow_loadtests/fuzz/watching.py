"""Watches a server while it is fuzzed: its processes, its health, its memory."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from statistics import median

from shopwindow_loadtests.generator.server_cpu import private_bytes
from shopwindow_loadtests.soak.watched_server import GATEWAY, TRITON, WatchedServer

SHARED = "/dev/shm"
GROWTH, GROWTH_BYTES = 0.10, 32 * 2**20  # what memory may grow from the middle third of the samples to the last one
SHORTEST = 30  # samples that a judgement needs
_LOOK_S = 0.5
_SHORTEST_PREFIX = 12  # a shorter one would be found in texts that have nothing to do with it
_BACK_WITHIN_S = 120.0


@dataclass(frozen=True, kw_only=True)
class Growth:
    """How the memory of a process grew after a warm-up, the first third of the samples.

    Attributes:
        part: `Triton`, `the gateway`, a model, or `/dev/shm`.
        before: Median of the middle third, in bytes.
        after: Median of the last third.
    """

    part: str
    before: int
    after: int

    @property
    def flat(self) -> bool:
        """Whether it grew less than the limit."""
        return self.after <= self.before * (1 + GROWTH) + GROWTH_BYTES


def growths(samples: Sequence[dict[str, int]]) -> list[Growth]:
    """Return how each part of the server grew; nothing for too few samples."""
    if len(samples) < SHORTEST:
        return []
    third = len(samples) // 3
    middle, last = samples[third : 2 * third], samples[2 * third :]
    return [
        Growth(
            part=part,
            before=int(median(sample.get(part, 0) for sample in middle)),
            after=int(median(sample.get(part, 0) for sample in last)),
        )
        for part in samples[0]
    ]


class Watch:
    """A thread that looks at the server twice a second.

    Args:
        server: The server.
        complain: Called with what was wrong.

    Attributes:
        well: Set while all processes are there and the server is ready.
        lost: Whether the server did not come back, or nobody watches it any more.
        samples: Bytes by part of the server, one dict for each look at a healthy server.
        regions: Start of the names of the server's shared memory. No reply may tell it.
    """

    def __init__(self, server: WatchedServer, complain: Callable[[str], None]) -> None:
        self.well = threading.Event()
        self.lost = False
        self.samples: list[dict[str, int]] = []
        self._server = server
        self._complain = complain
        self._family = self._look()
        self._wanted = sorted(self._family.values())
        self.regions = region_prefix(server.triton)
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Watch:
        self.well.set()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _run(self) -> None:
        try:
            self._watch()
        finally:
            self.lost = not self._done.is_set()
            self.well.set()  # nobody may wait for ever

    def _watch(self) -> None:
        bad_since: float | None = None
        while not self._done.wait(_LOOK_S):
            try:
                family, ready = self._look(), self._server.is_ready
            except IndexError:  # a process that is just being started has no arguments yet
                continue
            if gone := {self._family.pop(pid) for pid in self._family.keys() - family.keys()}:
                self._complain(f"ended: {TRITON if TRITON in gone else ', '.join(sorted(gone))}")
            complete = sorted(family.values()) == self._wanted
            if complete and ready:
                self._family = family
                self.regions = region_prefix(self._server.triton)
                self.samples.append(self._memory())
                bad_since = None
                self.well.set()
                continue
            if bad_since is None:
                bad_since = time.monotonic()
                if complete:
                    self._complain("the health endpoint says that the server is not ready")
            self.well.clear()
            if time.monotonic() > bad_since + _BACK_WITHIN_S:
                self._complain(f"the server did not come back within {_BACK_WITHIN_S:g} s")
                return

    def _look(self) -> dict[int, str]:
        """Return the name of each process by its id."""
        found = {stub.pid: stub.model for stub in self._server.stubs}
        found |= {self._server.triton: TRITON, self._server.gateway: GATEWAY}
        found.pop(0, None)  # there is none
        return found

    def _memory(self) -> dict[str, int]:
        found: dict[str, int] = {}
        for pid, name in sorted(self._family.items()):
            found[name] = found.get(name, 0) + private_bytes(pid)
        return {**found, SHARED: _shared_bytes(self.regions)}


def region_prefix(pid: int) -> str:
    """Return how the names of all shared memory begin that a process has mapped; empty if it has none."""
    names = set()
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
            _, found, name = line.partition(f"{SHARED}/")
            if found:
                names.add(name.removesuffix(" (deleted)"))
    same = takewhile(lambda letters: len(set(letters)) == 1, zip(*names, strict=False))
    prefix = "".join(letters[0] for letters in same)
    return prefix if len(names) > 1 and len(prefix) >= _SHORTEST_PREFIX else ""


def _shared_bytes(prefix: str) -> int:
    """Return the bytes in use of the shared memory whose names begin so, whether or not a process still maps it."""
    total = 0
    for file in Path(SHARED).glob(f"{prefix}*") if prefix else ():
        with suppress(FileNotFoundError):
            total += file.stat().st_blocks * 512
    return total
