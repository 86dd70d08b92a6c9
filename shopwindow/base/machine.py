"""The cores and the memory that this process may use."""

from __future__ import annotations

import ctypes
import fcntl
import math
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

_MEMINFO = Path("/proc/meminfo")
_CGROUP = Path("/sys/fs/cgroup")
_QUOTA = _CGROUP / "cpu.max"


def usable_cores() -> int:
    """Cores by affinity and by the container's quota (cgroup v2), at least 1; the machine may have more."""
    cores = len(os.sched_getaffinity(0))
    try:
        quota, period = _QUOTA.read_text().split()
        return max(1, min(cores, math.ceil(int(quota) / int(period))))
    except (OSError, ValueError):  # no cgroup v2, or "max": no quota
        return cores


def available_memory() -> int:
    """Bytes that can be taken before the machine, or the container (cgroup v2), runs out."""
    lines = dict(line.split(":") for line in _MEMINFO.read_text().splitlines())
    available = int(lines["MemAvailable"].split()[0]) * 1024
    try:
        limit = int((_CGROUP / "memory.max").read_text())
        used = int((_CGROUP / "memory.current").read_text())
        counts = dict(line.split() for line in (_CGROUP / "memory.stat").read_text().splitlines())
    except (OSError, ValueError):  # no cgroup v2, or "max": no limit
        return available
    # The file cache counts as used there, and goes when memory is needed.
    return min(available, max(0, limit - used + int(counts["inactive_file"])))


@contextmanager
def turn_to_load(folder: Path) -> Iterator[None]:
    """Wait until no other process of this host loads a folder: so each sees how much memory the others left.

    A server starts all its processes at once. Where there is no such folder, or its file system knows no locks, nobody
    waits.
    """
    with ExitStack() as stack:
        with suppress(OSError):
            descriptor = os.open(folder, os.O_RDONLY)
            stack.callback(os.close, descriptor)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield


def give_back_memory() -> None:
    """Hand freed memory back to the system: glibc keeps what lies below anything still in use."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # other C libraries have none
    if trim is not None:
        trim(0)
