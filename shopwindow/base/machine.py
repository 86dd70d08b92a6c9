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
    """Return how many cores this process may use, at least 1: the fewer of its affinity and its cgroup v2 quota."""
    cores = len(os.sched_getaffinity(0))
    try:
        quota, period = _QUOTA.read_text().split()
        return max(1, min(cores, math.ceil(int(quota) / int(period))))
    except (OSError, ValueError):  # without cgroup v2 there is no file; "max" means no quota
        return cores


def available_memory() -> int:
    """Return how many bytes this process can still take before the machine or the container (cgroup v2) runs out."""
    lines = dict(line.split(":") for line in _MEMINFO.read_text().splitlines())
    available = int(lines["MemAvailable"].split()[0]) * 1024
    try:
        limit = int((_CGROUP / "memory.max").read_text())
        used = int((_CGROUP / "memory.current").read_text())
        counts = dict(line.split() for line in (_CGROUP / "memory.stat").read_text().splitlines())
    except (OSError, ValueError):  # without cgroup v2 there are no files; "max" means no limit
        return available
    # memory.current includes the file cache, which the kernel frees when memory is needed.
    return min(available, max(0, limit - used + int(counts["inactive_file"])))


@contextmanager
def turn_to_load(folder: Path) -> Iterator[None]:
    """Wait until no other process on this host loads from the folder.

    A server starts all its processes at once. If they load one after the other, each sees how much memory the others
    have left. Nobody waits if the folder does not exist or its file system does not support locks.
    """
    with ExitStack() as stack:
        with suppress(OSError):
            descriptor = os.open(folder, os.O_RDONLY)
            stack.callback(os.close, descriptor)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield


def give_back_memory() -> None:
    """Return freed memory to the operating system, because glibc would keep some of it."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # only glibc has it
    if trim is not None:
        trim(0)
