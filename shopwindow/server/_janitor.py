"""Wait until the process that holds a runtime folder ends, then end what it left running and remove the folder.

Run it as `python _janitor.py FOLDER`, without site-packages. Everything is in shared memory or in the process table, so
a process that was killed cannot do this itself. Triton ends with its parent, but not if it was stopped by a signal.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path

_GRACE_S = 5.0


def main(folder: Path) -> None:
    """Clean up after the process that holds the lock of a runtime folder."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # it ends by itself soon after its parent
        signal.signal(number, signal.SIG_IGN)
    try:
        opened = (folder / "lock").open("r+")
    except FileNotFoundError:  # the parent has already removed the folder
        return
    with opened as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # held until the parent ends or has removed the folder
        groups = _groups(folder)
        _wait(groups)
        for group in groups:
            with suppress(OSError):
                os.killpg(group, signal.SIGKILL)
        _wait(groups)  # a new server takes their ports as free once the folder is gone
        for region in folder.parent.glob(f"{folder.name}-*"):
            region.unlink(missing_ok=True)
        shutil.rmtree(folder, ignore_errors=True)


def _groups(folder: Path) -> list[int]:
    """Return the process groups that the parent started; none if the folder is gone, and all ended in order."""
    with suppress(FileNotFoundError):
        return [int(entry.name) for entry in (folder / "groups").iterdir()]
    return []


def _wait(groups: list[int]) -> None:
    """Wait until all groups have ended, but not for ever."""
    deadline = time.monotonic() + _GRACE_S
    while any(map(_lives, groups)) and time.monotonic() < deadline:
        time.sleep(0.1)


def _lives(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except OSError:  # it is gone, or its number is a group of another user by now
        return False
    return True


if __name__ == "__main__":
    main(Path(sys.argv[1]))
